"""How the score of a detector follows from its grid, as a bundle states it for the line."""

from typing import NamedTuple

from gonogo.detectors.contract import Detector
from gonogo.detectors.efficientad.efficientad import EfficientAD
from gonogo.detectors.efficientad.pdn import MARGIN
from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.padim import PaDiM
from gonogo.detectors.patchcore import PatchCore
from gonogo.detectors.pca import PCAReconstruction
from gonogo.detectors.softpatch import SoftPatch
from gonogo.detectors.supersimplenet import SuperSimpleNet
from gonogo.inference.attribution import Aggregate, PatchRule
from gonogo.model.inspector import Inspector


class GridRule(NamedTuple):
    """How a detector's score follows from its grid; the fields are those of `PatchRule`."""

    aggregate: Aggregate
    highest_share: float = 0.0
    margin: int = 0


def patch_rule(inspector: Inspector) -> PatchRule | None:
    """The rule of an inspector; None where its score does not follow from its grid alone."""
    detector, tiles = inspector.detector, inspector.tiles
    rule = grid_rule(detector)
    if rule is None:
        return None
    rows, columns = ((0,), (0,)) if tiles is None else (tiles.row_starts, tiles.column_starts)
    canvas, tile = inspector.input_size, detector.image_size
    return PatchRule(*rule, (canvas.height, canvas.width), (tile.height, tile.width), rows, columns)


def grid_rule(detector: Detector) -> GridRule | None:
    """How a detector's score follows from its grid; None where it comes from elsewhere: an image head, another program.

    tests/contract/test_attribution.py holds every registered detector to it.
    """
    margin = MARGIN if isinstance(detector, EfficientAD) else 0
    top_share = getattr(detector.options, "top_share", None)  # of every detector that localises
    if top_share is not None and detector.localises:
        return GridRule("mean_of_highest", top_share, margin) if top_share > 0 else GridRule("max", margin=margin)
    match detector:
        case PaDiM() | PatchCore() | SoftPatch():
            return GridRule("max")
        case SuperSimpleNet() if detector.options.image_score != "head":
            return GridRule("max")
        case EfficientAD():
            return GridRule("max", margin=margin)
        case MeanImage() | PCAReconstruction():
            return GridRule("root_mean_square")
        case _:
            return None
