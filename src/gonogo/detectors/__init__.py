"""The detectors: a registry is a dict you can read."""

from gonogo.detectors.contract import Detector
from gonogo.detectors.isolation_forest import IsolationForest
from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.patchcore import PatchCore
from gonogo.detectors.pca import PCAReconstruction
from gonogo.detectors.supersimplenet import SuperSimpleNet

DETECTORS: dict[str, type[Detector]] = {
    "mean_image": MeanImage,
    "pca": PCAReconstruction,
    "isolation_forest": IsolationForest,
    "patchcore": PatchCore,
    "supersimplenet": SuperSimpleNet,
}
