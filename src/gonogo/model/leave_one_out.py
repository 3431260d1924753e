"""Leave-one-part-out scores within a memory bank: each good image by the bank without the patches of its part.

Nothing is fitted again, so that all good parts are in the bank of the gauge, and each has a score as if it were not.
What the threshold above such scores is worth stands in `gonogo.calibration.threshold.on_average`.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from gonogo.calibration.regions import RegionParams, RegionRule
from gonogo.detectors.contract import GrowingBank
from gonogo.errors import DataError
from gonogo.images.dataset import Record
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import TOGETHER, Inspection, inspect_good
from gonogo.model.inspector import Inspector


def by_part(records: Sequence[Record]) -> list[Record]:
    """The records in an order in which the images of a part follow each other; otherwise theirs."""
    first: dict[str, int] = {}
    for number, record in enumerate(records):
        first.setdefault(record.group_id, number)
    return sorted(records, key=lambda record: first[record.group_id])


def inspect_leave_one_out(
    inspector: Inspector, images: FitImages, params: RegionParams
) -> tuple[Inspection, RegionRule]:
    """Scores of the good images of the fit, each without its part, and the rule for regions from their maps.

    Args:
        images: those of the fit, in its order, which is that of `by_part`.

    Raises:
        DataError: one part has so many of the bank's entries that those of the others do not make a score.
    """
    detector = inspector.detector
    assert isinstance(detector, GrowingBank)
    parts = part_ranges(images.records)
    views = len(images) // len(images.records)
    owner = torch.div(detector.bank_places()[:, 0], views, rounding_mode="floor")
    least = getattr(detector.options, "n_neighbors", 1)
    for part in {part.start: part for part in parts}.values():
        if int(((owner < part.start) | (owner >= part.stop)).sum()) < least:
            raise DataError(
                f"calibrate.method leave_one_out: without the part of {images.records[part.start].path}, fewer than "
                f"{least} entries of the memory bank are left; add good parts or let the bank keep more"
            )
    good = [number for number, record in enumerate(images.records) if record.label == 0]
    records = [images.records[number] for number in good]

    def results() -> Iterator[tuple[float, np.ndarray]]:
        look = partial(_score, inspector, [range(parts[n].start * views, parts[n].stop * views) for n in good])
        for one in images.dataset.map_images(look, records, together=TOGETHER):
            yield float(one["score"]), one["anomaly_map"]

    return inspect_good(records, results(), params, localises=detector.localises)


def part_ranges(records: Sequence[Record]) -> list[range]:
    """For each record, the numbers of all records of its part, which follow each other."""
    ranges: list[range] = []
    start = 0
    for number, record in enumerate(records):
        if record.group_id != records[start].group_id:
            start = number
        stop = start
        while stop < len(records) and records[stop].group_id == record.group_id:
            stop += 1
        ranges.append(range(start, stop))
    return ranges


def _score(inspector: Inspector, parts: Sequence[range], number: int, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Score and map of an image, by the bank without the fit images, with their views, of `parts[number]`."""
    scores, maps = inspector.inspect_without(pixels[None], parts[number])
    return {"score": scores[0], "anomaly_map": maps[0]}
