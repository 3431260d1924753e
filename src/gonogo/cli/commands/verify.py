"""gonogo verify: check that a bundle is the one that was proven, and that it scores here as it did there."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import GAUGES, add_trust, non_negative
from gonogo.cli.exit_status import DONE, REJECTED

if TYPE_CHECKING:
    from gonogo.inference.scorer import Scorer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Check hashes and format, that manifest and network agree, and that the network runs here. Exit status 0: the "
        "bundle may be used; 1: scores differ from those of --reference; 4: the bundle must not be used."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help=GAUGES)
    parser.add_argument("files", metavar="IMAGE", nargs="*", help="as in gonogo score; default: the images of FILE")
    add_trust(parser)
    parser.add_argument("--reference", type=Path, metavar="FILE", help="rows that gonogo score --jsonl or --out wrote")
    parser.add_argument(
        "--tolerance", type=non_negative, default=1e-4, metavar="R", help="relative difference of a score; 0.0001"
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Check the bundle or the set of bundles; with a reference also its scores.

    Raises:
        IntegrityError: the bundle must not be used.
        DataError: the reference cannot be read, or has no score of an image.
        ImageError: an image cannot be read.
    """
    from gonogo.inference.gauges import open_gauges
    from gonogo.inference.self_check import check_router
    from gonogo.line.inputs import items
    from gonogo.line.verify import differences, read_reference, score_item
    from gonogo.text import printable

    gauges = open_gauges(arguments.bundle, trust=arguments.trust)  # checks all but the network itself
    is_signed = arguments.trust is not None
    scorers = [one for scorer in gauges.scorers.values() for one in scorer.bundles]
    checked = [_check(scorer, is_signed=is_signed) for scorer in scorers]
    both = zip(scorers, checked, strict=True)
    lines = [line for scorer, facts in both for line in _lines(scorer, facts, is_signed=is_signed)]
    report: dict[str, Any] = {"ok": True}
    if gauges.is_one:
        report |= checked[0]
    else:
        check_router(gauges)
        report |= {"bundle": gauges.fingerprint, "categories": checked}
        lines.append(
            f"ok  the router of {len(gauges.scorers)} categories runs here, and their bundles are those it was made for"
        )
    if arguments.reference is None:
        scores = [score_item(gauges, item) for item in items(arguments.files)]
        if arguments.files:
            n_scored = sum(one.score is not None for one in scores)
            report |= {"n_images": len(scores), "n_unknown": len(scores) - n_scored}
            unknown = "" if gauges.is_one else f", {len(scores) - n_scored} belong to no category"
            lines.append(f"ok  {n_scored} images have a score{unknown}")
        return Answer(report, "\n".join(lines))
    expected = read_reference(arguments.reference)
    found, n_images = differences(gauges, arguments.files, expected, tolerance=arguments.tolerance)
    report |= {
        "n_images": n_images,
        "tolerance": arguments.tolerance,
        "n_flips": sum(one.flips for one in found),
        "differences": [vars(one) for one in found],
        "passed": not found,
    }
    if found:
        worst = max(found, key=lambda one: (one.flips, one.relative or 0.0))
        there, here = ("no score" if one is None else f"{one:.6g}" for one in (worst.expected, worst.score))
        lines.append(
            f"NO  {len(found)} of {n_images} images score otherwise than in {arguments.reference}, "
            f"{report['n_flips']} verdicts flip; the worst is {printable(worst.file)}: {there} there, {here} here"
        )
    else:
        lines.append(f"ok  {n_images} images score as in {arguments.reference}, within {arguments.tolerance:g}")
    return Answer(report, "\n".join(lines), REJECTED if found else DONE)


def _check(scorer: "Scorer", *, is_signed: bool) -> dict[str, Any]:
    """Try the network and read the pictures of a loaded bundle: its facts, and the list of all checks it passed."""
    from gonogo.inference.self_check import check_network

    check_network(scorer)
    patches = scorer.good_patches
    checks = ["hashes", "format", "threshold", "manifest and network agree", "it runs here"]
    if patches is not None:
        checks.append(f"pictures of {len(patches)} good patches")
    if is_signed:
        checks.append(f"signed with the key {scorer.signer}")
    return {
        "category": scorer.category,
        "bundle": scorer.fingerprint,
        "threshold": scorer.threshold,
        "data_fingerprint": scorer.manifest["data_fingerprint"],
        "signer": scorer.signer,
        "checks": checks,
    }


def _lines(scorer: "Scorer", facts: dict[str, Any], *, is_signed: bool) -> list[str]:
    lines = [
        f"{scorer.category}: bundle {scorer.fingerprint[:12]}, threshold {scorer.threshold:.6g}",
        f"  {scorer.record.sentence}",
        *(f"ok  {check}" for check in facts["checks"]),
    ]
    if scorer.signer is not None and not is_signed:
        lines.append(f"    not checked: the signature with the key {scorer.signer}; --trust KEY.pub checks it")
    return lines
