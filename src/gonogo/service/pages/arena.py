"""The arena: judge a case before the gauge does. `gonogo.service.arena` says why nothing here tells the truth early."""

import asyncio
from collections import Counter
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from gonogo.service import arena as rounds
from gonogo.service.pages.access import InspectorPageKey
from gonogo.service.pages.rendering import render
from gonogo.service.problems import Problem
from gonogo.service.routes.access import service_of
from gonogo.service.security import Key
from gonogo.store.schema import Row

RoundId = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]
router = APIRouter(prefix="/arena")


@router.get("")
async def arena(request: Request, key: InspectorPageKey, expert: bool = False) -> Response:
    """The case that a person is to judge."""
    row = await rounds.open_round(service_of(request), key, expert=expert)
    if row is None:
        return await _page(request, key, None, expert=expert)
    return RedirectResponse(f"/arena/{row['id']}", 303)


@router.get("/{round_id}")
async def show(request: Request, key: InspectorPageKey, round_id: RoundId) -> Response:
    """A case and, once it was answered, the truth and what the gauge says."""
    row = await rounds.round_of(service_of(request), round_id, key)
    return await _page(request, key, row, expert=row["expert"])


@router.post("/{round_id}")
async def answer(
    request: Request, key: InspectorPageKey, round_id: RoundId, label: Annotated[Literal["good", "defect"], Form()]
) -> Response:
    """Answer a case."""
    service = service_of(request)
    await rounds.answer_round(service, await rounds.round_of(service, round_id, key), key, label)
    return RedirectResponse(f"/arena/{round_id}", 303)


@router.get("/{round_id}/image")
async def image(request: Request, key: InspectorPageKey, round_id: RoundId) -> Response:
    """The picture of a case, of the same size and length as all others."""
    service = service_of(request)
    data = await rounds.case_file(service, await rounds.round_of(service, round_id, key))
    return Response(await service.runner.pictured(data, key, rounds.hidden_picture), media_type="image/jpeg")


@router.get("/{round_id}/overlay")
async def overlay(request: Request, key: InspectorPageKey, round_id: RoundId) -> Response:
    """The picture with the gauge's map and the boxes labelled and found, once the case was answered."""
    service = service_of(request)
    row = await rounds.round_of(service, round_id, key)
    if row["answer"] is None:
        raise Problem("not-found", "the gauge's answer is shown after yours")
    return Response(await rounds.answered_picture(service, row, key), media_type="image/png")


async def _page(request: Request, key: Key, row: Row | None, *, expert: bool) -> Response:
    service = service_of(request)
    is_answered = row is not None and row["answer"] is not None
    labelled = [] if row is None or not is_answered else await asyncio.to_thread(rounds.true_boxes, service, row)
    results = await asyncio.to_thread(partial(service.store.arena.results, key.id))
    return render(
        request,
        "arena.html.j2",
        round=row,
        expert=expert,
        standing=rounds.standing(results),
        maps=row is not None and is_answered and row["bundle"] == service.gauge.scorer.fingerprint,
        labelled=Counter(box.text for box in labelled),
    )
