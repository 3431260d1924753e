"""Corrections: what a person says is wrong with an inspection, and the review that this is at the same time."""

import asyncio
import time

from gonogo.service import schemas
from gonogo.service.problems import Problem
from gonogo.service.reviewing import inspection_row
from gonogo.service.security import ROLES, Key
from gonogo.store.schema import Row
from gonogo.store.store import Store


async def add_correction(store: Store, identifier: str, given: schemas.Correction, key: Key) -> int:
    """Add a correction; returns its id.

    Where the key may review, a false alarm is also a review as good and a miss one as defect. The inspection waits in
    the queue until another person has reviewed it.

    Raises:
        Problem: the correction contradicts the verdict or lacks what its reason needs, or there is no such inspection.
    """
    row = await inspection_row(store, identifier)
    _require_sense(given, row)
    who = {"reviewer": key.name, "at": time.time(), "key": key.id}
    review = None
    if given.reason in ("false_alarm", "miss") and ROLES.index(key.role) >= ROLES.index("review"):
        label = "good" if given.reason == "false_alarm" else "defect"
        review = {"label": label, "defect_type": given.defect_type, "note": given.note} | who
    correction = given.model_dump() | who
    return await asyncio.to_thread(store.corrections.add, identifier, correction, review)


async def corrections_of(store: Store, identifier: str) -> schemas.Corrections:
    """The corrections of an inspection, oldest first."""
    rows = await asyncio.to_thread(store.corrections.of, identifier)
    return schemas.Corrections(corrections=[schemas.KeptCorrection(**row) for row in rows])


def _require_sense(given: schemas.Correction, row: Row) -> None:
    needed = {"miss": "defect_type", "wrong_category": "category", "note": "note"}.get(given.reason)
    if needed is not None and getattr(given, needed) is None:
        raise Problem("invalid-request", f"a correction with the reason {given.reason} has a {needed}")
    if given.defect_type is not None and given.reason != "miss":
        raise Problem("invalid-request", "only a miss has a defect_type")
    if given.category is not None and given.reason != "wrong_category":
        raise Problem("invalid-request", "only a part of the wrong category has a category")
    wrong = {"false_alarm": "pass", "miss": "reject"}.get(given.reason)
    if row["verdict"] == wrong:
        raise Problem("invalid-request", f"the verdict is {wrong}, so that it cannot be a {given.reason}")
    if given.category == row["category"]:
        raise Problem("invalid-request", f"{given.category!r} is the category by which it was judged")
