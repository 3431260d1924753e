"""Bars beside an image, so that it is resized without changing its aspect: what others call a letterbox."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gonogo.images.size import ImageSize


@dataclass(frozen=True)
class Frame:
    """How the pixels that a detector sees lie in its image size.

    Attributes:
        centred: whether the bars lie on both sides of the image; otherwise they lie right of it, or below.
        fill: level of the bars, in [0, 255].
    """

    centred: bool
    fill: float

    def around(self, height: int, width: int, size: ImageSize) -> tuple[int, int, int, int]:
        """Top, left, height and width: where an image lies in its frame, and the frame, all in pixels of the image.

        The frame has the aspect of `size` but for the rounding to whole pixels. The numbers of a traced graph do too.
        """
        across, down = -(-height * size.width // size.height), -(-width * size.height // size.width)
        most: Callable[[int, int], int] = torch.sym_max  # max would decide for the size that is traced
        framed_height, framed_width = most(height, down), most(width, across)
        if not self.centred:
            return 0, 0, framed_height, framed_width
        return (framed_height - height) // 2, (framed_width - width) // 2, framed_height, framed_width

    def drawn(self, planes: Tensor, size: ImageSize) -> Tensor:
        """(n, 3, fh, fw) of planes (n, 3, h, w), with the bars."""
        height, width = planes.shape[-2:]
        top, left, framed_height, framed_width = self.around(height, width, size)
        right, bottom = framed_width - width - left, framed_height - height - top
        return F.pad(planes, (left, right, top, bottom), value=self.fill)
