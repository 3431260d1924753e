"""Names by which a detector is found: its own, and those of anomalib's models; nothing here imports torch."""

from gonogo.detectors import DETECTORS
from gonogo.errors import ConfigError
from gonogo.text import alternatives, plain_name

# anomalib's models that no detector here implements, with the nearest that there is: what it is, and why it is near.
# Source: anomalib 2.x, `anomalib.models.image`, and each model's paper. Padim, Patchcore, EfficientAd and
# Supersimplenet are the methods of the same papers and found by their names.
NEAREST: dict[str, tuple[str, str]] = {
    "AnomalyDINO": ("patchcore", "with the recipe anomalydino it takes DINOv2's tokens as that paper does"),
    "AnomalyVFM": ("patchcore", "with a transformer as its backbone it compares tokens of a foundation model"),
    "Cfa": ("patchcore", "it measures the distance of patches to a memory bank too"),
    "Cflow": ("padim", "it models the density of patches by their place too"),
    "Csflow": ("padim", "it models the density of patches too"),
    "Dfkde": ("knn", "it estimates the density of whole images from their neighbours"),
    "Dfm": ("mahalanobis", "it models the features of whole images by one Gaussian too"),
    "Dinomaly": ("patchcore", "with the recipe anomalydino it finds places by DINOv2's tokens too"),
    "Draem": ("supersimplenet", "it learns from planted anomalies too"),
    "Dsr": ("supersimplenet", "it learns from anomalies that are planted in features too"),
    "Fastflow": ("padim", "it models the density of patches too"),
    "Fre": ("mahalanobis", "it judges features of whole images by a linear model too"),
    "Ganomaly": ("pca", "it measures what cannot be reconstructed too"),
    "GeneralAD": ("supersimplenet", "it learns from distorted features too"),
    "Glass": ("supersimplenet", "it learns from noise in the features of good images too"),
    "L2BT": ("efficientad", "it compares a teacher's features with those of students too"),
    "Patchflow": ("padim", "it models the density of patches too"),
    "ReverseDistillation": ("efficientad", "it compares a teacher's features with a student's too"),
    "Stfpm": ("efficientad", "it compares a teacher's features with a student's too"),
    "Uflow": ("padim", "it models the density of patches too"),
    "UniNet": ("efficientad", "it compares a teacher's features with a student's too"),
    "VlmAd": ("patchcore", "no detector here asks a language model"),
    "WinClip": ("patchcore", "with the recipe few-shot it needs a handful of good images"),
}


def detector_name(written: str) -> str:
    """The registry's name of a detector, however its words are joined: Padim, PaDiM and efficient_ad are found.

    Raises:
        ConfigError: there is no such detector; the message names the nearest one.
    """
    of_plain = {plain_name(name): name for name in DETECTORS}
    plain = plain_name(written)
    if plain in of_plain:
        return of_plain[plain]
    for model, (nearest, reason) in NEAREST.items():
        if plain == plain_name(model):
            raise ConfigError(
                f"{written!r} is a model of anomalib that gonogo does not implement; the nearest detector is "
                f"{nearest}: {reason}. A checkpoint that anomalib wrote is scored by detector: anomalib with model: "
                f"{model}"
            )
    raise ConfigError(f"there is no detector {written!r}; {alternatives(written, DETECTORS)}")
