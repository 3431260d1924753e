"""The detectors: a registry is a dict you can read."""

from gonogo.detectors.anomalib.anomalib import Anomalib
from gonogo.detectors.contract import Detector
from gonogo.detectors.ecod import ECOD
from gonogo.detectors.efficientad.efficientad import EfficientAD
from gonogo.detectors.isolation_forest import IsolationForest
from gonogo.detectors.knn import KNearestNeighbours
from gonogo.detectors.lof import LocalOutlierFactor
from gonogo.detectors.mahalanobis import Mahalanobis
from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.ocsvm import OneClassSVM
from gonogo.detectors.padim import PaDiM
from gonogo.detectors.patchcore import PatchCore
from gonogo.detectors.pca import PCAReconstruction
from gonogo.detectors.softpatch import SoftPatch
from gonogo.detectors.supersimplenet import SuperSimpleNet

DETECTORS: dict[str, type[Detector]] = {
    "mean_image": MeanImage,
    "pca": PCAReconstruction,
    "isolation_forest": IsolationForest,
    "mahalanobis": Mahalanobis,
    "knn": KNearestNeighbours,
    "lof": LocalOutlierFactor,
    "ecod": ECOD,
    "ocsvm": OneClassSVM,
    "padim": PaDiM,
    "patchcore": PatchCore,
    "softpatch": SoftPatch,
    "supersimplenet": SuperSimpleNet,
    "efficientad": EfficientAD,
    "anomalib": Anomalib,
}
