"""gonogo verify: whether a bundle is the one that was proven, and whether it scores here as it did there."""

import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gonogo.commands import Answer
from gonogo.errors import DataError, ImageError, IntegrityError
from gonogo.good_patches import GoodPatches
from gonogo.line.inputs import items
from gonogo.scorer import NO_NETWORK, Scorer

SIZES = ((48, 64), (131, 97))  # (height, width) of the pixels that it is tried with
SEED = 20


@dataclass(frozen=True)
class Difference:
    """One image whose score is not that of the reference."""

    file: str
    expected: float
    score: float
    relative: float
    flips: bool


def run(asked: Namespace) -> Answer:
    """Check the bundle; with a reference also its scores.

    Raises:
        IntegrityError: it is no bundle to use.
        DataError: the reference cannot be read, or has no score for an image.
        ImageError: an image cannot be read.
    """
    scorer = Scorer(asked.bundle, trust=asked.trust)  # checks hashes, format, threshold, agreement and signature
    _require_inference(scorer)
    patches = scorer.good_patches  # checks that they can be read
    report: dict[str, Any] = {
        "ok": True,
        "category": scorer.category,
        "bundle": scorer.fingerprint,
        "threshold": scorer.threshold,
        "data_fingerprint": scorer.manifest["data_fingerprint"],
        "signer": scorer.signer,
        "checks": ["hashes", "format", "threshold", "manifest and network agree", "it runs here"],
    }
    if patches is not None:
        report["checks"].append(f"pictures of {len(patches)} good patches")
    if asked.trust is not None:
        report["checks"].append(f"signed with the key {scorer.signer}")
    lines = [
        f"{scorer.category}: bundle {scorer.fingerprint[:12]}, threshold {scorer.threshold:.6g}",
        f"  {scorer.record.sentence}",
        *(f"ok  {check}" for check in report["checks"]),
    ]
    if scorer.signer is not None and asked.trust is None:
        lines.append(f"    it says that it is signed with the key {scorer.signer}; --trust KEY.pub checks that")
    if asked.reference is None:
        n_scored = sum(1 for place in asked.files for item in items([place]) if _score(scorer, item) is not None)
        if asked.files:
            report["n_images"] = n_scored
            lines.append(f"ok  {n_scored} images have a score")
        return Answer(report, "\n".join(lines))
    expected = _reference(asked.reference)
    differences, n_images = _differences(scorer, asked, expected)
    report |= {
        "n_images": n_images,
        "tolerance": asked.tolerance,
        "n_flips": sum(one.flips for one in differences),
        "differences": [vars(one) for one in differences],
        "passed": not differences,
    }
    if differences:
        worst = max(differences, key=lambda one: (one.flips, one.relative))
        lines.append(
            f"NO  {len(differences)} of {n_images} images score otherwise than {asked.reference} says, "
            f"{report['n_flips']} verdicts flip; the worst is {worst.file}: {worst.expected:.6g} there, "
            f"{worst.score:.6g} here"
        )
    else:
        lines.append(f"ok  {n_images} images score as {asked.reference} says, within {asked.tolerance:g}")
    return Answer(report, "\n".join(lines), passed=not differences)


def _require_inference(scorer: Scorer) -> None:
    """Do nothing, or refuse a network that does not do what a gauge does."""
    generator = np.random.default_rng(SEED)
    for height, width in SIZES:
        pixels = generator.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        try:
            scores, maps, nearest = scorer.run_matched(pixels)
            alone, _ = scorer.run(pixels[:1])
        except NO_NETWORK as error:
            raise IntegrityError(
                f"{scorer.category}: the network fails on {width} x {height} pixels: {error}"
            ) from error
        if scores.shape != (2,) or maps.shape != (2, height, width):
            raise IntegrityError(
                f"{scorer.category}: of 2 images of {width} x {height} pixels the network gave {scores.shape} scores "
                f"and maps of {maps.shape}; expected (2,) and (2, {height}, {width})"
            )
        if not (np.isfinite(scores).all() and np.isfinite(maps).all()):
            raise IntegrityError(f"{scorer.category}: the network gave a score or map that is not a number")
        if nearest is not None and scorer.good_patches is not None:
            _require_patches(nearest, scorer.good_patches, scorer.category)
        if not np.isclose(alone[0], scores[0], rtol=1e-4):
            raise IntegrityError(
                f"{scorer.category}: an image alone scores {alone[0]:.6g}, beside another {scores[0]:.6g}"
            )


def _require_patches(nearest: np.ndarray, good_patches: GoodPatches, category: str) -> None:
    """Do nothing, or refuse a network that names good patches which the bundle does not have."""
    if nearest.shape != (2, *good_patches.cells) or nearest.min() < 0 or nearest.max() >= len(good_patches):
        raise IntegrityError(
            f"{category}: of 2 images the network named the good patches {nearest.min()} to {nearest.max()}, "
            f"{nearest.shape}; expected (2, {good_patches.cells[0]}, {good_patches.cells[1]}) numbers below "
            f"{len(good_patches)}"
        )


def _score(scorer: Scorer, item: Any) -> float:
    if item.error is not None:
        raise ImageError(item.error)
    if item.pixels is not None:
        return scorer.score_pixels(item.pixels[None])[0].score
    return scorer.score_image(item.path).score


def _reference(path: Path) -> dict[str, float]:
    """Score by file."""
    found: dict[str, float] = {}
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number += 1
                row = json.loads(line)
                if "error" not in row:
                    found[str(row["file"])] = float(row["score"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        where = f", line {number}" if not isinstance(error, OSError) else ""
        raise DataError(f"{path}{where}: expected what gonogo score --jsonl writes, got {error!r}") from error
    if not found:
        raise DataError(f"{path} has no score; expected what gonogo score --jsonl writes")
    return found


def _differences(scorer: Scorer, asked: Namespace, expected: dict[str, float]) -> tuple[list[Difference], int]:
    """Images whose score differs by more than the tolerance or flips, and how many were looked at.

    A difference is relative to the image's own expected score, or to the median one if that is larger, as in parity.
    """
    by_name: dict[str, list[str]] = {}
    for file in expected:
        by_name.setdefault(Path(file).name, []).append(file)
    unit = median(abs(score) for score in expected.values())
    differences: list[Difference] = []
    n_images = 0
    for item in items(asked.files or list(expected)):
        same_name = by_name.get(item.within.name, [])
        known = [item.name] if item.name in expected else same_name
        if len(known) != 1:
            raise DataError(f"{asked.reference} has no score of {item.name}, nor of one file of that name")
        n_images += 1
        score, then = _score(scorer, item), expected[known[0]]
        relative = abs(score - then) / (max(abs(then), unit) or 1.0)
        flips = (score >= scorer.threshold) != (then >= scorer.threshold)
        if flips or relative > asked.tolerance:
            differences.append(Difference(item.name, then, score, relative, flips))
    return differences, n_images
