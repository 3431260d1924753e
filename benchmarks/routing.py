"""What the router tells apart, by what it sees of an image: docs/line.md.

    python benchmarks/routing.py --data FOLDER [--sets NAME ...]

Rows of numbers of good and test images are compared as the router does, with the rows of the fit images that cover the
others best, and limits certified on the calibrate images. Rows that are measured again replace the old ones in
benchmarks/routing.json; `make readme` then writes the table of docs/line.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gonogo.calibration.threshold import CalibrateParams, certify
from gonogo.compute.versions import versions
from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.export.router import Router, RouterParams, categories_astray, own_test_images, routing_metrics
from gonogo.images.dataset import Dataset, evenly_spaced
from gonogo.images.roles import Role
from gonogo.params import build, read_yaml
from parts import SOURCES, prepare_part
from results import ROOT, Row, add_row, origin

RESULTS = ROOT / "benchmarks" / "routing.json"
THREADS, MOST = 1, 40  # images of a role and label
ROLES: tuple[Role, ...] = ("fit", "calibrate", "test")
DIGITS: dict[str, dict[str, Any]] = {f"digit_{n}": {"source": "digits", "normal_class": n} for n in range(10)}
UNLIKE = {name: SOURCES[name] for name in ("hazelnut", "cookie", "brick", "grass", "gravel")}
SETS = {"ten digits": DIGITS, "five unlike parts": UNLIKE}
# What is compared: cells along a side, power of the whitening within categories, neighbours whose mean distance counts.
SEEN: dict[str, tuple[int, float, int]] = {
    "mean over the image": (1, 0.0, 1),
    "mean over the image, whitened by 0.5": (1, 0.5, 1),
    "mean over the image, 3 neighbours": (1, 0.0, 3),
    "2 × 2 parts": (2, 0.0, 1),
    "2 × 2 parts, whitened by 0.5": (2, 0.5, 1),
    "4 × 4 parts": (4, 0.0, 1),
}


@dataclass(frozen=True)
class Category:
    """The rows (n, d) of the images of each role of a category."""

    dataset: Dataset
    rows: Mapping[Role, Tensor]


def categories_of(router: Router, datasets: Mapping[str, Dataset]) -> dict[str, Category]:
    """At most `MOST` images of each role and label of each category; of test images, those that are its own."""
    test, found = own_test_images(datasets), {}
    for name, dataset in datasets.items():
        kept = {}
        for role in ROLES:
            records = test[name] if role == "test" else dataset.with_role(role)
            some = (evenly_spaced([record for record in records if record.label == label], MOST) for label in (0, 1))
            kept[role] = [record for part in some for record in part]
        thinned = replace(dataset, records=tuple(record for records in kept.values() for record in records))
        found[name] = Category(thinned, {role: router.rows(dataset, records) for role, records in kept.items()})
    return found


def coarser(router: Router, categories: Mapping[str, Category], cells: int) -> dict[str, Category]:
    """The rows for fewer cells along a side: means of those of the router, whose parts of the image have one size."""
    backbone = router.features.backbone
    assert backbone is not None
    side = router.params.cells // cells
    channels = [int(backbone.model.feature_info[layer]["num_chs"]) for layer in backbone.layers]

    def fewer(rows: Tensor) -> Tensor:
        layers = torch.split(rows, [router.params.cells**2 * n for n in channels], dim=1)
        return torch.cat(
            [layer.view(len(layer), cells, side, cells, side, -1).mean(dim=(2, 4)).flatten(1) for layer in layers],
            dim=1,
        )

    return {
        name: replace(category, rows={role: fewer(rows) for role, rows in category.rows.items()})
        for name, category in categories.items()
    }


def whitened(categories: Mapping[str, Category], power: float) -> dict[str, Category]:
    """The rows along the principal axes within categories, divided by a power of their standard deviation."""
    fit = [category.rows["fit"].double() for category in categories.values()]
    away = [rows - rows.mean(dim=0) for rows in fit]
    scatter = torch.stack([rows.T @ rows / len(rows) for rows in away]).mean(dim=0)
    variances, axes = torch.linalg.eigh(scatter)
    share = len(scatter) / (sum(map(len, fit)) + len(scatter))
    shrunk = (1 - share) * variances + share * variances.mean()
    matrix = (axes * shrunk ** (-power / 2)).float()
    return {
        name: replace(category, rows={role: rows @ matrix for role, rows in category.rows.items()})
        for name, category in categories.items()
    }


def judged(categories: Mapping[str, Category], params: RouterParams, calibrate: CalibrateParams, n: int) -> Row:
    """The metrics of a router that compares these rows by the mean of the distances to the `n` nearest."""
    known = []
    for category in categories.values():
        rows = category.rows["fit"].contiguous()
        known.append(rows[greedy_coreset(rows, min(params.images, len(rows))).indices])

    def distances(rows: Tensor) -> np.ndarray:
        each = [torch.cdist(rows, own).topk(n, dim=1, largest=False).values.mean(dim=1) for own in known]
        return torch.stack(each, dim=1).numpy()

    limits = []
    for number, category in enumerate(categories.values()):
        record = certify(
            distances(category.rows["calibrate"])[:, number],
            [one.group_id for one in category.dataset.with_role("calibrate")],
            false_alarm_rate=calibrate.false_alarm_rate,
            confidence=calibrate.confidence,
            margin=calibrate.margin,
        )
        limits.append(params.slack * record.threshold)
    found = {name: distances(category.rows["test"]) for name, category in categories.items()}
    datasets = {name: category.dataset for name, category in categories.items()}
    labels = {name: np.array([r.label for r in dataset.with_role("test")]) for name, dataset in datasets.items()}
    metrics = routing_metrics(found, labels, np.array(limits))
    left_out = categories_astray(found, labels, np.array(limits), max_astray_rate=params.max_astray_rate)
    return {
        "accuracy": metrics["accuracy"],
        "accuracy_low": min(metrics[f"accuracy.{name}"] for name in categories),
        "wrong_rate": metrics["wrong_rate"],
        "stranger_rate": metrics["stranger_rate"],
        "left_out": [one.name for one in left_out],
        "n_categories": len(categories),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every row, print each when it is there, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where the parts' folders are")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    standing = read_yaml(ROOT / "params.yaml")
    params = build(RouterParams, standing["router"], where="params.yaml: router")
    calibrate = build(CalibrateParams, standing["calibrate"], where="params.yaml: calibrate")
    about = origin(THREADS, versions("torch", "timm", "numpy"))
    finest = max(cells for cells, *_ in SEEN.values())
    router = Router(replace(params, cells=finest))  # all others see means of what it sees
    assert router.features.backbone is not None
    router.features.backbone.load(params.weights, params.weights_sha256)
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as place:
            datasets = {
                category: prepare_part(
                    category, source, arguments.data, Path(place) / category, progress=lambda *_: None
                ).dataset
                for category, source in SETS[name].items()
            }
            all_seen = categories_of(router, datasets)
        for what, (cells, power, n) in SEEN.items():
            seen = coarser(router, all_seen, cells)
            rows = whitened(seen, power) if power else seen
            row = {"set": name, "seen": what, **judged(rows, params, calibrate, n), **about}
            add_row(arguments.out, row, key=("set", "seen"))
            print({key: value for key, value in row.items() if key not in about}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
