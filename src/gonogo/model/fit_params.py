"""The keys of the section `fit` that stand beside any detector's options; checked without importing torch."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from gonogo.detectors.names import detector_name
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.errors import ConfigError
from gonogo.params import Params, Variant


@dataclass(frozen=True)
class Tiling:
    """The key `fit.tiling`: the canvas, and by how many of its pixels neighbouring tiles overlap at least."""

    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    overlap: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Finetune:
    """The keys of `fit.finetune`.

    Attributes:
        method: last_layers trains the last layers themselves, with the normalisations between them; low_rank adds a
            product of two thin matrices to the weights of each, and trains that alone.
        n_layers: convolutions and linear layers that train, counted from the end of the deepest of the detector's
            `layers`; all if there are fewer.
        rank: of that product, 4 unless set; low_rank alone has one.
        epochs: the most epochs that are trained.
        epoch_size: images of one epoch, drawn anew for each; all of them if there are fewer. Also the most that are
            held out.
        batch_size: images per step; each is in the step three times: good, with a patch, with a scar.
        lr: Adam's rate for the backbone, 1e-3 for last_layers and 5e-3 for low_rank unless set; it falls along half a
            cosine over `epochs`.
        head_lr: that for the head, which is discarded in the end.
        held_out_share: of the fit images; they are not trained on and say which epoch was the best.
        patience: stop after so many epochs without a better one; 0 trains all of them.
        checkpoint_every: epochs between two checkpoints.
    """

    method: Literal["last_layers", "low_rank"]
    n_layers: Annotated[int, Field(ge=1)] = 9
    rank: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 10
    epoch_size: Annotated[int, Field(ge=1)] = 24
    batch_size: Annotated[int, Field(ge=1)] = 4
    lr: Annotated[float, Field(gt=0)] | None = None
    head_lr: Annotated[float, Field(gt=0)] = 3e-3
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    patience: Annotated[int, Field(ge=0)] = 3
    checkpoint_every: Annotated[int, Field(ge=1)] = 1

    def __post_init__(self) -> None:
        if self.rank is not None and self.method != "low_rank":
            raise ConfigError(f"fit.finetune.rank is {self.rank}, but method {self.method!r} has none; leave it out")


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The keys of `fit.preprocess`: what is done to the resized pixels before the detector; see `Preprocessing`.

    Attributes:
        flat_field: images of a blank, evenly lit surface, each path with its SHA-256; pixels are divided by their mean.
        grey_world: whether the three colours of each image are brought to one mean.
        contrast_cells: local contrast is levelled on so many cells along each side; null: it is not.
        contrast_limit: the largest factor that it raises contrast by.
    """

    flat_field: dict[str, str | None] | None = None
    grey_world: bool = False
    contrast_cells: Annotated[int, Field(ge=2, le=64)] | None = None
    contrast_limit: Annotated[float, Field(ge=1)] = 4.0

    def __post_init__(self) -> None:
        if not (self.flat_field or self.grey_world or self.contrast_cells):
            raise ConfigError(
                "fit.preprocess asks for nothing; set flat_field, grey_world or contrast_cells, or fit.preprocess null"
            )


@dataclass(frozen=True)
class FitParams:
    """The keys of the `fit` section that stand beside any detector's options.

    Attributes:
        device: as in `device_of`.
        cluster: ray, whose workers process the images, each on one CPU; as in `Cluster`.
        memory_budget_mb: megabytes (1e6 bytes) that the fitting process may have resident, Python and torch included.
        tiling: as in `Inspector`.
        left_out: how many fit images to show that are unlike the others; with 0 none is scored.
        shots: as in `draw_shots`.
        rotations: as in `FitImages`.
        finetune: as in `finetune_backbone`.
        preprocess: as in `Inspector`.
    """

    device: Literal["auto", "cpu", "cuda"]
    cluster: Literal["ray"] | None
    memory_budget_mb: Annotated[float, Field(gt=0)] | None
    tiling: Tiling | None
    left_out: Annotated[int, Field(ge=0)]
    shots: Annotated[int, Field(ge=1)] | None
    rotations: Annotated[int, Field(ge=1)]
    finetune: Finetune | None
    preprocess: Preprocess | None = None  # params.yaml of a project from before it has no such key

    def __post_init__(self) -> None:
        if self.cluster is None:
            return
        if self.device == "cuda":
            raise ConfigError(
                "fit.device is 'cuda' and fit.cluster is 'ray', whose workers compute on CPUs; set one to auto or null"
            )
        if self.memory_budget_mb is not None:
            raise ConfigError(
                f"fit.memory_budget_mb is {self.memory_budget_mb:,g} and bounds one process; the workers of "
                "fit.cluster are many, and Ray watches their memory: set one of the two to null"
            )


def fit_section(params: Params) -> Variant[Any, FitParams]:
    """The section `fit`: the options of its detector, checked, the detector's name, and the keys beside them.

    Raises:
        ConfigError: there is no such detector, or a key is wrong.
    """
    return params.variant("fit", DETECTOR_OPTIONS, FitParams, named=detector_name)
