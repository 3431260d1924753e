"""The detectors by the name that `params.yaml: fit.detector` gives them.

The module of a detector is imported when the detector is made. The options of each stand in
`gonogo.detectors.options`, which needs no torch.
"""

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


def detector_class(name: str) -> "type[Detector]":
    """The class that the registry names, after importing its module."""
    from gonogo.params import import_class  # where it is used: the names alone need no package

    kind: type[Detector] = import_class(DETECTORS[name])
    return kind


def make_detector(name: str, options: Any) -> "Detector":
    """The detector `name`, not fitted yet, with `options` of its kind in `DETECTOR_OPTIONS`."""
    kind: Any = detector_class(name)
    detector: Detector = kind(options)
    return detector
