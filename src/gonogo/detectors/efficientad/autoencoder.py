"""EfficientAD's autoencoder: it describes each patch of an image after seeing the whole of it through 64 numbers.

Source: Batzner, Heckler and König 2024, "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies"
(WACV), the appendix's table of layers.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gonogo.detectors.efficientad.pdn import MARGIN, ImageNetScale
from gonogo.images.size import ImageSize

DROPPED = 51  # of 256, the paper's 0.2, after each convolution of the decoder that another upsampling follows


class Autoencoder(nn.Module):
    """An image (n, 3, h, w) in [0, 255] through a vector of 64 to (n, d, h/4 - 8, w/4 - 8), the grid of a `PDN`."""

    def __init__(self, n_channels: int, image_size: ImageSize, *, seed: int) -> None:
        """Make one with random weights.

        Args:
            n_channels: of the output.
            image_size: h and w, multiples of 16, at least 48. At 256 x 256 the layers are the paper's; else the kernel
                of the encoder's last convolution and the decoder's sizes follow it, so that the code stays one vector.
            seed: of the weights; the same seed, the same weights.
        """
        super().__init__()
        sizes = list(zip(*map(_decoded_lengths, image_size), strict=True))
        given = [(1, 1)] + [(height + 1, width + 1) for height, width in sizes[:-1]]  # of a kernel of 4 and 2 zeros
        self.scale = ImageNetScale()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder: list[nn.Module] = []
            for n_in, n_out in itertools.pairwise([3, 32, 32, 64, 64, 64]):
                encoder += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.ReLU()]
            self.encoder = nn.Sequential(*encoder, nn.Conv2d(64, 64, (image_size.height // 32, image_size.width // 32)))
            convolutions = [nn.Conv2d(64, 64, 4, padding=2) for _ in sizes[:-1]]
            self.decoder = nn.ModuleList([*convolutions, nn.Conv2d(64, 64, 3, padding=1)])
            self.last = nn.Conv2d(64, n_channels, 3, padding=1)
        self.upsamplings = nn.ModuleList([Bilinear(n_in, n_out) for n_in, n_out in zip(given, sizes, strict=True)])

    def forward(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Dropout is drawn by `generator`, which lies on the CPU whatever the device; without one there is none."""
        x = self.encoder(self.scale(pixels))
        for number, (upsampling, convolution) in enumerate(zip(self.upsamplings, self.decoder, strict=True), start=1):
            x = F.relu(convolution(upsampling(x)))
            if generator is not None and number < len(self.decoder):
                x = dropout(x, generator)
        described: Tensor = self.last(x)
        return described


def dropout(x: Tensor, generator: torch.Generator) -> Tensor:
    """`x` with about a fifth of its elements 0 and the others larger by as much.

    A byte decides over each, eight of them from one draw on the CPU: the same on every device, and soon done.
    """
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    kept = draws.view(torch.uint8)[: x.numel()].view(x.shape).to(x.device) >= DROPPED
    return x * kept * (256 / (256 - DROPPED))


def _decoded_lengths(side: int) -> list[int]:
    """The lengths that the decoder enlarges its code of 1 to, one after the other, along a side of the image."""
    return [
        max(1, side // 64 - 1),
        side // 32,
        side // 16 - 1,
        side // 8,
        side // 4 - 1,
        side // 2 - 1,
        side // 4 - 2 * MARGIN,
    ]


class Bilinear(nn.Module):
    """Bilinear resize of (n, c, *given) to (n, c, *wanted) by two products with a matrix.

    They are what `interpolate` gives, but its gradient is not the same bits each time on a GPU.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, given: tuple[int, int], wanted: tuple[int, int]) -> None:
        super().__init__()
        for name, n_in, n_out in zip(("rows", "columns"), given, wanted, strict=True):
            identity = torch.eye(n_in)[None, None]
            matrix = F.interpolate(identity, size=(n_out, n_in), mode="bilinear", align_corners=False)[0, 0]
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.rows @ x @ self.columns.T
