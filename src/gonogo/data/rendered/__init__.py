"""Machined parts as a camera above a line sees them, rendered: a knurled washer, a connector, a printed label.

They are drawings and no photographs, and their names say so. What differs between good parts is what differs on a
line: pose, light, the material's texture, the sensor's noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from gonogo.data.defects import ATTEMPTS, PLAIN, PLAIN_PIXELS, Damaged, one_region
from gonogo.data.rendered import connector, label, washer
from gonogo.data.rendered.marks import Damage
from gonogo.data.rendered.shading import View, expose, view_of
from gonogo.data.sample import Places, Sample, Shares, draw
from gonogo.errors import ConfigError
from gonogo.images.roles import ROLES, TEST


@dataclass(frozen=True)
class Part:
    """How one part is drawn, and what can be wrong with it."""

    render: Callable[[View, np.random.Generator, Damage | None], np.ndarray]
    defect_types: tuple[str, ...]


PARTS = {
    "washer": Part(washer.render, washer.DEFECT_TYPES),
    "connector": Part(connector.render, connector.DEFECT_TYPES),
    "label": Part(label.render, label.DEFECT_TYPES),
}


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """Parts of one kind: good ones, each with all roles open to it, and defective ones for test.

    The defaults suffice to certify 1 % of false alarms where `prepare` gives 299 good parts to calibrate: with
    `test_share: 0.125` and `calibrate_share: 0.715` 60 go to test, 300 to calibrate and 120 to fit.

    Attributes:
        part: washer, connector or label.
        size: side of the image, in pixels.
        n_good: good parts.
        defects_per_type: defective parts of each type, each a part of its own.
        defect_types: which; empty: all that the part can have.
        strength_min: strength of the faintest defect; a sample's strength is uniform up to `strength_max`.
        strength_max: strength of the plainest one.
    """

    part: str = "washer"
    size: Annotated[int, Field(ge=128, le=1024, multiple_of=8)] = 256
    n_good: Annotated[int, Field(ge=3)] = 480
    defects_per_type: Annotated[int, Field(ge=1)] = 10
    defect_types: Sequence[str] = ()
    strength_min: Annotated[float, Field(gt=0, le=1)] = 0.2
    strength_max: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise ConfigError(f"rendered: part is {self.part!r}; choose one of {', '.join(PARTS)}")
        possible, chosen = PARTS[self.part].defect_types, self.defect_types
        if any(kind not in possible for kind in chosen) or len(set(chosen)) < len(chosen):
            raise ConfigError(
                f"rendered: defect_types of a {self.part} is {list(chosen)!r}; choose, once each, from "
                f"{', '.join(possible)}; none of them: all"
            )
        if self.strength_min > self.strength_max:
            raise ConfigError(
                f"rendered: strength_min {self.strength_min} is above strength_max {self.strength_max}; swap them"
            )

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Good parts, then the defective ones by type."""
        # glibc gives arrays beyond its threshold back to the system at once, and zeroing them again costs as much as
        # the drawing; freeing a larger one raises the threshold for good.
        np.empty(1 << 24, dtype=np.uint8)
        for number in range(self.n_good):
            seed = draw(shares.seed, "rendered", self.part, "good", number)
            yield self._sample("good", number, photograph(self.part, self.size, seed))
        for kind in self.defect_types or PARTS[self.part].defect_types:
            for number in range(self.defects_per_type):
                seed = draw(shares.seed, "rendered", self.part, kind, number)
                strength = self.strength_min + (self.strength_max - self.strength_min) * float(
                    np.random.default_rng([seed, 1]).random()
                )
                yield self._sample(kind, number, *defective(self.part, self.size, seed, kind, strength))

    def places(self, category: str, raw: Path) -> Places:
        """None: the images are drawn."""
        return Places()

    def _sample(self, kind: str, number: int, pixels: np.ndarray, mask: np.ndarray | None = None) -> Sample:
        return Sample(
            name=f"rendered_{self.part}_{number:04d}_{kind}",
            image=pixels,
            label=int(kind != "good"),
            defect_type=kind,
            roles=ROLES if kind == "good" else TEST,
            group_id=f"{kind}_{number:04d}",
            mask=mask,
        )


def photograph(part: str, size: int, seed: int, damage: Damage | None = None) -> np.ndarray:
    """(size, size, 3) uint8 RGB of the part that `seed` makes; with `damage` the same part, pose, light and noise."""
    pose, texture, noise = (np.random.default_rng([seed, stream]) for stream in (2, 3, 4))
    view = view_of(size, pose)
    return expose(PARTS[part].render(view, texture, damage), view, noise)


def defective(part: str, size: int, seed: int, kind: str, strength: float) -> Damaged:
    """The part that `seed` makes with a defect, and its mask: True exactly where its sound self looks different.

    Raises:
        ConfigError: no attempt at the defect can be seen on images of this size.
    """
    sound = photograph(part, size, seed)
    for attempt in range(ATTEMPTS):
        damage = Damage(kind, strength, np.random.default_rng([seed, 5, attempt]))
        pixels, mask = one_region(sound, photograph(part, size, seed, damage).astype(np.float32))
        change = np.abs(pixels.astype(np.int16) - sound).max(axis=2)
        if (change >= PLAIN).sum() >= PLAIN_PIXELS:
            return pixels, mask
    raise ConfigError(
        f"rendered: none of {ATTEMPTS} attempts at a {kind} of strength {strength:.2f} can be seen on a {part} of "
        f"{size} pixels; raise size or strength_min"
    )
