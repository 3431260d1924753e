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
LEAST_SHOWN = 1e-4  # of a cell's pixels, so that nothing is divided by 0 where none shows the inspected image
FLAT_CELLS = 64  # along each side of a flat field: shading is smooth, and the noise of its images averages out
SAME_ASPECT = 0.02  # of a flat field's aspect: by so much it may differ from that of the images
OVEREXPOSED = 254.0  # grey levels; a cell that is as bright is clipped, and tells nothing of the light
DARKEST = 0.05  # of a flat field's mean; where it is darker, an image has no information to bring back
STATE = "preprocessing."  # begins the names of its tensors in a saved model


class Preprocessing(nn.Module):
    """What `fit.preprocess` asks for, on pixels (n, 3, *size) in [0, 255]; so is the result, clipped to that range.

    Grey outside the inspected region and bars beside the image are no part of what it levels.
    """

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

    def load(self, *, aspect: float | None = None) -> None:
        """Read the flat field's images, if there are any.

        Args:
            aspect: width by height of the images that are levelled, where it is known; a flat field of another shape
                has its shading elsewhere.

        Raises:
            WeightsError: one is missing, has no SHA-256 in the parameters, or has another one.
            ImageError: one cannot be read as an image.
            DataError: one has another shape, or they are somewhere too dark to divide by, or overexposed.
        """
        if not self.params.flat_field:
            return
        cells = [min(FLAT_CELLS, side) for side in self.size]
        total = torch.zeros(3, *cells)
        for name, sha256 in self.params.flat_field.items():
            data = verified(
                Path(name),
                sha256,
                option="fit.preprocess.flat_field",
                expected="the path of an image, seen from the project's folder",
                hash_key=f"its entry {name!r} under fit.preprocess.flat_field",
            )
            pixels = torch.from_numpy(decode(data, Path(name))[0])
            height, width = pixels.shape[:2]
            if aspect is not None and abs(width / height / aspect - 1) > SAME_ASPECT:
                raise DataError(
                    f"fit.preprocess.flat_field: {name} has {height} x {width} pixels (height x width), and the fit "
                    f"images are {aspect:.3g} times as wide as high: its shading lies elsewhere than theirs; take it "
                    "with the same camera and the same crop"
                )
            shading = resize(pixels.permute(2, 0, 1)[None].float(), *cells)[0]
            if float(shading.max()) >= OVEREXPOSED:
                raise DataError(
                    f"fit.preprocess.flat_field: {name} is overexposed, so that the light at its brightest place is "
                    "not known; expose it so that all of it stays below white"
                )
            total += shading
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

    def forward(self, pixels: Tensor, shown: Tensor | None = None) -> Tensor:
        """The levelled pixels.

        Args:
            pixels: (n, 3, *size) in [0, 255].
            shown: (1, 1, *size) in [0, 1], how much of each pixel shows what is inspected of the image; None: all of
                each. The means of colours and cells are of this alone, and where there is none pixels stay as they are.

        Raises:
            NotFittedError: there is a flat field, and neither `load` nor `restore` brought it.
        """
        given = pixels
        if self.params.flat_field:
            self.require_loaded()
            gain = self.flat_rows @ self.flat_gain_ @ self.flat_columns.T  # (3, h, w)
            pixels = (pixels * gain).clamp(0, 255)
        if self.params.grey_world:
            of_colours = _mean_shown(pixels, shown).clamp(min=LEAST_MEAN)  # (n, 3, 1, 1)
            pixels = (pixels * (of_colours.mean(dim=1, keepdim=True) / of_colours)).clamp(0, 255)
        if self.params.contrast_cells is not None:
            pixels = self._levelled(pixels, shown)
        return pixels if shown is None else given + shown * (pixels - given)

    def _levelled(self, pixels: Tensor, shown: Tensor | None) -> Tensor:
        brightness = pixels.mean(dim=1)  # (n, h, w)
        mean = self._local(brightness, shown)
        # Of what differs from the local mean, not as a mean of squares less a squared mean, which would lose digits.
        spread = self._local((brightness - mean).square(), shown).clamp(min=LEAST_SPREAD**2).sqrt()
        gain = (SPREAD / spread).clamp(max=self.params.contrast_limit)
        return (MIDDLE + gain[:, None] * (pixels - mean[:, None])).clamp(0, 255)

    def _local(self, values: Tensor, shown: Tensor | None) -> Tensor:
        """(n, h, w): the mean of the values (n, h, w) around each pixel, interpolated from a grid of cells."""
        if shown is None:
            return self._by_cells(values)
        return self._by_cells(values * shown[:, 0]) / self._by_cells(shown[:, 0]).clamp(min=LEAST_SHOWN)

    def _by_cells(self, values: Tensor) -> Tensor:
        cells = self.to_rows @ values @ self.to_columns.T
        local: Tensor = self.from_rows @ cells @ self.from_columns.T
        return local


def _mean_shown(pixels: Tensor, shown: Tensor | None) -> Tensor:
    """(n, 3, 1, 1): the means of the colours, of what is shown."""
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    if shown is None:
        return mean
    return (pixels * shown).mean(dim=(2, 3), keepdim=True) / shown.mean(dim=(2, 3), keepdim=True)


def _matrix(n_in: int, n_out: int) -> Tensor:
    return torch.from_numpy(axis_matrix(n_in, n_out).astype(np.float32))
