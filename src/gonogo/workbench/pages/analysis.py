"""Step 5, analysis: the worst cases first, each beside its truth and its map; a threshold to move; robustness."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.evaluation.accuracy.operating_points import OperatingPoint, ScoresByKind, operating_points
from gonogo.files import read_rows, read_sealed
from gonogo.params import project_path
from gonogo.service.pages.access import admin_page_key
from gonogo.service.pages.rendering import render
from gonogo.service.problems import Problem
from gonogo.workbench.pages.categories import ChosenCategory
from gonogo.workbench.pictures import dataset_of, learns_boxes

ON_PAGE = 24
Type = Annotated[str, Query(alias="type", max_length=200)]
Threshold = Annotated[float | None, Query(allow_inf_nan=False)]
router = APIRouter(dependencies=[Depends(admin_page_key)])


@router.get("/analysis")
def analysis(
    request: Request, category: ChosenCategory, kind: Type = "", threshold: Threshold = None,
    begin: Annotated[int, Query(ge=0)] = 0,
) -> Response:  # fmt: skip
    """The page."""
    name = category.name
    path = project_path("plots", "records", f"{name}.csv")
    if not path.is_file():
        return render(request, "analysis.html.j2", category=category, point=None)
    at = point_at(name, threshold)
    parts = parts_of(name, at["point"].threshold)
    kinds = list(dict.fromkeys(part["type"] for part in sorted(parts, key=lambda part: (part["bad"], part["type"]))))
    shown = [part for part in parts if kind in ("", part["type"])]
    return render(
        request,
        "analysis.html.j2",
        category=category,
        kinds=kinds,
        kind=kind,
        shown=shown[begin : begin + ON_PAGE],
        n=len(shown),
        begin=begin,
        on_page=ON_PAGE,
        query=urlencode({"category": name, "type": kind} | ({} if threshold is None else {"threshold": threshold})),
        robustness=_robustness(name),
        **at,
    )


@router.get("/analysis/at")
def at_threshold(request: Request, category: ChosenCategory, threshold: Threshold = None) -> Response:
    """What a threshold certifies, and its rates, for a script."""
    return render(request, "operating_point.html.j2", category=category, **point_at(category.name, threshold))


@router.get("/analysis/{number}")
def forensics(request: Request, category: ChosenCategory, number: Annotated[int, Path(ge=0)]) -> Response:
    """One image large: its truth, its map with the regions or its boxes, and what the records have of it."""
    dataset = dataset_of(category.name)
    if number >= len(dataset.records):
        raise Problem("not-found", "the data set has no such image")
    image = dataset.records[number]
    rows = read_rows(project_path("plots", "records", f"{category.name}.csv"))
    regions = [
        row for row in read_rows(project_path("plots", "regions", f"{category.name}.csv")) if row["image"] == image.path
    ]
    return render(
        request,
        "forensics.html.j2",
        category=category,
        number=number,
        image=image,
        row=next((row for row in rows if row["image"] == image.path), None),
        regions=regions,
        boxes=learns_boxes(category.name),
    )


def point_at(category: str, threshold: float | None) -> dict[str, Any]:
    """The operating point of a category at a threshold, None for its own, with what a slider needs.

    Raises:
        IntegrityError: there is no model of the category here, or it is not the one that was written.
    """
    rows = read_rows(project_path("plots", "records", f"{category}.csv"))
    record = ThresholdRecord.from_dict(read_sealed(project_path("models", category))["threshold"])
    scores = ScoresByKind.from_rows(rows)
    point: OperatingPoint = operating_points(scores, record, [record.threshold if threshold is None else threshold])[0]
    every = [*scores.good, *scores.defective, record.threshold]
    low, high = min(every), max(every)
    return {
        "point": point,
        "record": record,
        "low": low,
        "high": high + 0.02 * (high - low),
        "step": (high - low) / 500 or 1.0,
    }


def parts_of(category: str, threshold: float) -> list[dict[str, Any]]:
    """The test images, the worst first: how far a score is on the wrong side of the threshold, or near it."""
    numbers = {record.path: number for number, record in enumerate(dataset_of(category).records)}
    parts = []
    for row in read_rows(project_path("plots", "records", f"{category}.csv")):
        if row["role"] == "test":
            score, bad = float(row["score"]), row["label"] == "1"
            wrong_by = (threshold - score) if bad else (score - threshold)
            parts.append(
                {
                    "number": numbers.get(row["image"]), "image": row["image"], "type": row["defect_type"], "bad": bad,
                    "score": score, "relative": score / threshold if threshold else 0.0,
                    "rejected": score >= threshold, "wrong": bad != (score >= threshold), "wrong_by": wrong_by,
                }
            )  # fmt: skip
    return sorted(parts, key=lambda part: (-part["wrong_by"], part["image"]))


def _robustness(category: str) -> dict[str, list[dict[str, str]]]:
    """The rates of changed images, by corruption, the mildest first."""
    path = project_path("plots", "robustness", f"{category}.csv")
    found: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(path) if path.is_file() else ():
        found.setdefault(row["corruption"], []).append(row)
    return found
