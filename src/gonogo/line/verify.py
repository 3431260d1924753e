"""gonogo verify: whether a bundle is the one that was proven, and whether it scores here as it did there."""

import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gonogo.cli.answer import Answer
from gonogo.errors import DataError, IntegrityError
from gonogo.inference.gauges import Gauges, open_gauges
from gonogo.inference.good_patches import GoodPatches
from gonogo.inference.scorer import NO_NETWORK, Scorer
from gonogo.line.inputs import Item, items, pixels_of

SIZES = ((48, 64), (131, 97))  # (height, width) of the pixels that it is tried with
SEED = 20


@dataclass(frozen=True)
class Judged:
    """A score and the gauge that it is of; None where the image is of no category of a set."""

    category: str | None
    score: float | None


@dataclass(frozen=True)
class Difference:
    """One image whose score is not that of the reference, or that another gauge of the set judged."""

    file: str
    expected: float | None
    score: float | None
    relative: float | None
    flips: bool


def run(arguments: Namespace) -> Answer:
    """Check the bundle; with a reference also its scores.

    Raises:
        IntegrityError: it is no bundle to use.
        DataError: the reference cannot be read, or has no score for an image.
        ImageError: an image cannot be read.
    """
    gauges = open_gauges(
        arguments.bundle, trust=arguments.trust
    )  # checks hashes, format, threshold, agreement and signature
    trusts = arguments.trust is not None
    checked = [_checked(scorer, signed=trusts) for scorer in gauges.scorers.values()]
    both = zip(gauges.scorers.values(), checked, strict=True)
    lines = [line for scorer, facts in both for line in _said(scorer, facts, trusts=trusts)]
    report: dict[str, Any] = {"ok": True}
    if gauges.is_one:
        report |= checked[0]
    else:
        _require_routes(gauges)
        report |= {"bundle": gauges.fingerprint, "categories": checked}
        lines.append(f"ok  the router of {len(checked)} categories runs here and knows their bundles")
    if arguments.reference is None:
        judged = [_judged(gauges, item) for place in arguments.files for item in items([place])]
        if arguments.files:
            n_scored = sum(one.score is not None for one in judged)
            report |= {"n_images": len(judged), "n_unknown": len(judged) - n_scored}
            unknown = "" if gauges.is_one else f", {len(judged) - n_scored} are of no category"
            lines.append(f"ok  {n_scored} images have a score{unknown}")
        return Answer(report, "\n".join(lines))
    expected = _reference(arguments.reference)
    differences, n_images = _differences(gauges, arguments, expected)
    report |= {
        "n_images": n_images,
        "tolerance": arguments.tolerance,
        "n_flips": sum(one.flips for one in differences),
        "differences": [vars(one) for one in differences],
        "passed": not differences,
    }
    if differences:
        worst = max(differences, key=lambda one: (one.flips, one.relative or 0.0))
        there, here = ("no score" if one is None else f"{one:.6g}" for one in (worst.expected, worst.score))
        lines.append(
            f"NO  {len(differences)} of {n_images} images score otherwise than {arguments.reference} says, "
            f"{report['n_flips']} verdicts flip; the worst is {worst.file}: {there} there, {here} here"
        )
    else:
        lines.append(f"ok  {n_images} images score as {arguments.reference} says, within {arguments.tolerance:g}")
    return Answer(report, "\n".join(lines), passed=not differences)


def _checked(scorer: Scorer, *, signed: bool) -> dict[str, Any]:
    """What a bundle is and what was checked of it, after its network was tried and its pictures were read."""
    _require_inference(scorer)
    patches = scorer.good_patches
    checks = ["hashes", "format", "threshold", "manifest and network agree", "it runs here"]
    if patches is not None:
        checks.append(f"pictures of {len(patches)} good patches")
    if signed:
        checks.append(f"signed with the key {scorer.signer}")
    return {
        "category": scorer.category,
        "bundle": scorer.fingerprint,
        "threshold": scorer.threshold,
        "data_fingerprint": scorer.manifest["data_fingerprint"],
        "signer": scorer.signer,
        "checks": checks,
    }


def _said(scorer: Scorer, facts: dict[str, Any], *, trusts: bool) -> list[str]:
    lines = [
        f"{scorer.category}: bundle {scorer.fingerprint[:12]}, threshold {scorer.threshold:.6g}",
        f"  {scorer.record.sentence}",
        *(f"ok  {check}" for check in facts["checks"]),
    ]
    if scorer.signer is not None and not trusts:
        lines.append(f"    it says that it is signed with the key {scorer.signer}; --trust KEY.pub checks that")
    return lines


def _require_routes(gauges: Gauges) -> None:
    """Do nothing, or refuse a router that gives no distances."""
    generator = np.random.default_rng(SEED)
    for height, width in SIZES:
        gauges.pick(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


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


def _judged(gauges: Gauges, item: Item) -> Judged:
    pixels = pixels_of(item)
    scorer = gauges.pick(pixels).scorer
    if scorer is None:
        return Judged(None, None)
    return Judged(scorer.category, scorer.score_pixels(pixels[None])[0].score)


def _reference(path: Path) -> dict[str, Judged]:
    """What was said of each file."""
    found: dict[str, Judged] = {}
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number += 1
                row = json.loads(line)
                if row.get("verdict") == "unknown":
                    found[str(row["file"])] = Judged(None, None)
                elif "error" not in row:
                    found[str(row["file"])] = Judged(row.get("category"), float(row["score"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        where = f", line {number}" if not isinstance(error, OSError) else ""
        raise DataError(f"{path}{where}: expected what gonogo score --jsonl writes, got {error!r}") from error
    if not found:
        raise DataError(f"{path} has no score; expected what gonogo score --jsonl writes")
    return found


def _differences(gauges: Gauges, arguments: Namespace, expected: dict[str, Judged]) -> tuple[list[Difference], int]:
    """Images whose score differs by more than the tolerance, flips or is another gauge's, and how many were looked at.

    A difference is relative to the image's own expected score, or to the median one if that is larger, as in parity.
    """
    by_name: dict[str, list[str]] = {}
    for file in expected:
        by_name.setdefault(Path(file).name, []).append(file)
    unit = median([abs(one.score) for one in expected.values() if one.score is not None] or [1.0])
    differences: list[Difference] = []
    n_images = 0
    for item in items(arguments.files or list(expected)):
        same_name = by_name.get(item.within.name, [])
        known = [item.name] if item.name in expected else same_name
        if len(known) != 1:
            raise DataError(f"{arguments.reference} has no score of {item.name}, nor of one file of that name")
        n_images += 1
        now, then = _judged(gauges, item), expected[known[0]]
        if now.score is None or then.score is None or (then.category or now.category) != now.category:
            if now != then:
                differences.append(Difference(item.name, then.score, now.score, None, flips=True))
            continue
        threshold = gauges.scorers[str(now.category)].threshold
        relative = abs(now.score - then.score) / (max(abs(then.score), unit) or 1.0)
        flips = (now.score >= threshold) != (then.score >= threshold)
        if flips or relative > arguments.tolerance:
            differences.append(Difference(item.name, then.score, now.score, relative, flips))
    return differences, n_images
