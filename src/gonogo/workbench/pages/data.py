"""Step 1, data: the tree of the raw folder, the layout that it has, the problems in it, and one click to prepare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from gonogo.data.prepare.layouts import categories_in
from gonogo.data.prepare.prepare import prepare_params, shares_of
from gonogo.errors import DataError, GonogoError
from gonogo.files import read_json
from gonogo.params import Params, project_path
from gonogo.project.stage_metrics import measured
from gonogo.service.pages.access import AdminPageKey, admin_page_key
from gonogo.service.pages.rendering import HEADERS, render
from gonogo.service.problems import Problem
from gonogo.workbench.pages.categories import workbench_of
from gonogo.workbench.pictures import tile_of_file
from gonogo.workbench.raw_folder import SHOWN, folder_in, place_in
from gonogo.workbench.workbench import PARAMS

FolderPath = Annotated[str, Query(max_length=2000, pattern=r"^[^\x00]*$")]
Number = Annotated[int, Query(ge=0)]
SIDE = 192
router = APIRouter(dependencies=[Depends(admin_page_key)])


@router.get("/")
def first_page() -> Response:
    """The first page is the first step."""
    return RedirectResponse("/data", 303)


@router.get("/data")
def data(request: Request, folder: FolderPath = "", look: bool = False) -> Response:
    """The page; `look` has the layouts of the folder looked for, which reads every image's header."""
    params = Params(PARAMS)
    open_runs = {run.category: run for run in workbench_of(request).runs.all() if run.is_open and run.kind == "prepare"}
    categories = []
    for name in params.categories:
        card = _card(name)
        section = Params(PARAMS, name).section("prepare")
        categories.append(
            {
                "name": name,
                "source": section.get("source"),
                "counts": measured("prepare", name),
                "problems": [] if card is None else [_shown(name, each, params.raw) for each in card["problems"]],
                "rejects": [] if card is None else card["rejects"],
                "run": open_runs.get(name),
            }
        )
    tree = folder_in(params.raw, folder) if params.raw.is_dir() else None
    found, refused = _layouts(params) if look else ([], None)
    return render(
        request, "data.html.j2", raw=params.raw, tree=tree, shown=SHOWN, look=look, found=found, refused=refused,
        categories=categories,
    )  # fmt: skip


@router.post("/data/prepare")
def prepare(request: Request, key: AdminPageKey, category: Annotated[str, Form(max_length=200)]) -> Response:
    """Queue the preparation of a category, and lead to its run."""
    runs = workbench_of(request).runs
    run = runs.add("prepare", category, by=key.name)
    runs.start_worker()
    return RedirectResponse(f"/fit/{run.id}", 303)


@router.get("/data/picture")
def picture(folder: FolderPath, number: Annotated[int, Query(ge=0, lt=SHOWN)]) -> Response:
    """One of the first images of a folder of the tree."""
    raw = Params(PARAMS).raw
    images = folder_in(raw, folder).images
    if number >= len(images):
        raise Problem("not-found", "the folder has no such image")
    return png_response(tile_of_file(place_in(raw, f"{folder}/{images[number]}".lstrip("/")), SIDE))


@router.get("/data/problem")
def problem_picture(category: str, problem: Number, number: Number) -> Response:
    """An image that a problem of a category names."""
    params, card = Params(PARAMS, category), _card(category)
    try:
        name = (card or {})["problems"][problem]["examples"][number]
    except (KeyError, IndexError):
        raise Problem("not-found", "there is no such problem") from None
    return png_response(tile_of_file(place_in(params.raw, name), SIDE))


def png_response(data: bytes) -> Response:
    """A picture of this page alone."""
    kept = {"Cache-Control": "private, max-age=300"}
    return Response(data, media_type="image/png", headers=HEADERS | kept)


def _card(category: str) -> Mapping[str, Any] | None:
    path = project_path("cards", f"{category}.json")
    return read_json(path) if path.is_file() else None


def _shown(category: str, problem: Mapping[str, Any], raw: Path) -> dict[str, Any]:
    """A problem, with the numbers of its examples that are images of the raw folder."""
    pictures = []
    for number, name in enumerate(problem["examples"]):
        try:
            if raw.is_dir() and place_in(raw, name).is_file():
                pictures.append(number)
        except DataError:
            continue
    return {**problem, "category": category, "pictures": pictures}


def _layouts(params: Params) -> tuple[list[Any], str | None]:
    """The categories that the raw folder has, or why it has none that can be read."""
    prepare = prepare_params(params.section("prepare"))
    try:
        return list(categories_in(params.raw, shares_of(prepare, params.seed))), None
    except GonogoError as error:
        return [], str(error)
