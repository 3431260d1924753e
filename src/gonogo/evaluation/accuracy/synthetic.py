"""A metric from good images alone: how well a gauge separates them from copies of themselves damaged by CutPaste."""

import hashlib
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from gonogo.calibration.regions import RegionParams
from gonogo.detectors.training.cut_paste import paste_patch, paste_scar
from gonogo.errors import UndefinedMetricError
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.images.dataset import Dataset, Record, evenly_spaced
from gonogo.model.inspection import TOGETHER, Inspection
from gonogo.model.inspector import Inspector

TRIES = 20  # attempts per image to place damage inside the ROI
SMALLEST_SIDE = 4  # pixels; a smaller image has no room for a piece and another place


def synthetic_auroc(
    inspector: Inspector, dataset: Dataset, good: Inspection, regions: RegionParams, *, seed: int, n_damaged: int
) -> float:
    """Image AUROC of good images that no fit saw against damaged copies of some of them, one of each.

    It needs neither a defect nor a test image, so that a search may optimise it. It need not agree with the AUROC on
    real defects, since a displaced piece of the same part is not a real defect.

    Args:
        inspector: the gauge.
        dataset: it has the images.
        good: records of the good images, and the gauge's scores of them.
        regions: the ROI and border, outside of which the gauge inspects nothing.
        n_damaged: how many of the good images are damaged, evenly spaced; all where there are fewer.
        seed: of the damage. The damage of an image depends on the seed and on the image's content alone.

    Raises:
        UndefinedMetricError: no image could be damaged inside the ROI, such as when all are of one colour.

    Source: damage as in `gonogo.detectors.training.cut_paste`, a patch or a scar, in a square of the shorter side.
    """
    chosen = evenly_spaced(good.records, n_damaged)
    score = partial(_score_damaged, inspector, chosen, regions, seed)
    scored = dataset.map_images(score, chosen, together=TOGETHER)
    bad = np.concatenate([image["score"] for image in scored])
    if not len(bad):
        raise UndefinedMetricError("no good image changes where the gauge looks when a piece of it is moved")
    scores = np.concatenate([good.scores, bad]).astype(np.float64)
    return auroc(scores, np.repeat([False, True], [len(good.scores), len(bad)]))


def damaged(pixels: np.ndarray, record: Record, regions: RegionParams, *, seed: int) -> np.ndarray | None:
    """A copy of pixels (h, w, 3) uint8 with a piece pasted at another place, so that an inspected pixel changes.

    None where no inspected pixel changed in TRIES attempts.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    if side < SMALLEST_SIDE:
        return None
    digest = hashlib.sha256(f"{seed}:{record.sha256}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    inspected = regions.roi_mask(height, width)
    for _ in range(TRIES):
        top, left, scar = (
            int(torch.randint(n, (), generator=generator)) for n in (height - side + 1, width - side + 1, 2)
        )
        square = torch.from_numpy(pixels[top : top + side, left : left + side]).permute(2, 0, 1)
        pasted = (paste_scar if scar else paste_patch)(square, generator).permute(1, 2, 0).numpy()
        copy = pixels.copy()
        copy[top : top + side, left : left + side] = pasted
        if (inspected & (copy != pixels).any(axis=2)).any():
            return copy
    return None


def _score_damaged(
    inspector: Inspector, records: Sequence[Record], regions: RegionParams, seed: int, number: int, pixels: np.ndarray
) -> dict[str, np.ndarray]:
    """The score (1,) of the damaged image of a record, or (0,) where no damage inside the ROI was possible."""
    changed = damaged(pixels, records[number], regions, seed=seed)
    return {"score": np.empty(0, np.float32) if changed is None else inspector.inspect(changed[None])[0]}
