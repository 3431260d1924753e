"""Reviews: an append-only history of what people said about a part, and what it comes to.

Nothing is changed or removed: who changes their mind adds a review, and who takes one back adds that as an event.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from gonogo.store.schema import Row, inspections, reviews, undone_reviews

Label = Literal["good", "defect"]
LOOKED_UP_TOGETHER = 500  # inspections in one query
Writing = Callable[[], AbstractContextManager[sa.Connection]]
Changed = Callable[[sa.Connection, str], None]

VOICE: dict[str, Any] = dict.fromkeys(("key", "reviewer", "label", "defect_type", "undone"))  # of a review in force
IN_FORCE = ~sa.exists().where(undone_reviews.c.review == reviews.c.id)  # of a row of `reviews`
REVIEWED = sa.exists().where(reviews.c.inspection == inspections.c.id, IN_FORCE)  # of a row of `inspections`


@dataclass(frozen=True)
class Settlement:
    """What the reviews of one inspection come to.

    Attributes:
        state: open where nobody has reviewed it, disputed where as many reviewers say good as say defect, settled
            otherwise.
        label: of a settled one.
        defect_type: of one that is settled as a defect: the type that most of its reviewers name, the later of two.
        good, defect: the names of the reviewers who say so, in the order of their reviews.
        keys: the ids of the keys whose reviews count.
    """

    state: Literal["open", "disputed", "settled"]
    label: Label | None
    defect_type: str | None
    good: tuple[str, ...]
    defect: tuple[str, ...]
    keys: tuple[str, ...] = ()


class Settled(NamedTuple):
    """An inspection whose reviews are settled; `defect_type` None: the part is good."""

    inspection: str
    at: float
    category: str
    verdict: str
    defect_type: str | None


def settle(history: Sequence[Mapping[str, Any]]) -> Settlement:
    """What a history of reviews comes to. Each key has one voice: that of its last review not taken back.

    A name counts for nothing, since whoever has one key could otherwise outvote everybody under several.

    Args:
        history: reviews of one inspection in the order in which they were given, each with `key`, `reviewer`, `label`,
            `defect_type` and `undone`, which is None unless the review was taken back.
    """
    voices: dict[str, Mapping[str, Any]] = {}
    for review in history:
        if review["undone"] is None:
            voices.pop(review["key"], None)  # so that the order is that of the reviews that count
            voices[review["key"]] = review
    good, defect = (
        tuple(review["reviewer"] for review in voices.values() if review["label"] == label)
        for label in ("good", "defect")
    )
    keys = tuple(voices)
    if not voices:
        return Settlement("open", None, None, good, defect, keys)
    if len(good) == len(defect):
        return Settlement("disputed", None, None, good, defect, keys)
    if len(good) > len(defect):
        return Settlement("settled", "good", None, good, defect, keys)
    types = [review["defect_type"] for review in reversed(voices.values()) if review["label"] == "defect"]
    return Settlement("settled", "defect", Counter(types).most_common(1)[0][0], good, defect, keys)


def reviews_of(connection: sa.Connection, ids: Sequence[str]) -> dict[str, list[Row]]:
    """The reviews of inspections by their ids, oldest first; `undone` is when one was taken back, or None."""
    found: dict[str, list[Row]] = {identifier: [] for identifier in ids}
    query = sa.select(reviews, undone_reviews.c.at.label("undone")).outerjoin(undone_reviews).order_by(reviews.c.id)
    for begin in range(0, len(ids), LOOKED_UP_TOGETHER):
        together = ids[begin : begin + LOOKED_UP_TOGETHER]
        for row in connection.execute(query.where(reviews.c.inspection.in_(together))):
            found[row.inspection].append(dict(row._mapping))
    return found


class Reviews:
    """The reviews in the database."""

    def __init__(self, engine: sa.Engine, writing: Writing, changed: Changed) -> None:
        """`changed` is called in the transaction that has changed the reviews of an inspection, with its id."""
        self._engine, self._writing, self._changed = engine, writing, changed
        # By category, what `number` told when its types were looked up, so that only new reviews are read after that.
        self._types: dict[str, tuple[int, int, tuple[str, ...]]] = {}

    def add(self, identifier: str, review: Row) -> int:
        """Add a review to the inspection with this id, which must be there; returns the review's id."""
        with self._writing() as connection:
            added = connection.execute(sa.insert(reviews).values(review | {"inspection": identifier}))
            assert added.inserted_primary_key is not None
            self._changed(connection, identifier)
            return int(added.inserted_primary_key[0])

    def review(self, identifier: int) -> Row | None:
        """A review, with `undone` as in `reviews_of`; None: there is none."""
        query = sa.select(reviews, undone_reviews.c.at.label("undone")).outerjoin(undone_reviews)
        with self._engine.connect() as connection:
            row = connection.execute(query.where(reviews.c.id == identifier)).first()
        return None if row is None else dict(row._mapping)

    def number(self) -> tuple[int, int]:
        """How many reviews were given, and how many of them taken back."""
        given = sa.select(sa.func.coalesce(sa.func.max(reviews.c.id), 0)).scalar_subquery()
        taken_back = sa.select(sa.func.count()).select_from(undone_reviews).scalar_subquery()
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(given, taken_back)).one()
        return int(row[0]), int(row[1])

    def undo(self, identifier: int, *, key: str) -> bool:
        """Take back a review, which must be there; False where it was taken back before."""
        with self._writing() as connection:
            there = connection.execute(sa.select(undone_reviews).where(undone_reviews.c.review == identifier)).first()
            if there is None:
                row = {"review": identifier, "at": time.time(), "key": key}
                connection.execute(sa.insert(undone_reviews).values(row))
                of_review = sa.select(reviews.c.inspection).where(reviews.c.id == identifier)
                self._changed(connection, connection.execute(of_review).scalar_one())
        return there is None

    def defect_types(self, category: str) -> list[str]:
        """The types of defects that reviewers of this category named, in the order in which they came up.

        The order does not depend on how often a type is named, so that its key on the pages stays the same.
        """
        given, taken_back = self.number()
        known = self._types.get(category)
        seen, types = (known[0], known[2]) if known is not None and known[1] == taken_back else (0, ())
        if seen < given:
            # From the reviews to their inspections: a join may go through all inspections of the category instead.
            of_category = sa.exists().where(
                inspections.c.id == reviews.c.inspection, inspections.c.category == category
            )
            query = (
                sa.select(reviews.c.defect_type)
                .where(reviews.c.id > seen, reviews.c.id <= given)
                .where(of_category, reviews.c.defect_type.is_not(None), IN_FORCE)
                .group_by(reviews.c.defect_type)
                .order_by(sa.func.min(reviews.c.id))
            )
            with self._engine.connect() as connection:
                types = tuple(dict.fromkeys((*types, *connection.execute(query).scalars())))
            self._types[category] = given, taken_back, types
        return list(types)

    def reviewed(self, category: str | None = None) -> Iterator[tuple[str, Settlement]]:
        """The inspections that have a review in force, oldest first, with what their reviews come to."""
        query = sa.select(inspections.c.id).where(REVIEWED).order_by(inspections.c.id)
        if category is not None:
            query = query.where(inspections.c.category == category)
        with self._engine.connect() as connection:
            ids = list(connection.execute(query).scalars())
            for begin in range(0, len(ids), LOOKED_UP_TOGETHER):
                together = reviews_of(connection, ids[begin : begin + LOOKED_UP_TOGETHER])
                for identifier, history in together.items():
                    yield identifier, settle(history)

    def settled(self) -> Iterator[Settled]:
        """The inspections whose reviews are settled, oldest first."""
        columns = [inspections.c[name] for name in ("id", "at", "category", "verdict")]
        said = [reviews.c[name] for name in ("key", "reviewer", "label", "defect_type")]
        query = sa.select(*columns, *said).join_from(reviews, inspections).where(IN_FORCE)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(reviews.c.inspection, reviews.c.id))
            for (identifier, at, category, verdict), together in groupby(rows, key=lambda row: row[: len(columns)]):
                found = settle([VOICE | dict(zip(VOICE, row[len(columns) :], strict=False)) for row in together])
                if found.state == "settled":
                    yield Settled(identifier, at, category, verdict, found.defect_type)
