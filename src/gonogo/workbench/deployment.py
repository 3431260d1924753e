"""What the last step does: promote, roll back, tell the following service, and try an image. Pages and API call it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import httpx2

from gonogo.errors import DataError, ImageError, IntegrityError, PipelineError
from gonogo.files import read_json, write_bytes, write_json
from gonogo.images.reading import SUFFIXES, decode
from gonogo.params import Params, project_path
from gonogo.project.registry import Alias, Entry, mirror, promote, roll_back
from gonogo.project.runs import ROOM
from gonogo.reports.drawing import image_tile
from gonogo.service.client import Client, ServiceError, reload_registry
from gonogo.workbench.pictures import png
from gonogo.workbench.workbench import PARAMS, Workbench

TRIED, SIDE = ROOM / "tried", 384
WHERE = "the uploaded image"
RELOAD_SECONDS = 300.0  # the service holds the gate again, which takes as long as a comparison


def promote_gauge(
    workbench: Workbench, category: str, alias: Alias, revision: str, *, by: str, reason: str
) -> tuple[Entry, list[str]]:
    """As `gonogo promote`: the line and its tags; `gonogo.project.registry.promote` has the errors."""
    _known(category, revision)
    with workbench.registry_lock:
        entry = promote(category, alias, revision, by=by, reason=reason)
        return entry, mirror(entry)


def roll_back_gauge(
    workbench: Workbench, category: str, alias: Alias, *, by: str, reason: str
) -> tuple[Entry, list[str]]:
    """As `gonogo roll-back`; `gonogo.project.registry.roll_back` has the errors."""
    _known(category, "HEAD")
    with workbench.registry_lock:
        entry = roll_back(category, alias, by=by, reason=reason)
        return entry, mirror(entry)


def reload_service(workbench: Workbench) -> dict[str, Any]:
    """Have the following service look at the registry now: the gauge that it uses then.

    Raises:
        DataError: no service was named when the workbench was started.
        PipelineError: it cannot be reached, or refuses the gauge; its own words say why.
    """
    if workbench.following is None:
        raise DataError("no service is known here; start the workbench with --service URL")
    try:
        with Client(workbench.following.url, workbench.following.key, timeout=RELOAD_SECONDS) as client:
            return client(reload_registry()).model_dump()
    except (ServiceError, httpx2.HTTPError) as error:
        raise PipelineError(f"{workbench.following.url}: {error}") from error


def try_image(workbench: Workbench, category: str, data: bytes) -> str:
    """Judge an image with the category's bundle in the workspace, and keep picture and verdict; their name.

    Raises:
        ImageError: it cannot be read.
        DataError: there is no bundle.
    """
    Params(PARAMS, category)
    pixels, _ = decode(data, WHERE)
    scorer = workbench.pictures.scorer(project_path("bundles", category))
    (verdict,) = scorer.score_pixels(pixels[None])
    name = hashlib.sha256(data + scorer.fingerprint.encode()).hexdigest()
    write_bytes(TRIED / f"{name}-image.png", png(image_tile(pixels, (SIDE, SIDE))))
    write_bytes(TRIED / f"{name}-map.png", workbench.pictures.map_of(category, pixels, SIDE))
    write_json(TRIED / f"{name}.json", verdict.row() | {"category": category, "bundle": scorer.fingerprint})
    return name


def try_folder(workbench: Workbench, category: str, files: Iterable[tuple[str, BinaryIO]]) -> str:
    """Judge the images of a folder as `try_image` does each, and keep the list of verdicts; its name.

    The most anomalous image comes first, and after all others each that cannot be read, with the reason. Files that are
    no images by their names are counted.

    Args:
        files: the name of each, and its content.

    Raises:
        DataError: there is no bundle, or no image.
    """
    rows: list[dict[str, Any]] = []
    others = 0
    for file, content in files:
        if PurePosixPath(file).suffix.lower() not in SUFFIXES:
            others += 1
            continue
        try:
            name = try_image(workbench, category, content.read())
        except ImageError as error:
            rows.append({"file": file, "error": str(error)})
        else:
            verdict = read_json(TRIED / f"{name}.json")
            rows.append({"file": file, "name": name, "verdict": verdict["verdict"], "score": verdict["score"]})
    if not rows:
        raise DataError("the folder has no image")
    rows.sort(key=lambda row: -row.get("score", float("-inf")))
    told = {"category": category, "rows": rows, "others": others}
    name = hashlib.sha256(repr(told).encode()).hexdigest()
    write_json(TRIED / f"{name}.json", told)
    return name


def tried(name: str) -> dict[str, Any] | None:
    """The verdict on an image that was tried, or those of a folder, by its name, which is a SHA-256."""
    try:
        return read_json(TRIED / f"{name}.json")
    except IntegrityError:
        return None


def tried_picture(name: str, view: str) -> Path:
    """The picture of an image that was tried."""
    return TRIED / f"{name}-{view}.png"


def _known(category: str, revision: str) -> None:
    """Refuse what is no category of the project, and a revision that git would take for an option.

    Raises:
        ConfigError: it is no category.
        DataError: it is no revision.
    """
    Params(PARAMS, category)
    if revision.startswith("-") or not revision:
        raise DataError(f"{revision!r} is no revision")
