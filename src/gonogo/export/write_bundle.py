"""Write a bundle, which only evidence allows; docs/line.md says what is in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from gonogo.compute.versions import versions
from gonogo.export.bank_pictures import bank_files
from gonogo.export.graph import describe
from gonogo.export.int8 import Int8
from gonogo.export.model_card import Measured, card_text
from gonogo.export.parity import Parity
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
    measured: Measured,
    int8: Int8 | None = None,
) -> None:
    """Write the ONNX file, what goes with it, and a manifest with hashes, the threshold and the proof.

    Args:
        onnx_path: the file that `parity` is of; with `int8` the file in eight bits, which gets its own threshold and
            rule, both proofs, and no probability.
        measured: what the model card tells of the data and the test images.

    Raises:
        ParityError: the evidence does not allow it.
        DataError: a fit image of the model is not in the `manifest`.
        ImageError: one cannot be read.
    """
    parity.require_agreement()
    proof, facts, gauge = parity.metrics(), bundle_facts(model), onnx_path.read_bytes()
    if int8 is not None:
        int8.require_agreement()
        proof |= int8.metrics()
        facts |= {"threshold": int8.threshold.to_dict(), "probability": None, "regions": int8.rule.to_dict()}
        gauge = _described(gauge, facts)
    content = facts | {"parity": proof, "runtime": versions("onnxruntime")}
    files = {ONNX_FILE: gauge, REPORT: parity.report(), MODEL_CARD: card_text(content, measured).encode()}
    files |= bank_files(model, dataset)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    seal(folder, content, list(files))


def _described(gauge: bytes, facts: Mapping[str, Any]) -> bytes:
    """An ONNX file with other facts in it."""
    proto = onnx.load_from_string(gauge)
    describe(proto, facts)
    return bytes(proto.SerializeToString())
