"""The gauge on the line: a bundle scores like the reference, without torch, and a tampered one is refused."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from conftest import OPTIONS, fitted
from gonogo.cli import main
from gonogo.errors import ImageError, IntegrityError
from gonogo.export import export_onnx
from gonogo.files import write_manifest
from gonogo.inspection import inspect_records
from gonogo.model import load_model, save_model
from gonogo.parity import ParityParams, bundle_facts, compare, write_bundle
from gonogo.scorer import Scorer
from gonogo.threshold import certify


@pytest.fixture(scope="module")
def bundle(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gauge")
    inspector = fitted("pca", digits)
    good = inspect_records(inspector, digits, digits.with_role("calibrate"))
    threshold = certify(good.scores, good.groups, false_alarm_rate=0.1, confidence=0.95, margin=1e-3)
    save_model(
        folder / "model",
        inspector.detector,
        threshold,
        category="digit_0",
        detector_name="pca",
        options=OPTIONS["pca"],
        data_fingerprint=digits.fingerprint,
    )
    model = load_model(folder / "model")
    export_onnx(model.inspector, folder / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    parity = compare(model, folder / "gauge.onnx", digits, ParityParams(1e-4, [1, 8], [[9, 9], [30, 20]]))
    write_bundle(folder / "bundle", folder / "gauge.onnx", model, parity)
    return folder / "bundle"


def of_label(digits, label):
    record = next(record for record in digits.with_role("test") if record.label == label)
    return digits.path_of(record)


def test_verdicts_are_the_references_verdicts(bundle, digits):
    records = digits.with_role("test")
    expected = inspect_records(load_model(bundle.parent / "model").inspector, digits, records)
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
    write_manifest(tmp_path / "blind", {"category": "digit_0"}, ["gauge.onnx"])
    with pytest.raises(IntegrityError, match="no threshold"):
        Scorer(tmp_path / "blind")


def test_an_unreadable_image_is_an_error_and_never_a_score(bundle, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(ImageError, match="broken"):
        Scorer(bundle).score_image(tmp_path / "broken.png")


def test_a_score_on_the_threshold_is_a_reject(bundle):
    scorer = Scorer(bundle)
    on, below = scorer.judge(np.array([scorer.threshold, np.nextafter(scorer.threshold, 0)]), np.zeros((2, 3, 3)))
    assert on.anomalous
    assert not below.anomalous


# The command


def test_score_passes_good_parts_with_status_0_and_rejects_with_1(bundle, digits, capsys):
    passing = next(
        str(digits.path_of(record))
        for record in digits.with_role("fit")
        if not Scorer(bundle).score_image(digits.path_of(record)).anomalous
    )
    assert main(["score", str(bundle), passing]) == 0
    assert capsys.readouterr().out.startswith("pass")
    assert main(["score", str(bundle), passing, str(of_label(digits, 1))]) == 1


def test_score_goes_on_after_an_unreadable_file_and_says_so(bundle, digits, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    status = main(["score", str(bundle), str(tmp_path / "broken.png"), str(of_label(digits, 1)), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == 3
    assert report["ok"] is False
    assert (report["n_files"], report["n_rejected"], report["n_errors"]) == (2, 1, 1)
    assert "broken.png" in report["results"][0]["error"]
    assert report["results"][1]["verdict"] == "reject"
    assert report["certified_false_alarm_rate"] <= 0.1


def test_a_missing_bundle_is_one_sentence_and_status_4(tmp_path, capsys):
    assert main(["score", str(tmp_path / "none"), "a.png"]) == 4
    assert "manifest.json cannot be read" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "none"), "a.png", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "IntegrityError"


def test_version_and_doctor_speak_for_people_and_for_agents(capsys):
    import gonogo

    assert main(["version"]) == 0
    assert capsys.readouterr().out.strip() == gonogo.__version__
    assert main(["doctor"]) == 0
    assert "ready to score" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    findings = {f["what"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["onnxruntime"]["ok"]
    assert findings["torch"]["needed"] is False


def test_doctor_says_how_to_get_what_is_missing(monkeypatch, capsys):
    from importlib import metadata

    real = metadata.version

    def without_onnxruntime(name):
        if name in ("onnxruntime", "timm"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", without_onnxruntime)
    assert main(["doctor"]) == 4
    text = capsys.readouterr().out
    assert "pip install gonogo\n" in text
    assert "pip install 'gonogo[pipeline]'" in text
    assert "not ready to score" in text


def test_wrong_usage_is_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["score"])
    assert stop.value.code == 2
    assert "BUNDLE" in capsys.readouterr().err
