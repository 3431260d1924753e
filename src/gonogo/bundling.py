"""Write a bundle, which only evidence allows; docs/line.md says what is in it."""

import shutil
from pathlib import Path

import onnx

from gonogo.bank_pictures import bank_files
from gonogo.export import describe
from gonogo.files import write_manifest
from gonogo.int8 import Int8
from gonogo.manifest import Manifest
from gonogo.model import Model, bundle_facts, versions
from gonogo.model_card import Measured, card_text
from gonogo.parity import Parity
from gonogo.scorer import ONNX_FILE

REPORT, MODEL_CARD = "parity.json", "model_card.md"


def write_bundle(
    folder: Path,
    onnx_path: Path,
    model: Model,
    parity: Parity,
    manifest: Manifest,
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
    proof, own = parity.metrics(), {}
    if int8 is not None:
        int8.require_agreement()
        proof |= int8.metrics()
        own = {"threshold": int8.threshold.to_dict(), "probability": None, "regions": int8.rule.to_dict()}
    facts = bundle_facts(model) | own
    folder.mkdir(parents=True, exist_ok=True)
    if own:
        proto = onnx.load(onnx_path)
        describe(proto, facts)
        onnx.save(proto, folder / ONNX_FILE)
    else:
        shutil.copyfile(onnx_path, folder / ONNX_FILE)
    content = facts | {"parity": proof, "runtime": versions("onnxruntime")}
    beside = {REPORT: parity.report(), MODEL_CARD: card_text(content, measured).encode()} | bank_files(model, manifest)
    for name, data in beside.items():
        (folder / name).write_bytes(data)
    write_manifest(folder, content, [ONNX_FILE, *beside])
