"""Step 2, the data card: how many images of each kind there are, the images of one kind, and each large."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from gonogo.files import read_json
from gonogo.images.dataset import Record
from gonogo.images.roles import ROLES
from gonogo.params import project_path
from gonogo.service.pages.access import admin_page_key
from gonogo.service.pages.rendering import render
from gonogo.service.problems import Problem
from gonogo.workbench.pages.categories import ChosenCategory, workbench_of
from gonogo.workbench.pages.data import png_response
from gonogo.workbench.pictures import SIDES, View, dataset_of, record_of

ON_PAGE = 60  # images
BAR_WIDTH = 240  # pixels of the longest bar
router = APIRouter(dependencies=[Depends(admin_page_key)])


@dataclass(frozen=True)
class Filters:
    """Which images are shown; empty: all."""

    role: str = ""
    type: str = ""

    def keeps(self, record: Record) -> bool:
        """Whether an image is shown."""
        return self.role in ("", record.role) and self.type in ("", record.defect_type)

    def query(self, category: str, **more: Any) -> str:
        """The query of an address with these filters."""
        return urlencode({"category": category, "role": self.role, "type": self.type} | more)


def filters_of(
    role: Annotated[str, Query(max_length=20)] = "", kind: Annotated[str, Query(alias="type", max_length=200)] = ""
) -> Filters:
    """The filters of a request."""
    return Filters(role, kind)


ChosenFilters = Annotated[Filters, Depends(filters_of)]


@router.get("/card")
def card(
    request: Request, category: ChosenCategory, filters: ChosenFilters, begin: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """The page."""
    name = category.name
    path = project_path("cards", f"{name}.json")
    if not path.is_file():
        return render(request, "card.html.j2", category=category, card=None)
    records = dataset_of(name).records
    numbers = [number for number, record in enumerate(records) if filters.keeps(record)]
    return render(
        request,
        "card.html.j2",
        category=category,
        card=read_json(path),
        bars=_bars(records),
        filters=filters,
        shown=[(number, records[number]) for number in numbers[begin : begin + ON_PAGE]],
        n=len(numbers),
        begin=begin,
        on_page=ON_PAGE,
    )


@router.get("/card/{number}")
def image(
    request: Request, category: ChosenCategory, filters: ChosenFilters, number: Annotated[int, Path(ge=0)]
) -> Response:
    """An image large, beside its truth, with the ones before and after it in the filters."""
    records = dataset_of(category.name).records
    if number >= len(records):
        raise Problem("not-found", "the data set has no such image")
    numbers = [place for place, record in enumerate(records) if filters.keeps(record)]
    return render(
        request,
        "card_image.html.j2",
        category=category,
        filters=filters,
        number=number,
        record=records[number],
        before=max((place for place in numbers if place < number), default=None),
        after=min((place for place in numbers if place > number), default=None),
    )


@router.get("/pictures/{number}")
def picture(
    request: Request, category: ChosenCategory, number: int, view: View = "image", side: Annotated[int, Query()] = 192
) -> Response:
    """A picture of an image of the prepared data set."""
    if side not in SIDES:
        raise Problem("invalid-request", f"side is {side}; choose one of {', '.join(map(str, SIDES))}")
    record_of(dataset_of(category.name), number)
    return png_response(workbench_of(request).pictures.of(category.name, number, view, side))


def _bars(records: Sequence[Record]) -> list[dict[str, Any]]:
    """How many images of each role and type there are: good ones by role, then defects by role and type."""
    counts = Counter((record.label, record.role, record.defect_type) for record in records)
    most = max(counts.values())
    ordered = sorted(counts, key=lambda kind: (kind[0], ROLES.index(kind[1]), kind[2]))
    return [
        {
            "role": role, "type": defect_type, "bad": bool(label), "n": counts[label, role, defect_type],
            "width": max(2, round(BAR_WIDTH * counts[label, role, defect_type] / most)),
        }
        for label, role, defect_type in ordered
    ]  # fmt: skip
