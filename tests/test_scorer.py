"""The gauge on the line: a bundle scores like the reference, without torch, and a tampered one is refused."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from gonogo.errors import ImageError, IntegrityError
from gonogo.files import write_manifest
from gonogo.inspection import inspect_records
from gonogo.scorer import Scorer


def of_label(digits, label):
    record = next(record for record in digits.with_role("test") if record.label == label)
    return digits.path_of(record)


def test_verdicts_are_the_references_verdicts(bundle, digits_model, digits):
    records = digits.with_role("test")
    expected = inspect_records(digits_model.inspector, digits, records)
    scorer = Scorer(bundle)
    for record, score in zip(records, expected.scores, strict=True):
        verdict = scorer.score_image(digits.path_of(record))
        assert verdict.score == pytest.approx(float(score), rel=1e-4)
        assert verdict.anomalous == (float(score) >= scorer.threshold)
        assert verdict.anomaly_map.shape == (record.height, record.width)


def test_it_runs_with_nothing_but_onnxruntime_numpy_and_pillow(bundle, digits):
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "scipy", "sklearn", "skimage", "onnx", "pydantic", "ruamel",
                                  "safetensors", "dvc", "jinja2", "torchvision"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Refuse())
from gonogo.cli import main
sys.exit(main(["score", {str(bundle)!r}, {str(of_label(digits, 0))!r}, {str(of_label(digits, 1))!r}]))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "reject" in result.stdout
    assert "blocked" not in result.stderr


def test_a_tampered_or_unproven_bundle_is_refused(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "tampered")
    gauge = tmp_path / "tampered" / "gauge.onnx"
    gauge.write_bytes(gauge.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        Scorer(tmp_path / "tampered")

    shutil.copytree(bundle, tmp_path / "blind")
    write_manifest(tmp_path / "blind", {"schema": 1, "category": "digit_0"}, ["gauge.onnx"])
    with pytest.raises(IntegrityError, match="no threshold"):
        Scorer(tmp_path / "blind")

    write_manifest(tmp_path / "blind", {"schema": 99, "category": "digit_0"}, ["gauge.onnx"])
    with pytest.raises(IntegrityError, match="bundle format 99"):
        Scorer(tmp_path / "blind")


def test_an_unreadable_image_is_an_error_and_never_a_score(bundle, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(ImageError, match="broken"):
        Scorer(bundle).score_image(tmp_path / "broken.png")


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_not_a_number_is_an_error_and_never_a_pass(bundle, score):
    with pytest.raises(IntegrityError, match=f"digit_0: the bundle gave the score {score}"):
        Scorer(bundle).judge(np.array([1.0, score], dtype=np.float32), np.zeros((2, 3, 3)))


def test_a_score_on_the_threshold_is_a_reject(bundle):
    scorer = Scorer(bundle)
    on, below = scorer.judge(np.array([scorer.threshold, np.nextafter(scorer.threshold, 0)]), np.zeros((2, 3, 3)))
    assert on.anomalous
    assert not below.anomalous
