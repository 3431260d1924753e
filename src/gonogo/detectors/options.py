"""The options of every detector, as dataclasses that need no torch: what stands beside `fit.detector` in params.yaml.

Types, ranges and descriptions stand in the annotations. `gonogo.params.build` checks values against them, and
`gonogo detectors NAME` lists them; a constructor called from Python checks the names alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core.core_schema import CoreSchema, no_info_plain_validator_function

from gonogo.detectors.backbones.weights import LITE0
from gonogo.errors import ConfigError
from gonogo.images.size import ImageSize, Size

LARGEST_PIXELS = 32  # 3,072 dimensions; a covariance of them takes seconds to factor and 38 MB to keep
SMALLEST_FOR_BACKBONE = 32

RowKind = Literal["backbone", "pixels"]
ReductionKind = Literal["none", "random", "pca"]
PDNSize = Literal["small", "medium", "tiny"]

TopShare = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        description="share of the map's cells, the most anomalous ones, whose mean is the image's score; 0: the most "
        "anomalous one alone; 1: the mean of all; null: the score of the method itself",
    ),
]
Smoothing = Annotated[float, Field(ge=0, description="Gaussian sigma of the map, in pixels at `image_size`")]


@dataclass(frozen=True)
class Sides:
    """What both sides of a size must be; checks a value and leaves it as it is written.

    Attributes are called as pydantic calls them, by which `gonogo detectors` lists the bounds of an option.
    """

    ge: int
    multiple_of: int | None = None

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        return no_info_plain_validator_function(self._checked)

    def _checked(self, value: Any) -> Any:
        size = ImageSize.of(value)
        if min(size) < self.ge:
            raise ConfigError(f"expected sides of at least {self.ge} pixels")
        if self.multiple_of is not None and any(side % self.multiple_of for side in size):
            raise ConfigError(f"expected sides that are multiples of {self.multiple_of} pixels")
        return value


RESIZED = "pixels are resized to this square or, with two numbers, to this height and width"
SmallImageSize = Annotated[Size, Sides(ge=4), Field(description=RESIZED)]
BackboneImageSize = Annotated[Size, Sides(ge=32), Field(description=RESIZED)]
HeldOutShare = Annotated[
    float,
    Field(gt=0, lt=1, description="share of the fit images that are not trained on and say which epoch was the best"),
]
CheckpointEvery = Annotated[int, Field(ge=1, description="epochs between two checkpoints")]


@dataclass(frozen=True, kw_only=True)
class MeanImageOptions:
    """Options of `MeanImage`."""

    image_size: SmallImageSize = 64
    top_share: TopShare = None
    smoothing: Smoothing = 0.0


@dataclass(frozen=True, kw_only=True)
class PCAOptions:
    """Options of `PCAReconstruction`."""

    image_size: SmallImageSize = 32
    explained_variance: Annotated[
        float, Field(gt=0, lt=1, description="share of the variance that the kept components explain on the fit images")
    ] = 0.95
    top_share: TopShare = None
    smoothing: Smoothing = 0.0


@dataclass(frozen=True, kw_only=True)
class IsolationForestOptions:
    """Options of `IsolationForest`."""

    image_size: SmallImageSize = 32
    n_estimators: Annotated[int, Field(ge=1, description="number of trees")] = 100
    max_samples: Annotated[
        int, Field(ge=2, description="fit images that each tree is grown from, or all of them if there are fewer")
    ] = 256


def side_multiple(backbone: str) -> int:
    """Pixels that both sides of an image are best multiples of: the side of a transformer's patches, or else 32.

    timm's names tell the patches. 32 is the stride of the deepest level that convolutional backbones have.
    """
    patch = re.search(r"_patch(\d+)", backbone)
    return int(patch[1]) if patch else 32


@dataclass(frozen=True, kw_only=True)
class BackboneOptions:
    """Options of every detector that reads features from a pretrained network, as in `Backbone`."""

    backbone: Annotated[str, Field(description="timm's name of the model; `gonogo backbones` lists them")] = LITE0
    layers: Annotated[
        Sequence[int], Field(min_length=1, description="indices of timm's feature levels; the first sets the grid")
    ] = (2, 3)
    weights: Annotated[
        str,
        Field(
            description="pretrained (an installed package's for the default backbone, otherwise timm's download), "
            "random, the path of a timm state dict (.safetensors or .pth), or a folder of such with SHA256SUMS"
        ),
    ] = "pretrained"
    weights_sha256: Annotated[
        str | None, Field(description="SHA-256 of that file; required with the path of a file, checked wherever given")
    ] = None


@dataclass(frozen=True, kw_only=True)
class RowOptions(BackboneOptions):
    """Options of every detector that describes an image by one row of numbers, as in `PooledFeatures`."""

    features: Annotated[
        RowKind,
        Field(
            description="backbone, the mean over the image of each channel of `layers`; pixels, the resized image, of "
            f"at most {LARGEST_PIXELS} x {LARGEST_PIXELS} pixels"
        ),
    ] = "backbone"
    image_size: SmallImageSize = 256

    def __post_init__(self) -> None:
        size = ImageSize.of(self.image_size)
        if self.features == "pixels" and size.area > LARGEST_PIXELS**2:
            raise ConfigError(
                f"fit.image_size is {size}, {3 * size.area:,} dimensions with fit.features: pixels; choose at most "
                f"{LARGEST_PIXELS}, or as many pixels in another shape"
            )
        if self.features == "backbone" and min(size) < SMALLEST_FOR_BACKBONE:
            raise ConfigError(
                f"fit.image_size is {size}; a backbone sees at least {SMALLEST_FOR_BACKBONE} x "
                f"{SMALLEST_FOR_BACKBONE}, smaller images go with fit.features: pixels"
            )


@dataclass(frozen=True, kw_only=True)
class MahalanobisOptions(RowOptions):
    """Options of `Mahalanobis`: those of its rows."""


@dataclass(frozen=True, kw_only=True)
class KNNOptions(RowOptions):
    """Options of `KNearestNeighbours`."""

    n_neighbors: Annotated[
        int, Field(ge=1, description="k, the neighbours that count, or all fit images if there are fewer")
    ] = 5
    distance: Annotated[
        Literal["kth", "mean"],
        Field(description="kth, the distance to the k-th neighbour; mean, the mean of the distances to all k"),
    ] = "kth"


@dataclass(frozen=True, kw_only=True)
class LOFOptions(RowOptions):
    """Options of `LocalOutlierFactor`."""

    n_neighbors: Annotated[
        int, Field(ge=1, description="the paper's MinPts, or one less than the fit images if there are fewer")
    ] = 20


@dataclass(frozen=True, kw_only=True)
class ECODOptions(RowOptions):
    """Options of `ECOD`."""

    ramp: Annotated[
        float,
        Field(gt=0, description="width of a distribution's step, in standard deviations of its feature"),
    ] = 0.01


@dataclass(frozen=True, kw_only=True)
class OneClassSVMOptions(RowOptions):
    """Options of `OneClassSVM`."""

    nu: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="share of the fit images that may lie outside, and the least share that become support vectors",
        ),
    ] = 0.1


@dataclass(frozen=True, kw_only=True)
class PaDiMOptions(BackboneOptions):
    """Options of `PaDiM`. Memory grows with the cells of the first layer's grid."""

    image_size: BackboneImageSize = 256
    n_features: Annotated[
        int,
        Field(
            ge=1, description="dimensions kept, drawn at random by the seed of the fit; memory grows with their square"
        ),
    ] = 100
    shrinkage: Annotated[
        Literal["none", "oas"],
        Field(
            description="none, the paper's sample covariance; oas moves it towards a multiple of the identity by the "
            "share that its sampling error calls for. That judges each place by its own scale alone, so that places "
            "that hardly vary in the fit images can dominate the map"
        ),
    ] = "none"
    epsilon: Annotated[
        float, Field(gt=0, description="variance added to every dimension, in the features' unit squared")
    ] = 0.01
    top_share: TopShare = None
    smoothing: Smoothing = 4.0


@dataclass(frozen=True, kw_only=True)
class PatchCoreOptions(BackboneOptions):
    """Options of `PatchCore`.

    The bank's size is set by one of `coreset_ratio`, `bank_patches` and `bank_mb`; with none of them it is 1 % of the
    fit images' patches.
    """

    image_size: BackboneImageSize = 256
    coreset_ratio: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="share of the fit images' patches that the memory bank keeps; 0.01 where neither it nor "
            "`bank_patches` nor `bank_mb` is set",
        ),
    ] = None
    bank_patches: Annotated[
        int | None, Field(ge=2, description="how many patches the bank keeps, or all of them if there are fewer")
    ] = None
    bank_mb: Annotated[
        float | None,
        Field(gt=0, description="megabytes (1e6 bytes) that the bank may take in the model"),
    ] = None
    n_neighbors: Annotated[int, Field(ge=1, description="the bank's nearest patches whose mean distance is taken")] = 1
    reduction: Annotated[
        ReductionKind,
        Field(
            description="what the features go through before the bank: random, a Gaussian projection that keeps "
            "squared distances in expectation (Johnson and Lindenstrauss 1984; Dasgupta and Gupta 2003); pca, the "
            "principal components of the fit images' patches"
        ),
    ] = "none"
    reduced_dims: Annotated[int | None, Field(ge=1, description="dimensions that a reduction keeps")] = None
    neighbourhood: Annotated[
        Literal[1, 3, 5],
        Field(
            description="side of the square of a layer's cells that a patch is the average of; 1 for tokens of a "
            "vision transformer, which depend on their surroundings already"
        ),
    ] = 3
    top_share: TopShare = 0.0
    foreground: Annotated[
        Literal["none", "pca"],
        Field(
            description="pca: patches that do not show the part have distance 0 and are not in the bank, but for a "
            "ring of one cell around the part; a test on the fit images says whether part and background can be told "
            "apart, and if they cannot, the option changes nothing. none: all patches count"
        ),
    ] = "none"
    whitening: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="power of their standard deviation that the principal axes of the good patches are divided by; "
            "0: distances are those of the features as they are, 1: those of Mahalanobis",
        ),
    ] = 0.0
    smoothing: Smoothing = 4.0

    def __post_init__(self) -> None:
        sizes = {"coreset_ratio": self.coreset_ratio, "bank_patches": self.bank_patches, "bank_mb": self.bank_mb}
        given = [f"fit.{name}" for name, value in sizes.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} each set the bank's size; keep one and set the others to null")
        if (self.reduction == "none") != (self.reduced_dims is None):
            raise ConfigError(
                f"fit.reduction is {self.reduction!r} and fit.reduced_dims is {self.reduced_dims}; random and pca need "
                "a number of dimensions, none takes null"
            )
        if self.reduction == "random" and self.whitening > 0:
            raise ConfigError(
                f"fit.reduction is random and fit.whitening is {self.whitening:g}; a random projection has no "
                "principal axes: set fit.reduction to pca or none, or fit.whitening to 0"
            )


@dataclass(frozen=True, kw_only=True)
class SoftPatchOptions(BackboneOptions):
    """Options of `SoftPatch`."""

    image_size: BackboneImageSize = 256
    coreset_ratio: Annotated[
        float, Field(gt=0, le=1, description="share of the fit images' patches that the memory bank keeps")
    ] = 0.01
    lof_neighbors: Annotated[
        int,
        Field(
            ge=1,
            description="patches of other images, at the same place, that a patch's outlier factor is computed from",
        ),
    ] = 6
    removed_share: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of all patches, those with the largest factors, that the coreset is not chosen from",
        ),
    ] = 0.15
    top_share: TopShare = None
    smoothing: Smoothing = 4.0


@dataclass(frozen=True, kw_only=True)
class SuperSimpleNetOptions(BackboneOptions):
    """Options of `SuperSimpleNet`. `epochs` and `epoch_size` together bound the time of a fit."""

    image_size: BackboneImageSize = 256
    upscale: Annotated[
        int,
        Field(
            ge=1,
            description="the features' grid is so many times finer than the finest layer's; the authors take 2, which "
            "makes a fit take four times as long and an image three times",
        ),
    ] = 1
    noise_std: Annotated[
        float,
        Field(
            gt=0, description="of the Gaussian noise that makes an anomaly, in standard deviations of a feature channel"
        ),
    ] = 1.0
    perlin_threshold: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Perlin noise above it becomes anomaly; the authors take 0.2 on MVTec AD, 0.6 on VisA",
        ),
    ] = 0.2
    epochs: Annotated[int, Field(ge=1, description="the most epochs that a fit trains")] = 50
    epoch_size: Annotated[
        int, Field(ge=1, description="images of one epoch, drawn anew for each; all of them if there are fewer")
    ] = 32
    batch_size: Annotated[int, Field(ge=1, description="images per step; each is in the step twice")] = 4
    adaptor_lr: Annotated[
        float,
        Field(
            gt=0,
            description="AdamW's learning rate of the adaptor; it falls to 0.4 of itself after 80 % and 90 % of "
            "`epochs`",
        ),
    ] = 1e-4
    head_lr: Annotated[float, Field(gt=0, description="AdamW's learning rate of both heads; it falls likewise")] = 2e-4
    held_out_share: HeldOutShare = 0.1
    patience: Annotated[
        int, Field(ge=0, description="stop after so many epochs without a better one; 0 trains all of them")
    ] = 10
    checkpoint_every: CheckpointEvery = 1
    image_score: Annotated[
        Literal["head", "map"],
        Field(
            description="map, the most anomalous patch's logit; head, the classification head's, as the authors have "
            "it; `top_share` replaces both"
        ),
    ] = "map"
    top_share: TopShare = None
    smoothing: Smoothing = 4.0


@dataclass(frozen=True, kw_only=True)
class EfficientADOptions:
    """Options of `EfficientAD`."""

    teacher: Annotated[
        str | None,
        Field(
            description="path of the teacher's state dict: the published file, or one that `gonogo distill` wrote; "
            "random, on purpose, for tests and measurements of speed"
        ),
    ] = None
    teacher_sha256: Annotated[str | None, Field(description="SHA-256 of that file; required with a path")] = None
    size: Annotated[
        PDNSize,
        Field(
            description="of teacher and student: small for EfficientAD-S, medium for EfficientAD-M; tiny, which is not "
            "the paper's, for a CPU"
        ),
    ] = "small"
    image_size: Annotated[Size, Sides(ge=48, multiple_of=16), Field(description=RESIZED)] = 256
    penalty_folder: Annotated[
        str | None,
        Field(
            description="folder of any images that show something else than the parts, ImageNet's in the paper; the "
            "student learns to give nothing on them. null: no penalty term"
        ),
    ] = None
    steps: Annotated[int, Field(ge=1, description="training steps, of one image each")] = 70_000
    epoch_steps: Annotated[int, Field(ge=1, description="steps between two points of the live curve")] = 1000
    lr: Annotated[float, Field(gt=0, description="Adam's learning rate; a tenth of it after 95 % of `steps`")] = 1e-4
    held_out_share: Annotated[
        float,
        Field(gt=0, lt=1, description="share of the fit images that are not trained on and give the quantiles"),
    ] = 0.1
    patience: Annotated[
        int,
        Field(
            ge=0,
            description="stop after so many epochs without a lower loss on the held-out images, and keep the best; 0 "
            "trains all of them and keeps the last, as in the paper",
        ),
    ] = 0
    checkpoint_every: CheckpointEvery = 1
    top_share: TopShare = None
    smoothing: Annotated[
        float, Field(ge=0, description="Gaussian sigma of the map, in pixels at `image_size`; none in the paper")
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class AnomalibOptions:
    """Options of `Anomalib`."""

    model: Annotated[
        str,
        Field(
            description="anomalib's name of the model, e.g. Padim or efficient_ad, which its checkpoints do not contain"
        ),
    ]
    checkpoint: Annotated[
        str, Field(description="path of the Lightning checkpoint (.ckpt) that anomalib 2.7 or newer wrote")
    ]
    checkpoint_sha256: Annotated[str | None, Field(description="SHA-256 of that file; required")] = None
    python: Annotated[
        str,
        Field(
            description="interpreter of the environment that has anomalib; `make anomalib` makes that of the default"
        ),
    ] = ".venv-anomalib/bin/python"
    image_size: Annotated[
        Size,
        Sides(ge=4),
        Field(description="square or, with two numbers, height and width that the checkpoint's pre-processing makes"),
    ] = 256
    top_share: TopShare = None
    smoothing: Annotated[
        float,
        Field(
            ge=0,
            description="Gaussian sigma of the map, in pixels at `image_size`; most networks smooth theirs already",
        ),
    ] = 0.0
    timeout: Annotated[
        float, Field(gt=0, description="seconds that loading, scoring a batch or exporting may take")
    ] = 600.0


@dataclass(frozen=True, kw_only=True)
class CentreBoxesOptions(BackboneOptions):
    """Options of `CentreBoxes`."""

    layers: Annotated[
        Sequence[int],
        Field(
            min_length=1,
            description="indices of timm's feature levels, from fine to coarse, each half as fine as the one before; "
            "the first sets the grid of centres",
        ),
    ] = (1, 2, 3)
    image_size: Annotated[
        Size,
        Sides(ge=32, multiple_of=4),
        Field(description=f"{RESIZED}; that of the images themselves keeps small defects as large as they are"),
    ] = 256
    width: Annotated[int, Field(ge=8, description="channels behind the backbone")] = 48
    max_boxes: Annotated[int, Field(ge=1, description="boxes that an image may have at most")] = 300
    nms_iou: Annotated[
        float, Field(gt=0, lt=1, description="overlap beyond which the worse of two boxes of a class is left out")
    ] = 0.5
    crop: Annotated[
        int | None,
        Field(
            ge=32,
            description="side of the square cut out of an image for training, in pixels at `image_size`; null: 128 to "
            "512, four times that of all but the largest boxes",
        ),
    ] = None
    batch_size: Annotated[int, Field(ge=1, description="crops per training step")] = 8
    epochs: Annotated[int, Field(ge=1, description="the most epochs that are trained")] = 30
    epoch_steps: Annotated[int, Field(ge=1, description="training steps of an epoch")] = 20
    lr: Annotated[float, Field(gt=0, description="AdamW's rate behind the backbone; it falls along half a cosine")] = (
        2e-3
    )
    backbone_lr: Annotated[float, Field(ge=0, description="rate of the backbone; 0 leaves it as it is")] = 5e-4
    flips: Annotated[bool, Field(description="whether crops are mirrored at random, both ways")] = True
    patience: Annotated[
        int, Field(ge=0, description="stop after so many epochs without a better one; 0 trains all of them")
    ] = 8
    checkpoint_every: CheckpointEvery = 1
    start_from: Annotated[
        str | None,
        Field(
            description="folder of a fitted model of this detector to go on from, such as models/NAME; its classes may "
            "be others. null starts with the backbone's weights"
        ),
    ] = None
    start_from_sha256: Annotated[
        str | None, Field(description="SHA-256 of detector.safetensors in that folder; required with it")
    ] = None


Three = Annotated[Sequence[float], Field(min_length=3, max_length=3)]


@dataclass(frozen=True, kw_only=True)
class OnnxBoxesOptions:
    """Options of `OnnxBoxes`."""

    model: Annotated[str, Field(description="path of the ONNX file, one file with its weights inside")]
    contract: Annotated[
        Literal["detections", "detr", "detr_softmax", "yolo", "yolo_objectness"],
        Field(description="what the network's outputs are; docs/boxes.md defines each"),
    ]
    classes: Annotated[
        Sequence[str | None],
        Field(
            min_length=1,
            description="names of the network's classes in its order; null for a number that is no class, such as a "
            "background at 0",
        ),
    ]
    model_sha256: Annotated[str | None, Field(description="SHA-256 of the file; required")] = None
    outputs: Annotated[
        Sequence[str] | None,
        Field(description="names of the outputs, in the contract's order; null takes the file's outputs as they come"),
    ] = None
    image_size: Annotated[
        Size,
        Sides(ge=4),
        Field(description="square or, with two numbers, height and width of the pixels that the network takes"),
    ] = 640
    fitting: Annotated[
        Literal["stretch", "letterbox", "corner"],
        Field(
            description="stretch changes the aspect of an image to that of `image_size`; letterbox and corner keep it, "
            "with bars on both sides, or right and below"
        ),
    ] = "stretch"
    fill: Annotated[float, Field(ge=0, le=255, description="level of these bars")] = 114.0
    colours: Annotated[Literal["rgb", "bgr"], Field(description="order of the colours that the network takes")] = "rgb"
    divisor: Annotated[float, Field(gt=0, description="what levels of 0 to 255 are divided by")] = 255.0
    mean: Annotated[Three, Field(description="for each colour, in the network's order, subtracted after that")] = (
        0.0,
        0.0,
        0.0,
    )
    std: Annotated[Three, Field(description="for each colour, in the network's order, divided by after that")] = (
        1.0,
        1.0,
        1.0,
    )
    max_boxes: Annotated[int, Field(ge=1, description="boxes that an image may have at most")] = 300
    nms_iou: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="overlap beyond which the worse of two boxes of a class is left out; null: 0.5 for yolo and "
            "yolo_objectness, and none is left out for the others, whose networks do so themselves",
        ),
    ] = None

    def __post_init__(self) -> None:
        if any(value <= 0 for value in self.std):
            raise ConfigError(f"std is {list(self.std)}; expected three numbers above 0")
        named = [name for name in self.classes if name is not None]
        if not named or len(set(named)) != len(named):
            raise ConfigError(f"classes is {list(self.classes)}; expected different names, and null for no class")


DETECTOR_OPTIONS: dict[str, type[Any]] = {
    "mean_image": MeanImageOptions,
    "pca": PCAOptions,
    "isolation_forest": IsolationForestOptions,
    "mahalanobis": MahalanobisOptions,
    "knn": KNNOptions,
    "lof": LOFOptions,
    "ecod": ECODOptions,
    "ocsvm": OneClassSVMOptions,
    "padim": PaDiMOptions,
    "patchcore": PatchCoreOptions,
    "softpatch": SoftPatchOptions,
    "supersimplenet": SuperSimpleNetOptions,
    "efficientad": EfficientADOptions,
    "anomalib": AnomalibOptions,
    "centre_boxes": CentreBoxesOptions,
    "onnx_boxes": OnnxBoxesOptions,
}
