"""The pages of what people know of failures: table, graph and counts with filters; an item with its history."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from gonogo.cases.words import Filters
from gonogo.knowledge.graph import ALL_FIELDS, KINDS, MARK, RELATIONS, Item
from gonogo.service import knowledge_schemas as schemas
from gonogo.service.knowledge import Wanted
from gonogo.service.pages.access import ReviewerPageKey, inspector_page_key, reviewer_page_key
from gonogo.service.pages.graph import graph_chart
from gonogo.service.pages.parts import soon
from gonogo.service.pages.rendering import render
from gonogo.service.problems import Problem
from gonogo.service.routes.access import service_of
from gonogo.service.routes.knowledge import graphml, json_ld
from gonogo.service.security import Key
from gonogo.text import ascii_name

DAYS = (7, 30, 90)
FOUND = 10  # cases of a search
MOST_ROWS = 300  # of the table and the graph, which a person can still look at
LONGEST_ID = 40
Text = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
router = APIRouter(prefix="/knowledge")
FormVersion = Annotated[int, Form(ge=0, le=2**63 - 1)]  # of the item that the person saw
ItemPath = Annotated[str, Path(alias="id", pattern=rf"^{schemas.ONE}$")]


@router.get("", dependencies=[Depends(inspector_page_key)])
async def knowledge(
    request: Request,
    category: Text = "",
    defect_type: Text = "",
    severity: Annotated[str, Query(pattern=r"^([1-9]|10)?$")] = "",
    days: Annotated[int, Query(ge=1, le=366)] = DAYS[-1],
    words: Annotated[str, Query(max_length=500)] = "",
) -> Response:
    """The page; with words also the past cases that have them."""
    service = service_of(request)
    least = int(severity) if severity else None
    wanted = Wanted(category or None, defect_type or None, least, days)
    view = await asyncio.to_thread(service.known_failures.view, wanted)
    known = await asyncio.to_thread(service.known_failures.knowledge)
    found, pictured = None, None
    if words.strip():
        filters = Filters(*wanted[:3])
        found = await soon(request, service.cases.search(words, filters, limit=FOUND))
        if service.cases.finds_pictures:
            pictured = await soon(request, service.cases.search_pictures(words, filters, limit=FOUND))
    modes = known.of("mode")
    return render(
        request,
        "knowledge.html.j2",
        view=view,
        items=known.items,
        rows=view.rows[:MOST_ROWS],
        graph=graph_chart(view.items, view.links) if len(view.items) <= MOST_ROWS else None,
        categories=sorted({str(mode.values["category"]) for mode in modes}),
        types=sorted({str(mode.values["defect_type"]) for mode in modes if "defect_type" in mode.values}),
        filters={"category": category, "defect_type": defect_type, "severity": severity, "days": days, "words": words},
        days=DAYS,
        kinds=KINDS,
        found=found,
        pictured=pictured,
    )


router.add_api_route("/export.jsonld", json_ld, methods=["GET"], dependencies=[Depends(inspector_page_key)])
router.add_api_route("/export.graphml", graphml, methods=["GET"], dependencies=[Depends(inspector_page_key)])


@router.get("/new", dependencies=[Depends(reviewer_page_key)])
async def new(request: Request, kind: schemas.Kind) -> Response:
    """A form for an item that is not there yet."""
    return render(request, "knowledge_new.html.j2", kind=kind, fields=ALL_FIELDS[kind])


@router.post("/new")
async def add(request: Request, key: ReviewerPageKey, kind: Annotated[schemas.Kind, Form()]) -> Response:
    """Add an item; its id is made of its name."""
    values = await _values(request, kind)
    known = await asyncio.to_thread(service_of(request).known_failures.knowledge)
    identifier = free_id(values.get("name", ""), known.items)
    await _change(request, key, identifier, {"kind": kind, "values": values, "based_on": 0})
    return RedirectResponse(f"/knowledge/items/{identifier}", 303)


@router.get("/items/{id}", dependencies=[Depends(inspector_page_key)])
async def item(request: Request, identifier: ItemPath) -> Response:
    """An item with its links and its history; one that was removed has its history alone."""
    known = await asyncio.to_thread(service_of(request).known_failures.knowledge)
    history = await asyncio.to_thread(service_of(request).known_failures.history, identifier)
    there = known.items.get(identifier)
    kind = there.kind if there is not None else history.versions[-1].kind
    links = [link for link in known.links if identifier in (link.source, link.target)]
    evidence = [each for link in links for each in link.evidence]
    inspections = await asyncio.to_thread(service_of(request).store.with_ids, evidence)
    return render(
        request,
        "knowledge_item.html.j2",
        identifier=identifier,
        kind=kind,
        item=there,
        items=known.items,
        fields=ALL_FIELDS[kind],
        version=history.versions[-1].version,
        changes=_changes(history),
        links=[(link, known.relation(link)) for link in links],
        inspections={row["id"] for row in inspections},
        causes=[] if there is None else _linkable(known.of, there, 1),
        effects=[] if there is None else _linkable(known.of, there, 0),
    )


@router.post("/items/{id}")
async def save(
    request: Request,
    key: ReviewerPageKey,
    identifier: ItemPath,
    kind: Annotated[schemas.Kind, Form()],
    seen: FormVersion,
) -> Response:
    """Change an item."""
    values = await _values(request, kind)
    await _change(request, key, identifier, {"kind": kind, "values": values, "based_on": seen})
    return RedirectResponse(f"/knowledge/items/{identifier}", 303)


@router.post("/items/{id}/remove")
async def remove(
    request: Request,
    key: ReviewerPageKey,
    identifier: ItemPath,
    kind: Annotated[schemas.Kind, Form()],
    seen: FormVersion,
) -> Response:
    """Remove an item and its links; its history stays."""
    await _change(request, key, identifier, {"kind": kind, "values": None, "based_on": seen})
    return RedirectResponse("/knowledge", 303)


@router.post("/items/{id}/links")
async def link(
    request: Request,
    key: ReviewerPageKey,
    identifier: ItemPath,
    other: Annotated[str, Form(pattern=rf"^[<>]{schemas.ONE}$")],
    evidence: Annotated[str, Form(max_length=2000)] = "",
    action: Annotated[str, Form(pattern="^(add|remove)$")] = "add",
) -> Response:
    """Add a link between an item and another one, or remove it; `other` begins with > where the link leads there."""
    end = other[1:]
    pair = f"{identifier}{MARK}{end}" if other[0] == MARK else f"{end}{MARK}{identifier}"
    values = {"evidence": evidence} if action == "add" else None
    await _change(request, key, pair, {"kind": "link", "values": values})
    return RedirectResponse(f"/knowledge/items/{identifier}#links", 303)


def free_id(name: str, taken: Any) -> str:
    """An id that is like a name and is not taken."""
    slug = ascii_name(name.lower(), "-")[:LONGEST_ID].strip("_-") or "item"
    number = 2
    found = slug
    while found in taken:
        found, number = f"{slug}-{number}", number + 1
    return found


async def _values(request: Request, kind: str) -> dict[str, Any]:
    """The fields of a kind that the form has."""
    form = await request.form()
    return {name: str(form[name]) for name in ALL_FIELDS[kind] if str(form.get(name, "")).strip()}


async def _change(request: Request, key: Key, identifier: str, given: dict[str, Any]) -> None:
    try:
        wanted = schemas.KnowledgeChange.model_validate(given)
    except ValidationError as error:
        told = [{"where": str(each["loc"][-1]), "what": each["msg"]} for each in error.errors()]
        raise Problem("invalid-request", "this cannot be stored", errors=told) from error
    await asyncio.to_thread(service_of(request).known_failures.change, identifier, wanted, key)


def _changes(history: schemas.KnowledgeHistory) -> list[tuple[schemas.KnowledgeVersion, list[tuple[str, Any, Any]]]]:
    """Each version, the newest first, with the fields that it changed: name, before, after."""
    found, before = [], dict[str, Any]()
    for version in history.versions:
        after: dict[str, Any] = version.content or {}
        names = dict.fromkeys([*before, *after])
        changed = [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]
        found.append((version, changed if version.content is not None else []))
        before = after
    return found[::-1]


def _linkable(of: Any, item: Item, end: int) -> list[Item]:
    """The items that a link may join with one; `end` 1: that lead to it, 0: that it leads to."""
    kinds = [pair[1 - end] for pair in RELATIONS if pair[end] == item.kind]
    return [each for kind in KINDS if kind in kinds for each in of(kind) if each.id != item.id]
