"""The audit sample: inspections that a person is to look at whatever their verdict, drawn when they are stored.

It is the one sample of the line's parts that can test a certificate, since nothing but chance chose it. The chance is
in the inspection's id, whose last twenty digits are random and are made without a look at the image or its score: the
SHA-256 of an id, read as a number in [0, 1), is its draw, and it is in the sample where the draw is below the share.
Anybody can compute the draws again, and so find an inspection that was left out or slipped in.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from gonogo.store.reviews import IN_FORCE, Settlement, settle
from gonogo.store.schema import Row, audits, inspections, reviews

DIGITS = 13  # of the hash in base 16: 52 bits, which a float holds exactly


@dataclass(frozen=True)
class AuditRule:
    """How inspections are drawn: each with the chance `share`, and who draws."""

    share: float
    drawn_by: str

    def rows(self, ids: Sequence[str], at: float) -> list[Row]:
        """The rows of the inspections that are drawn."""
        drawn = [(identifier, draw_of(identifier)) for identifier in ids]
        return [
            {"inspection": identifier, "at": at, "draw": draw, "share": self.share, "drawn_by": self.drawn_by}
            for identifier, draw in drawn
            if draw < self.share
        ]


@dataclass(frozen=True)
class AuditedPart:
    """An inspection of the audit sample: the gauge's verdict, and what the reviews come to."""

    verdict: str
    settlement: Settlement


def draw_of(identifier: str) -> float:
    """The draw of an inspection, in [0, 1)."""
    number: int = int(hashlib.sha256(f"audit {identifier}".encode()).hexdigest()[:DIGITS], 16)
    return number / float(16**DIGITS)


class Audits:
    """The audit sample in the database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def of(self, identifier: str) -> Row | None:
        """Why an inspection is in the sample: when it was drawn, by whom, its draw and the share; None: it is not."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(audits).where(audits.c.inspection == identifier)).first()
        return None if row is None else dict(row._mapping)

    def parts(self, bundle: str) -> list[AuditedPart]:
        """The sample among the inspections of one bundle, in the order in which they were stored."""
        of_bundle = sa.select(audits.c.inspection, inspections.c.verdict).join_from(audits, inspections)
        of_bundle = of_bundle.where(inspections.c.bundle == bundle).order_by(audits.c.inspection)
        names = ("key", "reviewer", "label", "defect_type")
        given = sa.select(reviews.c.inspection, *(reviews.c[name] for name in names)).order_by(reviews.c.id)
        given = given.where(reviews.c.inspection.in_(sa.select(audits.c.inspection)), IN_FORCE)
        histories: dict[str, list[Row]] = defaultdict(list)
        with self._engine.connect() as connection:
            verdicts = connection.execute(of_bundle).all()
            for identifier, *values in connection.execute(given):
                histories[identifier].append(dict(zip(names, values, strict=True)) | {"undone": None})
        return [AuditedPart(verdict, settle(histories[identifier])) for identifier, verdict in verdicts]
