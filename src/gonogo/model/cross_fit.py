"""Cross-calibration: every good image is scored by a gauge that was fitted without the part that it shows.

Source: Vovk 2015, "Cross-conformal predictors". Deviation: one more gauge, fitted on all good images, is the one in
use, so that no bound of finite samples holds for it.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np

from gonogo.calibration.regions import RegionParams, RegionRule
from gonogo.errors import DataError
from gonogo.images.dataset import Dataset, Record
from gonogo.model.inspection import Inspection, inspect_good, score_images
from gonogo.model.inspector import Inspector

Fit = Callable[[list[Record], int], Inspector]  # of records and the number of the fold left out, from 1


def folds_of(records: Sequence[Record], n_folds: int, *, seed: int) -> list[list[Record]]:
    """The records dealt into `n_folds` by their parts, which stay together; as even as parts allow.

    Raises:
        DataError: there are fewer parts than folds.
    """
    parts = sorted({record.group_id for record in records})
    if len(parts) < n_folds:
        raise DataError(f"calibrate.folds is {n_folds}, but there are {len(parts)} good parts; take at most so many")
    shuffled = np.random.default_rng(seed).permutation(len(parts))
    fold_of = {parts[part]: number % n_folds for number, part in enumerate(shuffled)}
    folds: list[list[Record]] = [[] for _ in range(n_folds)]
    for record in records:
        folds[fold_of[record.group_id]].append(record)
    return folds


def cross_inspect(
    fit: Fit, dataset: Dataset, folds: Sequence[Sequence[Record]], params: RegionParams, *, localises: bool
) -> tuple[Inspection, RegionRule]:
    """Scores of all folds' images, each by a gauge fitted on the other folds, and the rule from its maps."""

    def results() -> Iterator[tuple[float, np.ndarray]]:
        for number, fold in enumerate(folds, start=1):
            others = list(chain(*(other for other in folds if other is not fold)))
            yield from score_images(fit(others, number), dataset, fold)

    return inspect_good(list(chain(*folds)), results(), params, localises=localises)
