"""How much memory one image takes from its file to its regions, known from its size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from gonogo.images.limits import decoding_bytes
from gonogo.images.size import ImageSize

# For each pixel of the image: the graph holds it as bytes, as floats and, with a ROI, as masked floats, and the map;
# to find regions holds numbers for each run of marked pixels, of which even a map of noise has no more than this.
GRAPH_BYTES, REGIONS_BYTES = 36, 50
FLOAT = 4
CANVAS_BYTES = 24  # for each pixel of what the graph resizes the image to: three colours, and the map twice
LEVELLING_BYTES = 48  # for each pixel of the same, where it is preprocessed: the colours twice, and four local figures
FEATURE_COPIES = 4  # of the features that a graph gives, each in single precision
NETWORK_BYTES = 1_000  # for each pixel that the network sees at once: activations, and distances to a memory bank


@dataclass(frozen=True)
class GraphSize:
    """The sizes in a gauge's graph, in pixels.

    canvas: what it resizes an image to.
    seen: what the network sees at once, which is a tile where there are tiles.
    n_features: numbers that the graph gives by which images are compared.
    levels: whether it evens out illumination or contrast of what it resized.
    """

    canvas: ImageSize
    seen: ImageSize
    n_features: int = 0
    levels: bool = False

    @classmethod
    def from_dict(cls, manifest: Mapping[str, Any]) -> Self:
        """The sizes that a bundle's manifest tells."""
        preprocessing, features = manifest["preprocessing"], manifest.get("features")
        tiling, seen = preprocessing["tiling"], ImageSize.of(preprocessing["image_size"])
        n_features = 0 if features is None else math.prod([features["dims"], *features["cells"]])
        canvas = seen if tiling is None else ImageSize.of([tiling["height"], tiling["width"]])
        return cls(canvas, seen, n_features, preprocessing.get("preprocess") is not None)

    def working_bytes(self, height: int, width: int) -> int:
        """Upper estimate, in bytes, of the most memory that an image of this height and width needs at a time.

        The graph resizes along the width first, and its map too: for each row of the image it holds three rows of
        floats as wide as what it resizes to. So a tall image of few pixels may need more than a square one of many.
        """
        pixels = height * width
        resized = FLOAT * (3 * height * self.canvas.width + self.canvas.height * width)
        network = NETWORK_BYTES * self.seen.area + (CANVAS_BYTES + LEVELLING_BYTES * self.levels) * self.canvas.area
        graph = GRAPH_BYTES * pixels + resized + network + FEATURE_COPIES * FLOAT * self.n_features
        return max(decoding_bytes(height, width), graph, REGIONS_BYTES * pixels)
