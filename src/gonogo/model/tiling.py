"""Tiles of an image that is too large for one pass: where they lie, and how their maps become one without seams.

Every image is resized to one canvas, so that the tiles lie at fixed places and the exported graph has fixed shapes.
A detector takes each tile as an image of its own.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from gonogo.detectors.anomaly_map import axis_matrix, smoothed
from gonogo.errors import ConfigError
from gonogo.images.size import ImageSize
from gonogo.model.fit_params import Tiling

NEGLIGIBLE = 1e-6  # weight of a tile's border, which counts only where no other tile lies


class Tiles(nn.Module):
    """The tiles of a canvas: of `image_size` each, row by row from the top left.

    They begin at multiples of `stride`, where a convolutional backbone gives the features that it would give of the
    whole canvas, but for what its padding does near a tile's border. The last ones reach beyond the canvas by less
    than a stride, where it is mirrored.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, tiling: Tiling, *, image_size: ImageSize, stride: int, smoothing: float) -> None:
        """Lay the tiles out.

        Args:
            tiling: the canvas and the overlap.
            image_size: of a tile, in pixels of the canvas.
            stride: tiles begin at multiples of so many pixels.
            smoothing: Gaussian sigma of the map, in pixels of the canvas.

        Raises:
            ConfigError: a tile is larger than the canvas, or the overlap leaves no step from one to the next.
        """
        super().__init__()
        for name, length, side in (
            ("height", tiling.height, image_size.height),
            ("width", tiling.width, image_size.width),
        ):
            if length < side:
                raise ConfigError(
                    f"fit.tiling.{name} is {length}; tiles have fit.image_size, {image_size} pixels: choose at least "
                    f"{side}, lower fit.image_size, or set fit.tiling to null for this category"
                )
        shorter = min(image_size)
        if shorter - tiling.overlap < stride:
            raise ConfigError(
                f"fit.tiling.overlap is {tiling.overlap}; tiles of fit.image_size, {image_size} pixels, begin at "
                f"multiples of {stride}: "
                + (f"at most {shorter - stride} would do" if stride <= shorter else "raise fit.image_size")
            )
        self.tiling, self.image_size, self.smoothing = tiling, image_size, smoothing
        self.row_starts = _starts(tiling.height, image_size.height, tiling.overlap, stride)
        self.column_starts = _starts(tiling.width, image_size.width, tiling.overlap, stride)
        for name, starts, length, side in (
            ("rows", self.row_starts, tiling.height, image_size.height),
            ("columns", self.column_starts, tiling.width, image_size.width),
        ):
            places = np.array(starts)[:, None] + np.arange(side)
            mirrored = np.where(places < length, places, 2 * (length - 1) - places)
            self.register_buffer(name, torch.from_numpy(mirrored), persistent=False)  # (r, th), (c, tw)

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def tile(self, canvas: Tensor, number: int) -> Tensor:
        """Tile `number`, (n, 3, *image_size), of canvases (n, 3, height, width)."""
        row, column = divmod(number, len(self.columns))
        return canvas.index_select(2, self.rows[row]).index_select(3, self.columns[column])

    def blended(self, grids: Tensor) -> Tensor:
        """Maps (n, height, width) of the canvases from the grids of their tiles, (t, n, gh, gw).

        Each grid is resized to its tile; where tiles overlap, the map is their mean, weighted by how deep a pixel lies
        in each; then it is smoothed. All of that is linear and separable, so it is done by two products of matrices.
        """
        gh, gw = grids.shape[2:]
        mosaic = self._side_by_side(grids)
        rows = _blending(self.row_starts, self.tiling.height, gh, self.image_size.height, self.smoothing)
        columns = _blending(self.column_starts, self.tiling.width, gw, self.image_size.width, self.smoothing)
        return torch.from_numpy(rows) @ mosaic @ torch.from_numpy(columns).T

    def assembled(self, grids: Tensor) -> Tensor:
        """(n, ..., ch, cw) of the canvases from grids (t, n, ..., gh, gw) of their tiles, which cannot be averaged.

        Cells as large as a tile's cover the canvas; each has the value of the tile in which its centre lies deepest.
        """
        if grids.ndim == 5:
            together = self.assembled(grids.flatten(1, 2))
            return together.reshape(-1, grids.shape[2], *together.shape[1:])
        gh, gw = grids.shape[2:]
        rows = torch.from_numpy(_deepest(self.row_starts, self.tiling.height, gh, self.image_size.height))
        columns = torch.from_numpy(_deepest(self.column_starts, self.tiling.width, gw, self.image_size.width))
        return self._side_by_side(grids).index_select(1, rows).index_select(2, columns)

    def _side_by_side(self, grids: Tensor) -> Tensor:
        """(n, r * gh, c * gw)."""
        n, gh, gw = grids.shape[1:]
        r, c = len(self.rows), len(self.columns)
        return grids.view(r, c, n, gh, gw).permute(2, 0, 3, 1, 4).reshape(n, r * gh, c * gw)


@lru_cache(maxsize=4)
def _blending(starts: tuple[int, ...], length: int, n_cells: int, size: int, sigma: float) -> np.ndarray:
    """(length, k * n_cells) float32: the smoothed map along one axis from the cells of its k tiles."""
    overlap = size - max(np.diff(starts), default=size)  # the least that there is
    depth = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5)
    weight = np.clip((depth - overlap / 4) / max(overlap / 2, 0.5), NEGLIGIBLE, 1)
    matrix = np.zeros((starts[-1] + size, len(starts), n_cells))
    total = np.zeros(len(matrix))
    for number, start in enumerate(starts):
        matrix[start : start + size, number] = weight[:, None] * axis_matrix(n_cells, size)
        total[start : start + size] += weight
    matrix = matrix.reshape(len(matrix), -1) / total[:, None]
    return np.asarray(smoothed(matrix, sigma)[:length], dtype=np.float32)


@lru_cache(maxsize=4)
def _deepest(starts: tuple[int, ...], length: int, n_cells: int, size: int) -> np.ndarray:
    """(k,) int64: along one axis, which of the tiles' cells, side by side, stands for each of the canvas's k cells."""
    k = round(length * n_cells / size)
    within = (np.arange(k) + 0.5)[:, None] * length / k - np.array(starts)  # (k, t)
    tile = np.minimum(within, size - within).argmax(axis=1)
    cell = within[np.arange(k), tile] * n_cells // size
    return np.asarray(tile * n_cells + cell, dtype=np.int64)


def _starts(length: int, size: int, overlap: int, stride: int) -> tuple[int, ...]:
    """First pixels of the fewest tiles that cover `length`, evenly spread, at multiples of `stride`."""
    last = math.ceil((length - size) / stride)  # in strides
    steps = math.ceil(last / ((size - overlap) // stride))
    return tuple(stride * (number * last // max(steps, 1)) for number in range(steps + 1))
