"""How far good parts are from each other in a bundle's features: what "nothing like it" is measured by.

A defect whose nearest past case is farther away than good parts are from each other resembles none of them.
"""

from pathlib import Path

import numpy as np

from gonogo.images.dataset import Dataset, Record, evenly_spaced
from gonogo.inference.scorer import open_session, run_named

MOST_IMAGES = 100  # of calibrate parts, evenly spaced: 4,950 pairs of them
SHARE = 0.95  # of the distances, which are at most as large as the one that is told


def good_distances(onnx_path: Path, dataset: Dataset) -> dict[str, float] | None:
    """l2 distances between good calibrate parts that SHARE of their pairs keep: `image` and `region`.

    `image` is between mean features of images; `region` is between features of the same cell, in pairs of parts that
    follow one another. None where there are fewer than two parts.
    """
    records = evenly_spaced(_one_per_part(dataset.with_role("calibrate")), MOST_IMAGES)
    if len(records) < 2:
        return None
    session = open_session(onnx_path)
    means, of_cells, before = [], [], None
    for record in records:
        features = run_named(session, dataset.pixels_of(record)[None], "features")[2][0].astype(np.float64)
        means.append(features.mean(axis=(1, 2)))
        if before is not None:
            of_cells.append(np.linalg.norm(features - before, axis=0).ravel())
        before = features
    first, second = np.triu_indices(len(means), k=1)
    between = np.linalg.norm(np.array(means)[first] - np.array(means)[second], axis=1)
    return {"image": _at(between), "region": _at(np.concatenate(of_cells))}


def _one_per_part(records: list[Record]) -> list[Record]:
    return list({record.group_id: record for record in reversed(records)}.values())[::-1]


def _at(distances: np.ndarray) -> float:
    return float(np.quantile(distances, SHARE))
