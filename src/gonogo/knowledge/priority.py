"""How urgent a row of an FMEA is: by a table that its user loads, or by a simple rule of gonogo's own.

The table of action priorities in the handbook of AIAG and VDA is theirs, and not shipped. Whoever has it writes it as
a CSV file with the columns `severity`, `occurrence`, `detection` and `priority`: a cell is a rating, or a range as
`9-10`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from gonogo.errors import DataError

COLUMNS = ("severity", "occurrence", "detection", "priority")
PRIORITIES = ("high", "medium", "low")
Ratings = tuple[int, int, int]  # S, O, D
RATINGS = range(1, 11)
MOST_ROWS = 1000
HIGH_PRODUCT, MEDIUM_PRODUCT, SEVERE, SELDOM = 200, 80, 9, 2  # of the simple rule


@dataclass(frozen=True)
class Priorities:
    """A priority for each severity, occurrence and detection; `rows` None: the simple rule."""

    rows: tuple[Mapping[str, str], ...] | None
    table: Mapping[Ratings, str]

    @property
    def is_own(self) -> bool:
        """Whether the user's table is in force, rather than the simple rule."""
        return self.rows is not None

    def of(self, severity: int | None, occurrence: int | None, detection: int | None) -> str | None:
        """One of PRIORITIES; None where a rating is missing."""
        if severity is None or occurrence is None or detection is None:
            return None
        return self.table[severity, occurrence, detection]


def simple_rule(severity: int, occurrence: int, detection: int) -> str:
    """One of PRIORITIES by a rule of gonogo's own, which is not the handbook's.

    High where the product of the three ratings is at least 200, or where the effect is dangerous (S of 9 or more) and
    its cause is not the rarest (O of 2 or more); medium where the product is at least 80; low otherwise.
    """
    rank = severity * occurrence * detection
    if rank >= HIGH_PRODUCT or (severity >= SEVERE and occurrence >= SELDOM):
        return "high"
    return "medium" if rank >= MEDIUM_PRODUCT else "low"


ALL_RATINGS: list[Ratings] = list(product(RATINGS, RATINGS, RATINGS))
SIMPLE = Priorities(None, {ratings: simple_rule(*ratings) for ratings in ALL_RATINGS})


def priorities_of(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Priorities:
    """The table that rows make, each with where it stands.

    Raises:
        DataError: a row is wrong, says otherwise than another one, or three ratings have no priority.
    """
    if len(rows) > MOST_ROWS:
        raise DataError(f"the table of priorities has {len(rows)} rows; {MOST_ROWS} say everything")
    table: dict[Ratings, str] = {}
    said_in: dict[Ratings, str] = {}
    for where, row in rows:
        if set(row) != set(COLUMNS):
            raise DataError(f"{where}: expected the columns {', '.join(COLUMNS)}, got {', '.join(sorted(row))}")
        priority = str(row["priority"]).strip().lower()
        if priority not in PRIORITIES:
            raise DataError(f"{where}: priority is {priority!r}; expected one of {', '.join(PRIORITIES)}")
        severities, occurrences, detections = (_range(str(row[name]), name, where) for name in COLUMNS[:3])
        for ratings in product(severities, occurrences, detections):
            if table.setdefault(ratings, priority) != priority:
                told = ", ".join(f"{name} {rating}" for name, rating in zip(COLUMNS, ratings, strict=False))
                raise DataError(f"{where}: {told} is {priority} here and {table[ratings]} in {said_in[ratings]}")
            said_in.setdefault(ratings, where)
    for ratings in ALL_RATINGS:
        if ratings not in table:
            told = ", ".join(f"{name} {rating}" for name, rating in zip(COLUMNS, ratings, strict=False))
            raise DataError(f"the table of priorities says nothing of {told}; expected a priority for all ratings")
    return Priorities(tuple({name: str(row[name]).strip() for name in COLUMNS} for _, row in rows), table)


def _range(text: str, name: str, where: str) -> range:
    matched = re.fullmatch(r"\s*(\d{1,2})(?:\s*[-–]\s*(\d{1,2}))?\s*", text)
    if matched:
        low, high = int(matched[1]), int(matched[2] or matched[1])
        if 1 <= low <= high <= 10:
            return range(low, high + 1)
    raise DataError(f"{where}: {name} is {text!r}; expected a rating from 1 to 10, or a range as 9-10")
