"""The page of operating points: a threshold to move, and what is known at each position."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.threshold import certify_like
from gonogo.evaluation.accuracy.operating_points import OperatingPoint, Rate, ScoresByKind, operating_points
from gonogo.reports.pages import render

STEPS = 400  # positions of the page's slider, at most
N_TICKS = 5


def measured_record(record: ThresholdRecord, rows: Sequence[Mapping[str, str]]) -> ThresholdRecord:
    """The threshold record of the gauge that the per-image records were measured with.

    That is `record`, the bundle's, except where the bundle computes in eight bits: then the bundle has a threshold of
    its own, and the record is made again from the calibrate scores of `rows`, as the fit stage made it.
    """
    if float(rows[0]["threshold"]) == record.threshold:
        return record
    good = [row for row in rows if row["role"] == "calibrate"]
    return certify_like(record, np.array([float(row["score"]) for row in good]), [row["group_id"] for row in good])


def write_operating_page(path: Path, scores: ScoresByKind, record: ThresholdRecord, *, category: str) -> None:
    """Write the page: a threshold to move over the scores, what is known at each position, and the table of all.

    The page's script computes no rate: it looks up what was computed here at each score, or at `STEPS` of them.
    """
    every = np.unique([*scores.good, *scores.defective, *record.good_scores])
    above = float(np.nextafter(every[-1], np.inf))
    positions = np.linspace(0, len(every) - 1, min(len(every), STEPS)).astype(int)
    stops = [*every[positions].tolist(), above, record.threshold]
    low, high = float(min(every[0], record.threshold)), max(above, record.threshold)
    room = 0.02 * (high - low) or 1.0  # on both sides, so that no line stands at the very edge
    low, high = low - room, high + room
    rows = [("good, to calibrate", record.good_scores), ("good, test", scores.good), *scores.by_type.items()]
    groups: list[dict[str, Any]] = [
        {"name": name, "scores": list(of), "bad": name in scores.by_type} for name, of in rows if len(of)
    ]

    def place(score: float) -> float:
        """How far to the right, in percent."""
        return round(100 * (score - low) / (high - low), 3)

    render(
        path,
        "operating_points.html.j2",
        category=category,
        record=record,
        points=operating_points(scores, record),
        types=list(scores.by_type),
        groups=[group | {"places": [place(score) for score in group["scores"]]} for group in groups],
        own_place=place(record.threshold),
        ticks=[(place(score), f"{score:.3g}") for score in np.linspace(low + room, high - room, N_TICKS).tolist()],
        data={
            "own": record.threshold,
            "low": low,
            "high": high,
            "rows": groups,
            "steps": [_step(point) for point in operating_points(scores, record, stops)],
        },
    )


def _step(point: OperatingPoint) -> dict[str, Any]:
    def values(rate: Rate | None) -> list[float] | None:
        return None if rate is None else [rate.k, rate.n, round(rate.low, 4), round(rate.high, 4)]

    by_type = {name: values(rate) for name, rate in point.recall_by_type.items()}
    return {
        "at": point.threshold,
        "certified": point.certified,
        "rates": {"good, test": values(point.false_alarms), "all defects": values(point.recall), **by_type},
    }
