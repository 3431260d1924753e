"""What a search tries: options of `PatchCore` that start from those in force."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from math import sqrt
from typing import Any

from gonogo.detectors.backbones.weights import LITE0
from gonogo.detectors.options import PatchCoreOptions
from gonogo.images.size import ImageSize

SIDES = (128, 192, 256, 320, 384, 448, 512)  # of squares; a size has the area of one, and the parts' shape
BRIEF_SIDES = (128, 192, 256, 320)
LAYERS = ((2, 3), (1, 2, 3), (3,))  # of the default backbone; of any other, those in force
WHITENING = (0.0, 0.25, 0.5, 0.75, 1.0)
BANKS = (0.003, 0.01, 0.03)  # share of the patches that the bank keeps
AGGREGATION = ((1, 0.0), (3, 0.0), (1, 0.003))  # neighbours, and the share of patches whose mean is the score
SMOOTHING = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)  # pixels of a square of 256
FIRST_WHITENING = (0.0, 0.5)  # of a candidate that differs in what it sees; the others follow for the best of them
SIZES_OF_BANK = ("coreset_ratio", "bank_patches", "bank_mb")  # of which one at most is set


def key_of(options: PatchCoreOptions) -> str:
    """The options as text: equal for equal options, however layers and size are written."""
    size = ImageSize.of(options.image_size).written
    return json.dumps(asdict(options) | {"layers": list(options.layers), "image_size": size}, sort_keys=True)


def sight_of(options: PatchCoreOptions) -> str:
    """What decides the features of an image: options that agree in it share them."""
    size = ImageSize.of(options.image_size)
    return json.dumps([options.backbone, list(options.layers), size, options.neighbourhood])


@dataclass(frozen=True)
class Shape:
    """That of the parts' images.

    Attributes:
        aspect: width by height.
        multiple: sides are multiples of so many pixels, as in `side_multiple`.
    """

    aspect: float = 1.0
    multiple: int = 32

    def size(self, side: int) -> ImageSize:
        """About as many pixels as a square of `side` has, in this shape."""
        return ImageSize.of_area(side, self.aspect, multiple=self.multiple)


def ladders(base: PatchCoreOptions, shape: Shape, *, brief: bool) -> list[list[PatchCoreOptions]]:
    """For each set of layers the image sizes, smallest first: with each step a verdict takes longer.

    No set of layers ends before the deepest one in force: planted defects are small, and say nothing of what only a
    deep layer sees, that a part has another form as a whole. In brief: the layers in force, and four sizes.
    """
    others = LAYERS if base.backbone == LITE0 and not brief else ()
    layers = [base.layers, *(some for some in others if max(some) >= max(base.layers))]
    distinct = {tuple(one): one for one in layers}
    sizes = {*map(shape.size, BRIEF_SIDES if brief else SIDES), ImageSize.of(base.image_size)}
    return [
        [_seen(base, some, size) for size in sorted(sizes, key=lambda size: (size.area, size))] for some in distinct
    ]


def _seen(base: PatchCoreOptions, layers: Sequence[int], size: ImageSize) -> PatchCoreOptions:
    """The options in force with other layers and size, and a smoothing over the same share of the image."""
    smoothing = base.smoothing * sqrt(size.area / ImageSize.of(base.image_size).area)
    written = size.written if isinstance(base.image_size, int) else list(size)  # in the form that stands already
    return replace(base, layers=list(layers), image_size=written, smoothing=round(smoothing, 2))


def whitened(options: PatchCoreOptions, powers: Sequence[float] = FIRST_WHITENING) -> list[PatchCoreOptions]:
    """The options with each of the powers; a random reduction has no principal axes."""
    if options.reduction == "random":
        return [options]
    return [replace(options, whitening=power) for power in powers]


def variants(options: PatchCoreOptions, *, brief: bool) -> list[PatchCoreOptions]:
    """All that differ from the options in whitening, bank and aggregation, with what they see unchanged.

    In brief: in whitening alone.
    """
    if brief:
        return whitened(options, WHITENING)
    found = []
    for one, ratio, (neighbours, top) in product(whitened(options, WHITENING), BANKS, AGGREGATION):
        bank: dict[str, Any] = {"coreset_ratio": ratio, "bank_patches": None, "bank_mb": None}
        found.append(replace(one, n_neighbors=neighbours, top_share=top, **bank))
    return found


def smoothed(options: PatchCoreOptions) -> list[PatchCoreOptions]:
    """The options as they are, and with each other smoothing."""
    side = sqrt(ImageSize.of(options.image_size).area)
    others = [round(sigma * side / 256, 2) for sigma in SMOOTHING]
    return [options, *(replace(options, smoothing=sigma) for sigma in others if sigma != options.smoothing)]


def changed(options: PatchCoreOptions, base: PatchCoreOptions) -> dict[str, Any]:
    """The options that differ from those in force, as params.yaml has them."""
    pairs = ((field.name, getattr(options, field.name), getattr(base, field.name)) for field in fields(options))
    plain = ((name, *map(_written, values)) for name, *values in pairs)
    return {name: new for name, new, old in plain if new != old}


def n_changed(options: PatchCoreOptions, base: PatchCoreOptions) -> int:
    """How many options differ from those in force; a smoothing over the same share of another size is none."""
    return len(changed(options, base).keys() - {"smoothing"})


def _written(value: Any) -> Any:
    """The value of an option as params.yaml has it."""
    return list(value) if isinstance(value, tuple) else value


def sentence(options: Mapping[str, Any]) -> str:
    """Some options in a line."""
    return ", ".join(f"{name} {_value(value)}" for name, value in options.items()) or "as it is"


def _value(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def timed_as(options: PatchCoreOptions) -> PatchCoreOptions:
    """Options that take as long and are timed in their place: with any whitening, and whatever does not take time."""
    whitening = 0.0 if options.reduction == "random" else 0.5
    return replace(options, whitening=whitening, top_share=0.0, smoothing=4.0, layers=list(options.layers))


def by_sight(candidates: Sequence[PatchCoreOptions]) -> Iterator[list[PatchCoreOptions]]:
    """The candidates in groups that share their features, in the order of the first of each."""
    groups: dict[str, list[PatchCoreOptions]] = {}
    for one in candidates:
        groups.setdefault(sight_of(one), []).append(one)
    yield from groups.values()
