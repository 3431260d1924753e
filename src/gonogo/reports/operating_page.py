"""The page of operating points: a threshold to move, and what is known at each place."""

from pathlib import Path
from typing import Any

import numpy as np

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.evaluation.accuracy.operating_points import OperatingPoint, Rate, ScoresByKind, operating_points
from gonogo.reports.pages import render

STEPS = 400  # thresholds that the page's slider stops at, at most


def write_operating_page(path: Path, scores: ScoresByKind, record: ThresholdRecord, *, category: str) -> None:
    """Write the page: a threshold to move over the scores, what is known at each place, and the table of all.

    The page computes nothing: it looks up what was computed here at every score, or at `STEPS` of them.
    """
    every = np.unique([*scores.good, *scores.defective, *record.good_scores])
    above = float(np.nextafter(every[-1], np.inf))
    places = np.linspace(0, len(every) - 1, min(len(every), STEPS)).astype(int)
    stops = [*every[places].tolist(), above, record.threshold]
    groups = [("good, to calibrate", record.good_scores), ("good, test", scores.good), *scores.by_type.items()]
    render(
        path,
        "operating_points.html.j2",
        category=category,
        record=record,
        points=operating_points(scores, record),
        types=list(scores.by_type),
        data={
            "own": record.threshold,
            "low": float(min(every[0], record.threshold)),
            "high": max(above, record.threshold),
            "rows": [
                {"name": name, "scores": list(of), "bad": name in scores.by_type} for name, of in groups if len(of)
            ],
            "steps": [_step(point) for point in operating_points(scores, record, stops)],
        },
    )


def _step(point: OperatingPoint) -> dict[str, Any]:
    def said(rate: Rate | None) -> list[float] | None:
        return None if rate is None else [rate.k, rate.n, round(rate.low, 4), round(rate.high, 4)]

    by_type = {name: said(rate) for name, rate in point.recall_by_type.items()}
    return {
        "at": point.threshold,
        "certified": point.certified,
        "rates": {"good, test": said(point.false_alarms), "all defects": said(point.recall), **by_type},
    }
