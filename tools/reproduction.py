"""Do two runs agree? Between machines to a tolerance, on one machine to the last bit. Speed is compared by nobody.

    python tools/reproduction.py metrics A B       the JSON files of two metrics folders, but for rounding and costs
    python tools/reproduction.py bits A B STAGE …  the outputs of stages in two dvc.lock files, by their hashes

Exit status 1, with every difference named, where they do not agree.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gonogo.files import read_json
from gonogo.params import read_yaml

TOLERANCE = 1e-4
RANKED = ("image_auroc", "image_ap", "synthetic_auroc")  # what counts pairs of images, and bounds and lifts of it
RANKED_TOLERANCE = 2e-3  # one pair in 500: another number of threads moves a score by a millionth, and a pair swaps
COSTS = {"bench", "fit"}  # metrics that are facts about a machine and a moment
INPUTS = {"code", "origin.json"}  # what the metrics were made with, compared by git itself
LAST_DIGITS = {"worst_image"}  # which of many images differs most in the last digits is no result


def metric_differences(before: Path, after: Path) -> Iterator[str]:
    """Every difference between the metrics files of two folders beyond the tolerance, as a sentence.

    Numbers may differ by 1e-4, absolute or relative to their size; those that end in `_e6` are millionths. Metrics of
    the images' ranks may differ by 2e-3.
    """
    names = {path.relative_to(folder) for folder in (before, after) for path in folder.rglob("*.json")}
    for name in sorted(name for name in names if name.parts[0] not in COSTS | INPUTS):
        if not (before / name).is_file() or not (after / name).is_file():
            yield f"{name}: only in {before if (before / name).is_file() else after}"
            continue
        ours, theirs = read_json(before / name), read_json(after / name)
        for key in sorted((ours.keys() | theirs.keys()) - LAST_DIGITS):
            if key not in ours or key not in theirs or not _agree(key, ours[key], theirs[key]):
                yield f"{name}: {key} is {ours.get(key)!r} and {theirs.get(key)!r}"


def bit_differences(before: Mapping[str, Any], after: Mapping[str, Any], stages: Sequence[str]) -> Iterator[str]:
    """Every output of `stages`, costs apart, whose hash differs between two lock files' contents, as a sentence."""
    for stage in stages:
        ours, theirs = _hashes(before, stage), _hashes(after, stage)
        if not ours and not theirs:
            yield f"{stage}: neither lock file has a stage of this name"
        for path in sorted(ours.keys() | theirs.keys()):
            if ours.get(path) != theirs.get(path):
                yield f"{stage}: {path} has hash {ours.get(path)} and {theirs.get(path)}"


def _agree(key: str, ours: Any, theirs: Any) -> bool:
    if isinstance(ours, bool) or isinstance(theirs, bool) or isinstance(ours, str) or isinstance(theirs, str):
        return type(ours) is type(theirs) and bool(ours == theirs)
    scale = 1e-6 if key.endswith("_e6") else 1.0
    tolerance = RANKED_TOLERANCE if key.startswith(RANKED) else TOLERANCE
    return math.isclose(scale * ours, scale * theirs, rel_tol=tolerance, abs_tol=tolerance)


def _hashes(lock: Mapping[str, Any], stage: str) -> dict[str, str]:
    return {
        out["path"]: out["md5"]
        for name, entry in lock["stages"].items()
        if name.partition("@")[0] == stage
        for out in entry["outs"]
        if not (out["path"].startswith("metrics/") and out["path"].split("/")[1] in COSTS)
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print the differences, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    metrics, bits = commands.add_parser("metrics"), commands.add_parser("bits")
    for command in (metrics, bits):
        command.add_argument("before", type=Path)
        command.add_argument("after", type=Path)
    bits.add_argument("stages", nargs="+")
    arguments = parser.parse_args(argv)
    if arguments.command == "metrics":
        differences = list(metric_differences(arguments.before, arguments.after))
    else:
        before, after = read_yaml(arguments.before), read_yaml(arguments.after)
        differences = list(bit_differences(before, after, arguments.stages))
    for difference in differences:
        print(difference, file=sys.stderr)
    print(f"{arguments.before} and {arguments.after}: {len(differences)} differences", flush=True)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
