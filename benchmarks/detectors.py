"""Every detector on the same parts, through the whole pipeline of this commit: the table in README.md.

    python benchmarks/detectors.py --data FOLDER              the parts and detectors of benchmarks/detectors.yaml
    python benchmarks/detectors.py --data FOLDER --detectors padim patchcore

FOLDER holds the parts' folders. The last commit is cloned, the parts become the categories of its params.yaml, and for
one detector after another `dvc repro` does the rest. Rows that are measured again replace the old ones in
benchmarks/detectors.json; `make readme` then writes the table.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gonogo.files import read_json, write_json
from gonogo.params import read_yaml
from gonogo.project.git import git
from gonogo.project.recipes import SHARED

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "detectors.json"
EVALUATED = ("image_auroc", "pixel_auroc", "aupro_30", "false_alarm_rate", "recall", "n_good", "n_defective")
BENCHED = ("p50_ms", "bundle_mb")
MACHINE = ("cpu", "cores", "threads", "onnxruntime", "os", "python")


def params_for(
    params: Mapping[str, Any], parts: Mapping[str, Any], detector: str, options: Mapping[str, Any], data: Path
) -> dict[str, Any]:
    """`params` with the parts as its categories, all of them fitted by one detector."""
    shared = {key: value for key, value in params["fit"].items() if key in SHARED}
    return {
        **params,
        "raw": str(data),
        "categories": list(parts),
        "fit": {"detector": detector, **shared, **options},
        "overrides": {part: {"prepare": dict(source)} for part, source in parts.items()},
    }


def row(metrics: Path, part: str, detector: str) -> dict[str, Any]:
    """The figures of one part and detector; those that do not exist, for want of masks or of a map, are absent."""
    fit, evaluated, benched = (read_json(metrics / stage / f"{part}.json") for stage in ("fit", "evaluate", "bench"))
    figures = {key: evaluated[key] for key in EVALUATED if key in evaluated}
    figures |= {"fit_s": fit["fit_s"]} | {key: benched[key] for key in BENCHED}
    return {"part": part, "detector": detector, **figures, "machine": {key: benched[key] for key in MACHINE}}


def measured(parts: Mapping[str, Any], detectors: Mapping[str, Any], data: Path) -> Iterator[dict[str, Any]]:
    """The rows of each detector, by the pipeline of the last commit in a clone."""
    commit = git(ROOT, "rev-parse", "HEAD").strip()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "gonogo"
        git(ROOT, "clone", "--quiet", str(ROOT), str(clone))
        params = read_yaml(clone / "params.yaml")
        for detector, options in detectors.items():
            with (clone / "params.yaml").open("w", encoding="utf-8") as file:
                YAML().dump(params_for(params, parts, detector, options, data), file)
            subprocess.run(["dvc", "repro", "evaluate", "bench"], cwd=clone, check=True)
            for part in parts:
                yield {**row(clone / "metrics", part, detector), "commit": commit}


def _merged(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], order: Sequence[str]) -> list[Any]:
    """Rows of both, the new ones in place of the old, by part and then in the order of the detectors."""
    rows = {(entry["part"], entry["detector"]): entry for entry in [*old, *new] if entry["detector"] in order}
    return sorted(rows.values(), key=lambda entry: (entry["part"], order.index(entry["detector"])))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the results, and return the exit status."""
    plan = read_yaml(HERE / "detectors.yaml")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where the parts' folders are")
    parser.add_argument("--detectors", nargs="+", choices=list(plan["detectors"]), metavar="NAME")
    parser.add_argument("--parts", nargs="+", choices=list(plan["parts"]), metavar="NAME")
    arguments = parser.parse_args(argv)
    if git(ROOT, "status", "--porcelain", "--untracked-files=no"):
        print("there are uncommitted changes; a published number belongs to a commit", file=sys.stderr)
        return 2
    parts = {name: plan["parts"][name] for name in arguments.parts or plan["parts"]}
    for name, source in parts.items():
        if not (arguments.data / source["folder"]).is_dir():
            print(f"{arguments.data / source['folder']}: no such folder; it should hold {name}", file=sys.stderr)
            return 2
    detectors = {name: plan["detectors"][name] for name in arguments.detectors or plan["detectors"]}
    for measurement in measured(parts, detectors, arguments.data.resolve()):
        old = read_json(RESULTS)["rows"] if RESULTS.is_file() else []
        write_json(RESULTS, {"rows": _merged(old, [measurement], list(plan["detectors"]))})
        print(f"{RESULTS}: {measurement['part']}, {measurement['detector']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
