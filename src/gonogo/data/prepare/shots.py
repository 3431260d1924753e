"""Several shots of one part, which count once in a certificate: found by the names and the times of the images.

They are only proposed: a name does not say whether item01_2 is another shot or another part.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path, PurePosixPath

from PIL import ExifTags

from gonogo.calibration.threshold import certified_rate
from gonogo.data.sample import Sample
from gonogo.errors import ImageError
from gonogo.images.header import opened

# What follows the name of the part in that of a shot: words that say so, then what may as well number parts.
SHOT_WORDS = "part|view|shot|cam|camera|angle|side|frame|img|image|pose|pos|face|exposure|light|zoom|rot"
TAILS = {  # with the most shots that a part may have: where names share more, they share a date or a lot
    rf"[_\-. ]?(?:{SHOT_WORDS})[_\-. ]?\d+": 24,
    r"[_\-. ](?:cropped|crop|tile|patch|window|slice)[_\-. ]?\d[^/]*": 24,
    r"[_\-. ][a-h]": 8,
    r" ?\(\d+\)": 8,
    r"[_\-]\d{1,2}": 8,
}
LEAST_PARTS, MOST_SHOTS = 3, 24
BURST_SECONDS, PAUSE = 3.0, 5  # shots of one part follow within so many seconds; parts, after so many times as long


@dataclass(frozen=True)
class Shots:
    """Images that seem to be several shots of parts.

    Attributes:
        pattern: what `prepare.group_pattern` would be; None where names do not show the parts.
        example: two images of one part.
        n_images, n_parts: good images, and the parts that they would show.
    """

    pattern: str | None
    example: tuple[str, str]
    n_images: int
    n_parts: int

    def sentence(self, n_calibrate: int, confidence: float) -> str:
        """What is proposed, and what it would change in the certificate of `n_calibrate` good images."""
        n_parts = max(1, round(n_calibrate * self.n_parts / self.n_images))
        alone, grouped = (certified_rate(max(n, 1), 1, confidence) for n in (n_calibrate, n_parts))
        how = f"set prepare.group_pattern: '{self.pattern}'" if self.pattern else "give them one group_id in a manifest"
        return (
            f"{self.n_images} good images may be shots of {self.n_parts} parts, as {self.example[0]} and "
            f"{self.example[1]}; shots of one part count once. If they are, {how}: about {n_parts} parts will "
            f"calibrate in place of {n_calibrate}, which certify {grouped:.1%} false alarms at best and not {alone:.1%}"
        )


def shots_by_name(samples: Sequence[Sample]) -> Shots | None:
    """What the names of good images say of shots of one part; None where they say nothing, or groups are known."""
    good = [sample for sample in samples if sample.label == 0 and sample.accepted is None]
    if any(sample.group_id is not None for sample in good):
        return None
    for tail, most in TAILS.items():
        pattern = rf"^(.*?)(?:{tail})?\.[^./]*$"
        parts: dict[str, list[str]] = {}
        for sample in good:
            found = re.search(pattern, sample.name)
            parts.setdefault(found[1] if found else sample.name, []).append(sample.name)
        if _are_parts(list(parts.values()), most):
            several = next(names for names in parts.values() if len(names) > 1)
            return Shots(pattern, (_base(several[0]), _base(several[1])), len(good), len(parts))
    return None


def shots_by_time(samples: Sequence[Sample], seconds: Sequence[float | None]) -> Shots | None:
    """What the cameras' times of good images say of bursts; None where they show none, or groups are known.

    Args:
        seconds: when each image was taken, by its EXIF data; None where it does not say so.
    """
    timed = sorted(
        (second, sample.name)
        for sample, second in zip(samples, seconds, strict=True)
        if second is not None and sample.label == 0 and sample.group_id is None
    )
    bursts: list[list[tuple[float, str]]] = []
    for second, name in timed:
        if bursts and second - bursts[-1][-1][0] <= BURST_SECONDS:
            bursts[-1].append((second, name))
        else:
            bursts.append([(second, name)])
    pauses = [after[0][0] - before[-1][0] for before, after in pairwise(bursts)]
    if min(pauses, default=0) < PAUSE * BURST_SECONDS or not _are_parts(bursts, MOST_SHOTS):
        return None
    several = next(burst for burst in bursts if len(burst) > 1)
    return Shots(None, (_base(several[0][1]), _base(several[1][1])), len(timed), len(bursts))


def seconds_of(data: bytes, path: Path) -> float | None:
    """When an encoded image was taken by its EXIF data, in seconds since a fixed time; None where they do not say."""
    if b"Exif" not in data and b"eXIf" not in data:
        return None
    try:
        with opened(data, path) as image:
            if not image.info.get("exif"):
                return None
            exif = image.getexif()
            told = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or exif.get(
                ExifTags.Base.DateTime
            )
            return (datetime.strptime(str(told).strip(), "%Y:%m:%d %H:%M:%S") - datetime.min).total_seconds()
    except (ImageError, ValueError):
        return None


def _are_parts(groups: Sequence[Sequence[object]], most: int) -> bool:
    """Whether groups of images look like parts with a few shots each: most have several, and none has many."""
    sizes = [len(group) for group in groups]
    in_several = sum(size for size in sizes if size > 1)
    return len(groups) >= LEAST_PARTS and max(sizes) <= most and in_several >= 0.8 * sum(sizes)


def _base(name: str) -> str:
    return PurePosixPath(name).name
