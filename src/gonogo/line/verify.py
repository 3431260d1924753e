"""Checks of a bundle on the machine that is to use it: does its network run here, and does it score as it did there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gonogo.errors import DataError
from gonogo.inference.gauges import Gauges
from gonogo.inference.scorer import UNKNOWN
from gonogo.line.inputs import Item, items, pixels_of
from gonogo.line.rows import read_rows

SEED = 20


@dataclass(frozen=True)
class ImageScore:
    """A score and the category whose gauge gave it; both None if the image belongs to no category of a set."""

    category: str | None
    score: float | None


@dataclass(frozen=True)
class Difference:
    """An image whose score is not the reference's, or that another gauge of the set judges.

    relative: the difference of the scores as a share of the expected one; None if one of them is missing.
    flips: whether the verdict is another one.
    """

    file: str
    expected: float | None
    score: float | None
    relative: float | None
    flips: bool


def score_item(gauges: Gauges, item: Item) -> ImageScore:
    """The score of one image.

    Raises:
        ImageError: it cannot be read.
    """
    pixels = pixels_of(item)
    scorer = gauges.select(pixels).scorer
    if scorer is None:
        return ImageScore(None, None)
    return ImageScore(scorer.category, scorer.score_one(pixels, item.name).score)


def read_reference(path: Path) -> dict[str, ImageScore]:
    """The scores in rows that `gonogo score` wrote, by file.

    Raises:
        DataError: the file cannot be read, a line is not such a row, or no row has a score.
    """
    found: dict[str, ImageScore] = {}
    for row in read_rows(path):
        if row.verdict == UNKNOWN:
            found[row.file] = ImageScore(None, None)
        elif row.score is not None:
            found[row.file] = ImageScore(row.category, row.score)
    if not found:
        raise DataError(f"{path} has no score; expected rows that gonogo score --jsonl wrote")
    return found


def differences(
    gauges: Gauges, files: Sequence[str], expected: Mapping[str, ImageScore], *, tolerance: float
) -> tuple[list[Difference], int]:
    """Score images again: those that differ from the reference, and how many images were scored.

    An image differs if its score differs by more than the tolerance, if its verdict flips, or if another gauge judges
    it. The difference of a score is relative to the expected score of the image, or to the median of all expected
    scores if that is larger, as in parity.

    Args:
        files: as `line.inputs.items` takes them; empty: the files of the reference.
        expected: scores by file, as `read_reference` gives them. An image is looked up by its path, or else by its
            name if one file alone has it.
        tolerance: the largest relative difference that is no difference.

    Raises:
        DataError: the reference has no score of an image.
        ImageError: an image cannot be read.
    """
    by_name: dict[str, list[str]] = {}
    for file in expected:
        by_name.setdefault(Path(file).name, []).append(file)
    unit = median([abs(one.score) for one in expected.values() if one.score is not None] or [1.0])
    found: list[Difference] = []
    n_images = 0
    for item in items(files or list(expected)):
        same_name = by_name.get(item.within.name, [])
        known = [item.name] if item.name in expected else same_name
        if len(known) != 1:
            raise DataError(f"the reference has no score of {item.name}, nor of exactly one file of that name")
        n_images += 1
        now, then = score_item(gauges, item), expected[known[0]]
        if now.score is None or then.score is None or (then.category or now.category) != now.category:
            if now != then:
                found.append(Difference(item.name, then.score, now.score, None, flips=True))
            continue
        threshold = gauges.scorers[str(now.category)].threshold
        relative = abs(now.score - then.score) / (max(abs(then.score), unit) or 1.0)
        flips = (now.score >= threshold) != (then.score >= threshold)
        if flips or relative > tolerance:
            found.append(Difference(item.name, then.score, now.score, relative, flips))
    return found, n_images
