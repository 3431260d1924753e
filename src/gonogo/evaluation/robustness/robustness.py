"""Robustness: false alarms and recall of a gauge at its threshold, on test images with simulated disturbances."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from gonogo.compute.read_ahead import read_ahead
from gonogo.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from gonogo.images.dataset import Dataset, Record, evenly_spaced

CORES = os.cpu_count() or 1
HEADLINE_SEVERITY = 3
CELL_COLUMNS = ("corruption", "severity", "false_alarm_rate", "recall")


@dataclass(frozen=True)
class RobustnessParams:
    """The `robustness` section.

    images: test images of each label that are used, evenly spaced; all of them where they are fewer. 0: none.
    """

    images: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Cell:
    """One corruption at one severity; a rate is None where there is no image to measure it on."""

    corruption: str
    severity: int
    false_alarm_rate: float | None
    recall: float | None


Score = Callable[[np.ndarray], float]  # of pixels (h, w, 3) uint8


def robustness_card(
    score: Score,
    dataset: Dataset,
    params: RobustnessParams,
    *,
    threshold: float,
    seed: int,
    progress: Callable[[str, int, int, dict[str, float]], None],
) -> list[Cell]:
    """Rates under every corruption at every severity, on the same test images; severity 0 is the unchanged images.

    Args:
        score: of pixels (h, w, 3) uint8, by the gauge.
        dataset: it has the test images.
        params: how many of them are used.
        threshold: of the gauge.
        seed: of random corruptions, such as noise.
        progress: called after each image.
    """
    chosen = chosen_images(dataset, params.images)
    kinds = [("none", 0), *((name, severity) for name in CORRUPTIONS for severity in SEVERITIES)]
    labels = np.array([record.label == 1 for record in chosen], dtype=bool)
    rejected = np.zeros((len(kinds), len(chosen)), dtype=bool)
    for number, record in enumerate(chosen):
        change = partial(_changed, dataset.pixels_of(record), [seed, number])  # read once for all corruptions
        for row, changed in enumerate(read_ahead(change, kinds, threads=CORES, ahead=2 * CORES)):
            rejected[row, number] = score(changed) >= threshold
        progress("changed images", number + 1, len(chosen), {})
    return [Cell(*kind, *_rates(labels, row)) for kind, row in zip(kinds, rejected, strict=True)]


def _changed(pixels: np.ndarray, seed: list[int], kind: tuple[str, int]) -> np.ndarray:
    name, severity = kind
    return pixels if severity == 0 else corrupted(pixels, name, severity, seed=seed)


def chosen_images(dataset: Dataset, n: int) -> list[Record]:
    """At most `n` good and `n` defective test images, evenly spaced through the dataset."""
    chosen: list[Record] = []
    for label in (0, 1):
        of_label = [record for record in dataset.with_role("test") if record.label == label]
        chosen += evenly_spaced(of_label, n)
    return chosen


def _rates(labels: np.ndarray, rejected: np.ndarray) -> tuple[float | None, float | None]:
    good, defective = rejected[~labels], rejected[labels]
    return (float(good.mean()) if len(good) else None, float(defective.mean()) if len(defective) else None)


def robustness_metrics(cells: Sequence[Cell]) -> dict[str, float | str]:
    """The metrics of the stage: rates of each cell, and the worst rates at HEADLINE_SEVERITY with their corruption."""
    metrics: dict[str, float | str] = {}
    for cell in cells:
        where = cell.corruption.replace(" ", "_") + (f"_{cell.severity}" if cell.severity else "")
        metrics |= {f"false_alarm_rate.{where}": rate for rate in _known(cell.false_alarm_rate)}
        metrics |= {f"recall.{where}": rate for rate in _known(cell.recall)}
    headline = [cell for cell in cells if cell.severity == HEADLINE_SEVERITY]
    for name, worst in (("false_alarm_rate", max), ("recall", min)):
        known = [(rate, cell.corruption) for cell in headline for rate in _known(getattr(cell, name))]
        if known:
            rate, corruption = worst(known, key=lambda pair: pair[0])
            metrics |= {f"worst_{name}": rate, f"worst_{name}_corruption": corruption}
    return metrics


def cell_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The cells as rows of a table; `CELL_COLUMNS` names its columns, and a rate that does not exist is empty."""
    return [
        {name: "" if value is None else value for name, value in zip(CELL_COLUMNS, astuple(cell), strict=True)}
        for cell in cells
    ]


def _known(rate: float | None) -> Iterator[float]:
    if rate is not None:
        yield rate
