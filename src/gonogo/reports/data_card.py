"""The data card of a category: what was found, as numbers, as JSON and as a page with pictures."""

import base64
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gonogo.data.prepare.prepare import Prepared
from gonogo.images.dataset import Dataset, Record
from gonogo.images.roles import ROLES
from gonogo.reports.drawing import outlined
from gonogo.reports.pages import render

TILE, PER_KIND = 132, 8


def count_metrics(prepared: Prepared) -> dict[str, int | str]:
    """Counts by role and defect type, of what is wrong, and the fingerprint, as a flat metrics file."""
    records = prepared.dataset.records
    roles = Counter((record.role, record.label) for record in records)
    test = [record for record in records if record.role == "test"]
    counts: dict[str, int | str] = {
        "n_fit": roles["fit", 0] + roles["fit", 1],
        "n_fit_defective": roles["fit", 1],
        "n_calibrate": roles["calibrate", 0],
        "n_calibrate_groups": len({record.group_id for record in records if record.role == "calibrate"}),
        "n_validate": roles["validate", 0] + roles["validate", 1],
        "n_accepted": sum(record.accepted is not None for record in records),
        "n_test_good": roles["test", 0],
        "n_test_defective": roles["test", 1],
        "n_masks": sum(record.mask is not None for record in test),
        "n_left_out": len(prepared.assigned.left_out),
        "n_excluded": prepared.n_excluded,
        "n_rejects": len(prepared.rejects),
        "n_warnings": sum(problem.level == "warning" for problem in prepared.problems),
        "data_fingerprint": prepared.dataset.fingerprint,
    }
    for defect_type, count in sorted(Counter(record.defect_type for record in test if record.label == 1).items()):
        counts[f"n_test.{defect_type}"] = count
    return counts


def describe(prepared: Prepared, *, category: str, source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The card as JSON values: counts, defect types with their masks, sizes, problems, acceptances and rejects."""
    images = prepared.images
    types: dict[str, Counter[str]] = {}
    for image in images:
        if image.sample.label == 1:
            seen = types.setdefault(image.sample.defect_type, Counter())
            seen["images"] += 1
            seen["masks"] += image.mask is not None
            seen["without_mask"] += image.sample.mask is None
            seen["masks_at_fault"] += image.mask_fault is not None
            seen["boxes"] += len(image.sample.boxes)
    return {
        "category": category,
        "source": source,
        "options": dict(options),
        "counts": count_metrics(prepared),
        "defect_types": {name: dict(counts) for name, counts in sorted(types.items())},
        "sizes": _by_count(f"{image.width} x {image.height}" for image in images),
        "modes": _by_count(image.mode for image in images),
        "problems": [asdict(problem) for problem in prepared.problems],
        "accepted": [asdict(acceptance) for acceptance in prepared.accepted],
        "rejects": [{"image": reject.sample.name, "reason": reject.reason} for reject in prepared.rejects],
    }


def write_page(path: Path, card: Mapping[str, Any], dataset: Dataset) -> None:
    """Write the card as one HTML page that holds everything it shows."""
    render(path, "data_card.html.j2", card=card, kinds=list(_kinds(dataset)), tile=TILE)


def _kinds(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Rows of the sample grid: good images by role, then each defect type, a few of each, evenly spaced."""
    rows: dict[tuple[int, str], list[Record]] = {}
    for record in dataset.records:
        kind = record.role if record.label == 0 else record.defect_type
        rows.setdefault((record.label, kind), []).append(record)
    for label, kind in sorted(rows, key=lambda row: (row[0], ROLES.index(row[1]) if row[0] == 0 else row[1])):
        records = rows[label, kind]
        chosen = [records[i] for i in np.unique(np.linspace(0, len(records) - 1, PER_KIND).round().astype(int))]
        yield {
            "title": f"good, {kind}" if label == 0 else kind,
            "n": len(records),
            "tiles": [{"uri": _tile(dataset, record), "name": record.path} for record in chosen],
        }


def _tile(dataset: Dataset, record: Record) -> str:
    mask = dataset.mask_of(record) if record.label == 1 else None
    encoded = io.BytesIO()
    Image.fromarray(outlined(dataset.pixels_of(record), mask, TILE)).save(encoded, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


def _by_count(values: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))
