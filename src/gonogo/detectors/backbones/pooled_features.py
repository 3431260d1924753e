"""One row of numbers per image: pooled backbone features, or the pixels themselves."""

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from gonogo.compute.progress import Progress
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.detectors.backbones.weights import weights_fact
from gonogo.detectors.options import RowOptions
from gonogo.detectors.parts import PartState, map_parts
from gonogo.detectors.training.forecast import Forecast, probe_images
from gonogo.errors import DataError

Work = Callable[[int, int], float]


class PooledFeatures(nn.Module):
    """The mean over the image of each channel of several layers, side by side, or the resized image's pixels.

    Rows are not standardised: a layer's own scale is its weight.

    Source: Rippel et al. 2021, "Modeling the Distribution of Normal Data in Pre-Trained Deep Features for Anomaly
    Detection" (ICPR), section III, which scores each layer alone and adds the scores up.
    """

    def __init__(self, options: RowOptions, *, cells: int = 1) -> None:
        """Build the backbone's architecture, unless the rows are pixels.

        `cells` above 1: the means over each of cells x cells parts of the image, side by side, and so where in it the
        features are.
        """
        super().__init__()
        self.options = options
        self.cells = cells
        self.backbone: Backbone | None = None
        if options.features == "backbone":
            self.backbone = Backbone(options.backbone, options.layers, options.image_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, d) of pixels (n, 3, h, w) in [0, 255]."""
        if self.backbone is None:
            return pixels.flatten(1)
        return torch.cat([mean for feature in self.backbone(pixels) for mean in self._means(feature)], dim=1)

    def _means(self, feature: Tensor) -> list[Tensor]:
        """The mean (n, c) of a feature (n, c, h, w) over each part, row by row; parts of an odd side share a line."""
        rows, columns = (
            [slice(i * side // self.cells, -(-(i + 1) * side // self.cells)) for i in range(self.cells)]
            for side in feature.shape[2:]
        )
        return [feature[:, :, down, across].mean(dim=(2, 3)) for down in rows for across in columns]

    @torch.no_grad()
    def fit_rows(self, batches: Collection[Tensor], *, detector: str, progress: Progress) -> Tensor:
        """(n, d) of all fit images, on the CPU, by the weights that the backbone has.

        Raises:
            DataError: fewer than 2 images; `detector` is the name that the message gives.
        """
        rows = [found["rows"] for found in map_parts(batches, self._rows, progress) if found]
        n = sum(len(some) for some in rows)
        if n < 2:
            raise DataError(f"fit.detector {detector} needs at least 2 fit images, got {n}")
        return torch.cat(rows).cpu()

    @torch.no_grad()
    def _rows(self, batches: Collection[Tensor], first: int, progress: Progress) -> PartState:
        rows: list[Tensor] = []
        for number, batch in enumerate(batches, start=1):
            rows.extend(self(batch))
            progress("features", number, len(batches), {})
        return {"rows": torch.stack(rows)} if rows else {}

    def forecast(self, batches: Collection[Tensor], *, copies: float, work: Work | None = None) -> Forecast:
        """The forecast of a fit that holds so many `copies` of all rows in single precision at its peak.

        `work` gives the seconds of the computation after the rows, from their number and dimensions.
        """
        probe = probe_images(batches, self)
        n, d = probe.n_batches * probe.shape[0], probe.shape[1]
        seconds = probe.all_seconds + (work(n, d) if work else 0)
        return Forecast(int(copies * 4 * n * d), seconds, f"{n:,} rows of {d:,} numbers")

    def fit_facts(self) -> dict[str, str | int | float]:
        """The kind of the rows, and which weights they come from."""
        if self.backbone is None:
            return {"features": "pixels"}
        return {"features": "backbone", "weights": weights_fact(self.options.weights)}
