"""Step 3, fit: a form with the detector's options, the queue of runs, and each run with its curves and its log."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from gonogo.detectors import DETECTORS
from gonogo.params import Params
from gonogo.project.fit_forecast import forecast
from gonogo.project.git import git_answer
from gonogo.project.recipes import recipe_names
from gonogo.project.runs import Run
from gonogo.service.pages.access import AdminPageKey, admin_page_key
from gonogo.service.pages.rendering import is_fragment, render
from gonogo.workbench.fit_form import RECIPES, detector_of, fields_of, settings_of_form, summary_of
from gonogo.workbench.pages.categories import Chosen, ChosenCategory, chosen_category, workbench_of
from gonogo.workbench.workbench import PARAMS

WIDE, HIGH, SIDE, BASE = 420, 150, 8, 22  # of a curve, and its margins
LISTED = 30
STOP_POLLING = 286  # a status of htmx: the fragment is the last one
SHOWN_LOG = 12_000  # bytes
Detector = Annotated[str | None, Query(max_length=60)]
router = APIRouter(dependencies=[Depends(admin_page_key)])


@router.get("/fit")
def fit(request: Request, category: ChosenCategory, detector: Detector = None) -> Response:
    """The page; a script gets the list of runs alone."""
    runs = workbench_of(request).runs.all()[:LISTED]
    if is_fragment(request):
        return render(request, "runs.html.j2", runs=runs)
    return render(request, "fit.html.j2", runs=runs, forecast=None, **_form(category, detector, {}))


@router.post("/fit")
async def start(request: Request, key: AdminPageKey, category: Annotated[str, Form(max_length=200)]) -> Response:
    """Queue the fit of a filled form, and lead to it; or say what memory it would take."""
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    return await run_in_threadpool(_start, request, key.name, category, form)


def _start(request: Request, by: str, category: str, form: dict[str, str]) -> Response:
    settings = settings_of_form(PARAMS, category, form)
    runs = workbench_of(request).runs
    if "forecast" in form:
        values = _form(chosen_category(category), form.get("detector"), form)
        return render(
            request, "fit.html.j2", runs=runs.all()[:LISTED], forecast=forecast(PARAMS, category, settings), **values
        )
    run = runs.add("fit", category, settings, by=by)
    runs.start_worker()
    return RedirectResponse(f"/fit/{run.id}", 303)


@router.get("/fit/{identifier}")
def run_page(request: Request, identifier: str) -> Response:
    """A run; a script gets what changes of it alone."""
    runs = workbench_of(request).runs
    run = runs.get(identifier)
    values: dict[str, Any] = {
        "run": run,
        "log": runs.log(identifier, n_bytes=SHOWN_LOG),
        "curves": [_curve(name, points) for name, points in runs.series(identifier).items() if points],
    }
    if is_fragment(request):
        return render(request, "run_state.html.j2", status=200 if run.is_open else STOP_POLLING, **values)
    return render(request, "run.html.j2", **values)


@router.post("/fit/{identifier}/stop")
def stop(request: Request, identifier: str) -> Response:
    """Stop a run, and show it."""
    run: Run = workbench_of(request).runs.stop(identifier)
    return RedirectResponse(f"/fit/{run.id}", 303)


def _form(category: Chosen, detector: str | None, filled: dict[str, str]) -> dict[str, Any]:
    """What the form's template needs; `filled` is what a person has written in it."""
    params = Params(PARAMS, category.name)
    current = detector_of(params)
    chosen = detector or current
    return {
        "category": category,
        "detectors": list(DETECTORS),
        "detector": chosen,
        "current": current,
        "summary": summary_of(chosen) if chosen in DETECTORS else "",
        "fields": fields_of(chosen, params),
        "recipes": recipe_names(RECIPES),
        "filled": filled,
        "rate": params.section("calibrate").get("false_alarm_rate"),
        "commit": git_answer(PARAMS.parent, "rev-parse", "--short=12", "HEAD") or "",
        "unsaved": bool(
            git_answer(PARAMS.parent, "status", "--porcelain", "--untracked-files=no", "--", "params.yaml")
        ),
    }


def _curve(name: str, points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """A series as the path of a curve."""
    finite = [(step, value) for step, value in points if math.isfinite(value)] or [(0.0, 0.0)]
    first, last = finite[0][0], finite[-1][0]
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    across, up = (WIDE - 2 * SIDE) / ((last - first) or 1.0), (HIGH - BASE - SIDE) / ((high - low) or 1.0)
    placed = [(SIDE + (step - first) * across, HIGH - BASE - (value - low) * up) for step, value in finite]
    return {
        **{"name": name, "width": WIDE, "height": HIGH, "base": HIGH - BASE, "side": SIDE},
        "path": "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed),
        **{"step": last, "value": finite[-1][1], "low": low, "high": high, "n": len(finite), "first": first},
    }
