"""A fitted model is a directory that proves itself intact, holds no pickle, and scores as it did."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from conftest import OPTIONS, REGIONS, fitted
from gonogo import files
from gonogo.calibration.regions import PixelThreshold, RegionRule
from gonogo.calibration.threshold import certify
from gonogo.errors import IntegrityError
from gonogo.files import SCHEMA, read_sealed, seal
from gonogo.model.saved import load_model, save_model

RULE = RegionRule(
    replace(REGIONS, roi=[[0.1, 0.1], [0.9, 0.2], [0.5, 0.9]], closing=2),
    PixelThreshold(12.5, "quantile", 1e-3, 9e-4, 2000, 20),
)


@pytest.fixture(scope="module")
def saved(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    inspector = fitted("patchcore", digits, regions=RULE.params)
    threshold = certify(
        np.arange(40.0), [str(i) for i in range(40)], false_alarm_rate=0.1, confidence=0.95, margin=1e-3
    )
    save_model(
        folder,
        inspector,
        threshold,
        RULE,
        category="digit_0",
        detector_name="patchcore",
        options=OPTIONS["patchcore"],
        data_fingerprint=digits.fingerprint,
        fitted_on=[],
        calibrated_on=[],
    )
    return folder, inspector, threshold


def test_a_loaded_model_scores_bit_for_bit_as_the_fitted_one(saved, pixels):
    folder, inspector, threshold = saved
    model = load_model(folder)
    assert (model.threshold, model.rule) == (threshold, RULE)
    for loaded, original in zip(model.inspector.inspect(pixels), inspector.inspect(pixels), strict=True):
        np.testing.assert_array_equal(loaded, original)


def test_a_model_whose_files_change_after_their_check_is_the_one_that_was_checked(saved, pixels, tmp_path, monkeypatch):
    folder, real = shutil.copytree(saved[0], tmp_path / "model"), files.regular_bytes

    def regular_bytes(path, **limits):
        data = real(path, **limits)
        path.write_bytes(b"changed")
        return data

    monkeypatch.setattr(files, "regular_bytes", regular_bytes)
    scores, _ = load_model(folder).inspector.inspect(pixels)
    np.testing.assert_array_equal(scores, saved[1].inspect(pixels)[0])


def test_a_changed_byte_is_refused(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path / "model")
    tensors = tmp_path / "model" / "detector.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        load_model(tmp_path / "model")


def test_a_changed_threshold_is_refused(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path / "model")
    manifest = tmp_path / "model" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["threshold"]["threshold"] *= 2
    manifest.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match="was changed after it was written"):
        load_model(tmp_path / "model")


def test_a_missing_file_is_refused(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path / "model")
    (tmp_path / "model" / "detector.safetensors").unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        load_model(tmp_path / "model")
    with pytest.raises(IntegrityError, match="no manifest"):
        load_model(tmp_path / "nothing")


def test_a_model_of_another_format_is_refused(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path / "model")
    content = read_sealed(saved[0]) | {"schema": SCHEMA - 1}
    seal(tmp_path / "model", content, ["detector.safetensors"])
    with pytest.raises(IntegrityError, match=f"format {SCHEMA - 1}, this gonogo reads {SCHEMA}; fit or export again"):
        load_model(tmp_path / "model")


def test_nothing_in_a_model_is_a_pickle(saved):
    for path in saved[0].iterdir():
        assert path.suffix in {".json", ".safetensors"}
        assert b"\x80\x04\x95" not in path.read_bytes()[:64]


def test_the_manifest_names_the_weights_and_the_versions(saved):
    manifest = json.loads((saved[0] / "manifest.json").read_text())
    assert manifest["detector"]["facts"]["weights"] == "random"  # as the contract suite has them
    assert set(manifest["versions"]) >= {"gonogo", "python", "torch", "timm"}
