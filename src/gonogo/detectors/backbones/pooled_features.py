"""One row per image, for detectors that know rows, not images: pooled backbone features, or the pixels themselves."""

from collections.abc import Callable, Collection, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from gonogo.compute.progress import Progress
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.detectors.parts import PartState, map_parts
from gonogo.detectors.training.forecast import Forecast, probe_images
from gonogo.errors import ConfigError, DataError

Kind = Literal["backbone", "pixels"]
Work = Callable[[int, int], float]
LARGEST_PIXELS = 32  # 3,072 dimensions; a covariance of them takes seconds to factor and 38 MB to keep
SMALLEST_FOR_BACKBONE = 32


class PooledFeatures(nn.Module):
    """The mean over the image of each channel of several layers, side by side, or the resized image's pixels.

    Rows are not standardised: a layer's own scale is its weight.

    Source: Rippel et al. 2021, "Modeling the Distribution of Normal Data in Pre-Trained Deep Features for Anomaly
    Detection" (ICPR), section III, which scores each layer alone and adds the scores up.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        backbone: str,
        layers: Sequence[int],
        weights: str,
        weights_sha256: str | None,
        image_size: int,
    ) -> None:
        """The others as in `Backbone`; with `kind` pixels there is none.

        A detector's `features` is this kind: backbone, the pooled channels of `layers`, or pixels, the resized image;
        `backbone` is timm's name.

        Raises:
            ConfigError: the image is too large for pixels or too small for a backbone.
        """
        super().__init__()
        if kind == "pixels" and image_size > LARGEST_PIXELS:
            raise ConfigError(
                f"fit.image_size is {image_size}, {3 * image_size**2:,} dimensions with fit.features: pixels; "
                f"choose at most {LARGEST_PIXELS}"
            )
        if kind == "backbone" and image_size < SMALLEST_FOR_BACKBONE:
            raise ConfigError(
                f"fit.image_size is {image_size}; a backbone sees at least {SMALLEST_FOR_BACKBONE}, "
                "smaller images go with fit.features: pixels"
            )
        self.kind, self.weights, self.weights_sha256 = kind, weights, weights_sha256
        self.backbone = Backbone(backbone, layers, image_size) if kind == "backbone" else None

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, d) of pixels (n, 3, s, s) in [0, 255]."""
        if self.backbone is None:
            return pixels.flatten(1)
        return torch.cat([feature.mean(dim=(2, 3)) for feature in self.backbone(pixels)], dim=1)

    @torch.no_grad()
    def fit_rows(self, batches: Collection[Tensor], *, detector: str, progress: Progress) -> Tensor:
        """(n, d) of all fit images, on the CPU, after loading the backbone's weights.

        Raises:
            DataError: fewer than 2 images; `detector` is the name that the message gives.
        """
        if self.backbone is not None:
            self.backbone.load(self.weights, self.weights_sha256)
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
        """What a fit takes that holds so many `copies` of all rows in single precision at its peak.

        `work` gives the seconds of what comes after the rows, from their number and dimensions.
        """
        tried = probe_images(batches, self)
        n, d = tried.n_batches * tried.shape[0], tried.shape[1]
        seconds = tried.all_seconds + (work(n, d) if work else 0)
        return Forecast(int(copies * 4 * n * d), seconds, f"{n:,} rows of {d:,} numbers")

    def facts(self) -> dict[str, str | int | float]:
        """Where the rows come from."""
        if self.backbone is None:
            return {"features": "pixels"}
        known = self.weights in ("pretrained", "random")
        return {"features": "backbone", "weights": self.weights if known else "file"}
