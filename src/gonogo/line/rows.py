"""The rows that `gonogo score` wrote, read again: of `--out` and of `--jsonl`."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gonogo.errors import DataError
from gonogo.images.statistics import STATISTICS
from gonogo.inference.scorer import ERROR, UNKNOWN


class ReadRow(NamedTuple):
    """What was said of one image.

    where: the file of the rows and the line.
    key: the item's own, or its file where it has none.
    bundle: fingerprint of the gauge, or of the set of gauges; None where the row does not say.
    category: None where the row does not say, and where the image belongs to none.
    verdict: `pass`, `reject`, `unknown`, or `error` where the image has none.
    score: None where the verdict is `unknown` or `error`.
    statistics: STATISTICS of the image; empty where the row does not say.
    row: all of it.
    """

    where: str
    file: str
    key: str
    bundle: str | None
    category: str | None
    verdict: str
    score: float | None
    statistics: tuple[float, ...]
    row: dict[str, Any]


def read_rows(path: Path) -> Iterator[ReadRow]:
    """The rows of a file, in their order.

    Raises:
        DataError: the file cannot be read, or a line is not such a row.
    """
    where = str(path)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                where = f"{path}, line {number}"
                yield read_row(where, json.loads(line))
    except OSError as error:
        raise DataError(f"{path} cannot be read as verdicts: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{where}: expected a row that gonogo score --jsonl or --out wrote, got {error!r}") from error


def read_row(where: str, row: dict[str, Any]) -> ReadRow:
    """A row that was decoded.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is no such row.
    """
    verdict = str(row.get("verdict", ERROR))
    has_score = verdict != UNKNOWN and "error" not in row
    score = float(row["score"]) if has_score else None
    if score is not None and not math.isfinite(score):
        raise ValueError(f"the score {score}")
    told = row.get("statistics")
    return ReadRow(
        where,
        str(row["file"]),
        str(row.get("key") or row["file"]),
        row.get("bundle"),
        row.get("category"),
        verdict if has_score or verdict == UNKNOWN else ERROR,
        score,
        () if told is None else tuple(float(told[name]) for name in STATISTICS),
        row,
    )
