"""The contract of every detector: a torch module that learns from good images and scores others.

A detector takes float pixels (n, 3, *image_size) in [0, 255], already resized by the `Inspector`.
Its learned state is the buffers whose names end in `_`; they are None until `fit`, and nothing else is saved.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from gonogo.calibration.boxes import BOXES
from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.anomaly_map import resize
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.detectors.boxes.labelled import FindsBoxes, Labelled
from gonogo.detectors.frame import Frame
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.forecast import Forecast, probe_images
from gonogo.errors import NotFittedError
from gonogo.images.size import ImageSize


@dataclass(frozen=True)
class FitContext:
    """What a fit is given beside its images and its seed; of these, `labelled` alone says what it learns.

    Attributes:
        room: bytes that the fit may hold at once, beside the process itself; None: no limit.
        checkpoints: where a detector that trains saves its state and resumes from; None: nowhere.
        progress: called as the fit goes on.
        labelled: the boxes of the fit images, and images to validate by, for a detector that `FindsBoxes`.
    """

    room: int | None = None
    checkpoints: Checkpoints | None = None
    progress: Progress = no_progress
    labelled: Labelled | None = None


NO_LIMITS = FitContext()  # frozen, so that it can be a default


@runtime_checkable
class HasMemoryBank(Protocol):
    """A detector whose score is a distance to a memory bank, and that knows which image each entry comes from."""

    def score_with_nearest(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The two results of `forward`, and the index of the entry nearest to each cell, (n, gh, gw) int64.

        Nearest in l2, and any of several at the same distance: a weight of the entry, and other neighbours that enter
        the score, do not matter.
        """

    def bank_places(self) -> Tensor:
        """(m, 2): for each entry the number of its image, from 0 in the order of the fit, and of its cell.

        Cells are counted row by row. Where images are rotated or cut into tiles, each view or tile has a number.
        """

    def distance_to(self, pixels: Tensor, entries: Tensor) -> Tensor:
        """(n, gh, gw) distance of each cell to the entry whose index `entries` (n, gh, gw) gives for it."""


@runtime_checkable
class GrowingBank(HasMemoryBank, Protocol):
    """A detector with a memory bank of which no further entry raises the score of any image.

    Its score is made of distances to the nearest entries by sums, means and maxima with weights that are 0 or more and
    depend on the image alone: the minimum over more entries is not larger, nor is the mean of the k smallest distances,
    and all that follows keeps the order. What the entries are compared in, the backbone, the mean and the whitening, is
    that of the fit and stays as it is. So a share of good parts that is at or above a threshold cannot grow with the
    bank, and a bound on this share that was certified for the smaller bank is one for the larger. It holds for any
    choice of further entries, also one that looks at the calibrate images' scores; up to the rounding of a distance.

    The same property carries the bound of `gonogo.calibration.threshold.on_average`. A detector does not have it whose
    entries weigh each other, as in a local outlier factor, or whose score is no distance to entries of a bank.
    """

    def require_growing(self) -> None:
        """Do nothing, or raise ConfigError where the options bound the bank, or the property does not hold for them."""

    def grow(self, batches: Collection[Tensor], first: int, *, progress: Progress) -> Self:
        """Add entries from batches of further good images, as dense as those of the fit.

        `first` is the number of the first of these images, as in `bank_places`: how many the fit had.
        """

    def leaves_out_exactly(self) -> bool:
        """Whether the bank without the entries of some images is the one that a fit without these images gives."""


@runtime_checkable
class BringsNetwork(Protocol):
    """A detector around a network that others wrote: torch traces a node in its place, and export puts it there."""

    def onnx_of_one_image(self, opset: int) -> bytes:
        """An ONNX model from pixels (3, h, w) to what the node gives for one image.

        Raises:
            ExportError: the network cannot be had in this operator set.
        """


NETWORK_NODE = ("gonogo", "Network")  # domain and name of the node that stands for it in a traced graph
NEAREST = "nearest"  # (n, gh, gw) int64, as in `HasMemoryBank.score_with_nearest`
FEATURES = "features"  # (n, d, ch, cw): all layers of the backbone side by side, on the grid of the coarsest one


def on_coarsest_grid(layers: list[Tensor]) -> Tensor:
    """(n, d, ch, cw) of several layers' (n, c, gh, gw), each brought to the smallest of their grids."""
    height, width = min(layer.shape[2:] for layer in layers)
    return torch.cat(
        [layer if layer.shape[2:] == (height, width) else resize(layer, height, width) for layer in layers], dim=1
    )


class Detector(nn.Module, ABC):
    """The contract; tests/contract/test_detectors.py holds every registered detector to it.

    A grid is 0 or more, as a distance is: the `Inspector` writes 0 where it does not look, for "nothing here".
    """

    options: Any  # of the detector's class in `DETECTOR_OPTIONS`
    smoothing: float = 0.0  # Gaussian sigma for the map, in pixels at image_size
    frame: Frame | None = None  # bars that keep the aspect of an image; None: the resize changes it
    localises: bool = True  # False: the map is constant, and no pixel metric is computed

    @property
    def image_size(self) -> ImageSize:
        """Height and width of the pixels that it takes."""
        return ImageSize.of(self.options.image_size)

    @abstractmethod
    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        """Learn from batches of good images, (b, 3, *image_size) in [0, 255], on the detector's device.

        All batches have the same number of images, but the last, which may have fewer.

        Raises:
            DataError: there are too few images for the options.
            ConfigError: the context leaves too little room.
        """

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        """The memory and time that `fit` of these batches takes, estimated from the first few; nothing is learned.

        This default is for a detector that keeps no image and computes next to nothing.

        Raises:
            ConfigError: the context leaves too little room for any plan.
            DataError: there is no fit image.
        """
        probe = probe_images(batches, lambda batch: batch)
        return Forecast(8 * math.prod(probe.shape), probe.all_seconds, "no image is kept")

    @abstractmethod
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and grid of patch scores (n, gh, gw) of (n, 3, *image_size); higher: more anomalous.

        Raises:
            NotFittedError: before `fit`.
        """

    def score_without(self, pixels: Tensor, part_images: range) -> tuple[Tensor, Tensor]:
        """The results of `forward` for fit images as if the fit had not seen them: score (n,) and grid (n, gh, gw).

        Nothing is fitted again, so that the results are approximate; each detector's docstring names the approximation.
        This default, for a detector without one, scores with the whole fit.

        Args:
            pixels: as in `forward`.
            part_images: the numbers, from 0 in the order of the fit, of all images that show the same part as these.

        Raises:
            NotFittedError: there was no `fit`, or the computation needs something that is not saved and the model was
                loaded since.
        """
        score, grid = self(pixels)
        return score, grid

    def backbones(self) -> list[Backbone]:
        """The pretrained networks that the detector reads features from."""
        return [part for part in self.modules() if isinstance(part, Backbone)]

    @property
    def has_features(self) -> bool:
        """Whether `forward` reads features of one pretrained network, by which images can be compared."""
        return len(self.backbones()) == 1

    def outputs(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The results of `forward`, and those that `output_names` lists, from the same pass."""
        score: Callable[[Tensor], tuple[Tensor, ...]] = self
        if isinstance(self, HasMemoryBank):
            score = self.score_with_nearest
        elif isinstance(self, FindsBoxes):
            score = self.score_with_boxes
        if not self.has_features:
            return tuple(score(pixels))
        with self.backbones()[0].recorded() as layers:
            results = score(pixels)
        return *results, on_coarsest_grid(layers)

    def output_names(self) -> list[str]:
        """The names of the results of `outputs` after score and grid."""
        boxes = dict.fromkeys(BOXES, isinstance(self, FindsBoxes))
        has = {NEAREST: isinstance(self, HasMemoryBank), **boxes, FEATURES: self.has_features}
        return [name for name, given in has.items() if given]

    def load_weights(self) -> None:
        """Load the pretrained weights that the options name, except where that was done already; `fit` begins with it.

        Between this step and `fit`, the backbone can be finetuned.

        Raises:
            WeightsError: the weights cannot be had or do not fit.
        """
        for backbone in self.backbones():
            if not backbone.is_loaded:
                backbone.load(self.options.weights, self.options.weights_sha256)

    def require_files(self) -> None:
        """See that each file that `fit` reads besides the images is there and the one meant; nothing is learned of it.

        Raises:
            WeightsError: one is missing, has no SHA-256 in the options, or has another one.
        """
        for backbone in self.backbones():
            if self.options.weights not in ("pretrained", "random"):
                backbone.file_of(self.options.weights, self.options.weights_sha256)

    @property
    def stride(self) -> int:
        """Pixels by which a tile may be shifted so that its cells still lie on those of the whole: a backbone's."""
        return max((backbone.stride for backbone in self.backbones()), default=1)

    def fit_facts(self) -> dict[str, str | int | float]:
        """Facts about the fitted detector for the model's manifest and the report, e.g. where its weights come from."""
        return {}

    def set_learned(self, **buffers: Tensor) -> None:
        """Set learned buffers, contiguous as in a saved model: strides, too, decide how a sum is rounded."""
        for name, value in buffers.items():
            self.register_buffer(name, value.contiguous())

    def require_fitted(self) -> None:
        """Raise NotFittedError while a learned buffer is missing."""
        missing = [name for name, value in self.named_buffers_with_none() if value is None]
        if missing:
            raise NotFittedError(f"{type(self).__name__} has no {missing[0]} yet; call fit or load a fitted model")

    def named_buffers_with_none(self) -> list[tuple[str, Tensor | None]]:
        """The detector's own buffers, also those not learned yet."""
        return list(self._buffers.items())

    def restore(self, state: dict[str, Tensor]) -> Self:
        """Take over a saved `state_dict`, bit for bit."""
        for name, value in self.named_buffers_with_none():
            if value is None and name in state:
                self.register_buffer(name, torch.empty_like(state[name]))
        self.load_state_dict(state, strict=True)
        return self
