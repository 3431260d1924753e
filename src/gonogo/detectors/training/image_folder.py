"""All images in a folder that the user names, read as they are needed: to distil a network, or as penalty images."""

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor

from gonogo.errors import ConfigError
from gonogo.images.reading import SUFFIXES, read_image


class ImageFolder:
    """Every image below a folder, at any depth, sorted by name."""

    def __init__(self, folder: Path, *, option: str) -> None:
        """List the images; `option` is what the user names the folder by, for the message.

        Raises:
            ConfigError: there is no such folder, or no image below it.
        """
        if not folder.is_dir():
            raise ConfigError(f"{option} is {str(folder)!r}, which is no folder; name one that holds images")
        self.folder = folder
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not self.paths:
            raise ConfigError(
                f"{option} is {str(folder)!r}, with no image in it or below; expected {', '.join(sorted(SUFFIXES))}"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, position: int) -> Tensor:
        """Pixels (1, 3, h, w) in [0, 255] of one image.

        Raises:
            ImageError: it cannot be read.
        """
        return torch.from_numpy(read_image(self.paths[position])).permute(2, 0, 1)[None].float()

    def fingerprint(self) -> str:
        """Hex SHA-256 over the images' names, sizes and times of change; a million images take seconds."""
        known = []
        for path in self.paths:
            stat = path.stat()
            known.append([path.relative_to(self.folder).as_posix(), stat.st_size, stat.st_mtime_ns])
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def luminance(pixels: Tensor) -> Tensor:
    """(n, 1, h, w) of (n, 3, h, w), by the weights of ITU-R BT.601."""
    red, green, blue = pixels.unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def in_grey(pixels: Tensor) -> Tensor:
    """The luminance of (n, 3, h, w) pixels in each of their channels."""
    return luminance(pixels).expand_as(pixels)
