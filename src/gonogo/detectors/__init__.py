"""The detectors by the name that `params.yaml: fit.detector` gives them, and what each can do.

The module of a detector is imported when the detector is made. The options of each stand in
`gonogo.detectors.options`, which needs no torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gonogo.detectors.contract import Detector

DETECTORS: dict[str, str] = {
    "mean_image": "gonogo.detectors.mean_image:MeanImage",
    "pca": "gonogo.detectors.pca:PCAReconstruction",
    "isolation_forest": "gonogo.detectors.isolation_forest:IsolationForest",
    "mahalanobis": "gonogo.detectors.mahalanobis:Mahalanobis",
    "knn": "gonogo.detectors.knn:KNearestNeighbours",
    "lof": "gonogo.detectors.lof:LocalOutlierFactor",
    "ecod": "gonogo.detectors.ecod:ECOD",
    "ocsvm": "gonogo.detectors.ocsvm:OneClassSVM",
    "padim": "gonogo.detectors.padim:PaDiM",
    "patchcore": "gonogo.detectors.patchcore:PatchCore",
    "softpatch": "gonogo.detectors.softpatch:SoftPatch",
    "supersimplenet": "gonogo.detectors.supersimplenet:SuperSimpleNet",
    "efficientad": "gonogo.detectors.efficientad.efficientad:EfficientAD",
    "anomalib": "gonogo.detectors.anomalib.anomalib:Anomalib",
    "centre_boxes": "gonogo.detectors.boxes.centre_boxes:CentreBoxes",
    "onnx_boxes": "gonogo.detectors.boxes.onnx_boxes:OnnxBoxes",
}


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a detector can do with its default options; None where it depends on the checkpoint that it is given.

    Attributes:
        localises: it gives a map of the places that differ.
        trains: it trains a network in epochs, with checkpoints; any other fits in one pass.
        exports: it can be written as ONNX, and so serve on the line.
        needs_weights: it needs weights that are not learned from the fit images: of a backbone, a teacher or a model.
        remembers: it keeps entries of the fit images, and knows which of them is nearest to a place.
    """

    localises: bool | None = False
    trains: bool = False
    exports: bool | None = True
    needs_weights: bool = False
    remembers: bool = False


# Kept here and not beside the classes, since to list them must import no torch; the contract tests compare the two.
CAPABILITIES: dict[str, Capabilities] = {
    "mean_image": Capabilities(localises=True),
    "pca": Capabilities(localises=True),
    "isolation_forest": Capabilities(),
    "mahalanobis": Capabilities(needs_weights=True),
    "knn": Capabilities(needs_weights=True, remembers=True),
    "lof": Capabilities(needs_weights=True),
    "ecod": Capabilities(needs_weights=True),
    "ocsvm": Capabilities(needs_weights=True),
    "padim": Capabilities(localises=True, needs_weights=True),
    "patchcore": Capabilities(localises=True, needs_weights=True, remembers=True),
    "softpatch": Capabilities(localises=True, needs_weights=True, remembers=True),
    "supersimplenet": Capabilities(localises=True, trains=True, needs_weights=True),
    "efficientad": Capabilities(localises=True, trains=True, needs_weights=True),
    "anomalib": Capabilities(localises=None, exports=None, needs_weights=True),
    "centre_boxes": Capabilities(trains=True, needs_weights=True),
    "onnx_boxes": Capabilities(needs_weights=True),
}


def detector_class(name: str) -> "type[Detector]":
    """The class that the registry names, after importing its module."""
    from gonogo.params import import_class  # where it is used: the names alone need no package

    kind: type[Detector] = import_class(DETECTORS[name])
    return kind


def make_detector(name: str, **options: Any) -> "Detector":
    """The detector of this name, not fitted yet, with these options and the defaults of all others.

    `gonogo detectors NAME` lists the options with their ranges.

    Args:
        name: of the registry, or anomalib's name of the same method, as "Padim" or "EfficientAd".
        options: as under `fit` in params.yaml, e.g. `image_size=320`.

    Raises:
        ConfigError: there is no detector of this name, or an option is unknown, missing, or out of its range.
    """
    from gonogo.detectors.names import detector_name
    from gonogo.detectors.options import DETECTOR_OPTIONS
    from gonogo.params import build

    known = detector_name(name)
    return detector_with(known, build(DETECTOR_OPTIONS[known], options, where=known))


def detector_with(name: str, options: Any) -> "Detector":
    """The detector `name`, not fitted yet, with checked `options` of its kind in `DETECTOR_OPTIONS`."""
    kind: Any = detector_class(name)
    detector: Detector = kind(options)
    return detector
