"""Illumination and contrast, evened out before the detector sees an image: in the fit, the graph and the service alike.

Flat field: pixels are divided by the mean of images of a blank, evenly lit surface, as a camera's shading correction
does. Grey world: the means of the three colours are made equal (Buchsbaum 1980, "A spatial processor model for object
colour perception"). Local contrast: mean and spread of the brightness are brought to one value everywhere.

The last is CLAHE's idea (Zuiderveld 1994, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV): local
statistics on a coarse grid of cells, interpolated between them, and a limit of the gain, so that noise of an even area
is not raised without end. Deviation: mean and standard deviation stand for the histogram, so that all of it is products
of small matrices, which every runtime computes alike and quickly.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gonogo.detectors.anomaly_map import axis_matrix, resize
from gonogo.detectors.backbones.backbone import verified
from gonogo.errors import DataError, NotFittedError
from gonogo.images.reading import decode
from gonogo.images.size import ImageSize
from gonogo.model.fit_params import Preprocess

MIDDLE, SPREAD = 127.5, 40.0  # grey levels; what mean and standard deviation of the brightness become
LEAST_SPREAD = 1.0  # grey levels; of an even area, so that nothing is divided by 0
LEAST_MEAN = 1.0  # grey levels; of a colour, so that a black image stays black
FLAT_CELLS = 64  # along each side of a flat field: shading is smooth, and the noise of its images averages out
DARKEST = 0.05  # of a flat field's mean; where it is darker, an image has no information to bring back
STATE = "preprocessing."  # begins the names of its tensors in a saved model


class Preprocessing(nn.Module):
    """What `fit.preprocess` asks for, on pixels (n, 3, *size) in [0, 255]; so is the result, clipped to that range."""

    flat_gain_: Tensor  # (3, gh, gw), of each cell of the flat field; None until `load` or `restore`
    flat_rows: Tensor  # (h, gh), as all `from` matrices: from the cells of a grid to the pixels along one axis
    flat_columns: Tensor
    from_rows: Tensor
    from_columns: Tensor
    to_rows: Tensor  # (gh, h), to the cells
    to_columns: Tensor

    def __init__(self, params: Preprocess, size: ImageSize) -> None:
        """A flat field's images are read by `load`, or their gain comes from a saved model."""
        super().__init__()
        self.params, self.size = params, size
        self.register_buffer("flat_gain_", None)
        for name, side in (("rows", size.height), ("columns", size.width)):
            if params.flat_field:
                self.register_buffer(f"flat_{name}", _matrix(min(FLAT_CELLS, side), side), persistent=False)
            if params.contrast_cells is not None:
                cells = min(params.contrast_cells, side)
                self.register_buffer(f"to_{name}", _matrix(side, cells), persistent=False)
                self.register_buffer(f"from_{name}", _matrix(cells, side), persistent=False)

    def load(self) -> None:
        """Read the flat field's images, if there are any.

        Raises:
            WeightsError: one is missing, has no SHA-256 in the parameters, or has another one.
            ImageError: one cannot be read as an image.
            DataError: they are too dark somewhere to divide by.
        """
        if not self.params.flat_field:
            return
        cells = [min(FLAT_CELLS, side) for side in self.size]
        total = torch.zeros(3, *cells)
        for name, sha256 in self.params.flat_field.items():
            data = verified(Path(name), sha256, option="fit.preprocess.flat_field", hash_key=f"its entry {name!r}")
            pixels = torch.from_numpy(decode(data, Path(name))[0])
            total += resize(pixels.permute(2, 0, 1)[None].float(), *cells)[0]
        flat = total / len(self.params.flat_field)
        mean = flat.mean(dim=(1, 2), keepdim=True)
        darkest = float((flat / mean.clamp(min=LEAST_MEAN)).min())
        if darkest < DARKEST:
            raise DataError(
                f"fit.preprocess.flat_field: its darkest place has {darkest:.1%} of the mean, and at least "
                f"{DARKEST:.0%} is needed to divide by it; take images of a blank, evenly lit surface"
            )
        self.flat_gain_ = mean / flat

    def saved_state(self) -> dict[str, Tensor]:
        """What a saved model keeps, by its name there."""
        return {} if self.flat_gain_ is None else {f"{STATE}flat_gain_": self.flat_gain_}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `saved_state` gave."""
        gain = state.get(f"{STATE}flat_gain_")
        self.register_buffer("flat_gain_", None if gain is None else gain.clone())

    def require_loaded(self) -> None:
        """Raise NotFittedError while a flat field is missing."""
        if self.params.flat_field and self.flat_gain_ is None:
            raise NotFittedError("the flat field was not loaded yet; fit, or load a fitted model")

    def forward(self, pixels: Tensor) -> Tensor:
        """The levelled pixels.

        Raises:
            NotFittedError: there is a flat field, and neither `load` nor `restore` brought it.
        """
        if self.params.flat_field:
            self.require_loaded()
            gain = self.flat_rows @ self.flat_gain_ @ self.flat_columns.T  # (3, h, w)
            pixels = (pixels * gain).clamp(0, 255)
        if self.params.grey_world:
            of_colours = pixels.mean(dim=(2, 3), keepdim=True).clamp(min=LEAST_MEAN)  # (n, 3, 1, 1)
            pixels = (pixels * (of_colours.mean(dim=1, keepdim=True) / of_colours)).clamp(0, 255)
        if self.params.contrast_cells is not None:
            pixels = self._levelled(pixels)
        return pixels

    def _levelled(self, pixels: Tensor) -> Tensor:
        brightness = pixels.mean(dim=1)  # (n, h, w)
        mean = self._local(brightness)
        # Of what differs from the local mean, not as a mean of squares less a squared mean, which would lose digits.
        spread = self._local((brightness - mean).square()).clamp(min=LEAST_SPREAD**2).sqrt()
        gain = (SPREAD / spread).clamp(max=self.params.contrast_limit)
        return (MIDDLE + gain[:, None] * (pixels - mean[:, None])).clamp(0, 255)

    def _local(self, values: Tensor) -> Tensor:
        """(n, h, w): the mean of the values (n, h, w) around each pixel, interpolated from a grid of cells."""
        cells = self.to_rows @ values @ self.to_columns.T
        local: Tensor = self.from_rows @ cells @ self.from_columns.T
        return local


def _matrix(n_in: int, n_out: int) -> Tensor:
    return torch.from_numpy(axis_matrix(n_in, n_out).astype(np.float32))
