"""The facts of a category's data card: counts, defect types, sizes, problems, acceptances, as JSON values."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from gonogo.data.prepare.prepare import Prepared


def count_metrics(prepared: Prepared) -> dict[str, int | str]:
    """Numbers of images by role and defect type, numbers of problems, and the data's fingerprint: a metrics file."""
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


def card_facts(prepared: Prepared, *, category: str, source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the card shows apart from its pictures, as JSON values.

    Args:
        source: name of the layout that the images were read by.
        options: of that layout.
    """
    images = prepared.images
    types: dict[str, Counter[str]] = {}
    for image in images:
        if image.sample.label == 1:
            seen = types.setdefault(image.sample.defect_type, Counter())
            seen["images"] += 1
            seen["masks"] += image.mask.usable
            seen["without_mask"] += image.sample.mask is None
            seen["masks_at_fault"] += image.mask.fault is not None
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
        "excluded": [asdict(one) for one in prepared.excluded],
        "accepted": [asdict(acceptance) for acceptance in prepared.accepted],
        "rejects": [{"image": reject.sample.name, "reason": reject.reason} for reject in prepared.rejects],
    }


def _by_count(values: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))
