"""Write a bundle, provided that parity holds; docs/line.md lists its files."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from gonogo.compute.versions import versions
from gonogo.export.bank_pictures import bank_files
from gonogo.export.good_distances import good_distances
from gonogo.export.graph import describe
from gonogo.export.int8 import Int8
from gonogo.export.model_card import CategoryResults, card_text
from gonogo.export.parity import Parity
from gonogo.export.patch_rule import patch_rule
from gonogo.files import seal
from gonogo.images.dataset import Dataset
from gonogo.inference.scorer import ONNX_FILE
from gonogo.model.saved import Model, bundle_facts

REPORT, MODEL_CARD = "parity.json", "model_card.md"


def write_bundle(
    folder: Path,
    onnx_path: Path,
    model: Model,
    parity: Parity,
    dataset: Dataset,
    results: CategoryResults,
    int8: Int8 | None = None,
) -> None:
    """Write the ONNX file, the parity report, the model card, and a manifest with hashes, threshold and parity figures.

    Args:
        onnx_path: the file that `parity` was checked on; with `int8` the file in eight bits, whose bundle has its own
            threshold and rule, the figures of both checks, and no probability.
        results: for the model card, and the recall of each type of defect.

    Raises:
        ParityError: parity does not hold, or the gauge in eight bits differs too much.
        DataError: a fit image of the model is not in the `dataset`.
        ImageError: a fit image cannot be read.
    """
    parity.require_agreement()
    figures, facts, gauge = parity.metrics(), bundle_facts(model), onnx_path.read_bytes()
    if int8 is not None:
        int8.require_agreement()
        figures |= int8.metrics()
        facts |= {"threshold": int8.threshold.to_dict(), "probability": None, "regions": int8.rule.to_dict()}
        if facts["features"] is not None:  # of numbers that this file alone gives, so that no other one has their space
            facts["features"] |= {"space": hashlib.sha256(gauge).hexdigest()}
        gauge = _with_metadata(gauge, facts)
    rule = patch_rule(model.inspector)
    content = facts | {"parity": figures, "runtime": versions("onnxruntime")}
    content["patches"] = None if rule is None else rule.to_dict()
    if facts["features"] is not None:
        content["good_distances"] = good_distances(onnx_path, dataset)
    content["recall_by_type"] = recall_by_type(results.rows, int8)
    files = {ONNX_FILE: gauge, REPORT: parity.report(), MODEL_CARD: card_text(content, results).encode()}
    files |= bank_files(model, dataset)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    seal(folder, content, list(files))


def recall_by_type(rows: Sequence[Mapping[str, Any]], int8: Int8 | None) -> dict[str, list[int]]:
    """How many of the defective test images of each type are rejected, and how many there are.

    Args:
        rows: per-image records of the float gauge.
        int8: the gauge that the bundle has instead; None: the float gauge itself.
    """
    rejected = {row["image"]: row["verdict"] == "reject" for row in rows}
    if int8 is not None:
        rejected |= zip(int8.images, (int8.int8_scores >= int8.threshold.threshold).tolist(), strict=True)
    found: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda row: str(row["defect_type"])):
        if row["role"] == "test" and int(row["label"]):
            counts = found.setdefault(row["defect_type"], [0, 0])
            counts[0] += rejected[row["image"]]
            counts[1] += 1
    return found


def _with_metadata(gauge: bytes, facts: Mapping[str, Any]) -> bytes:
    """The bytes of an ONNX file whose metadata are replaced by `facts`."""
    proto = onnx.load_from_string(gauge)
    describe(proto, facts)
    return bytes(proto.SerializeToString())
