"""What anomalib's own networks give is what gonogo scores, and nothing of a checkpoint is run that could be code.

The contract suite, export and parity take `anomalib` in too, where its environment is. A small script that answers
like it stands in for the environment where only what gonogo does around it is tested.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import ANOMALIB, CALIBRATE, REGIONS, needs_anomalib
from gonogo.calibration.threshold import threshold_of
from gonogo.detectors.anomalib.anomalib import Anomalib
from gonogo.detectors.options import AnomalibOptions
from gonogo.errors import ExportError, IntegrityError, MissingExtraError, WeightsError, WorkerError
from gonogo.export.graph import export_onnx
from gonogo.files import sha256_of
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import inspect_calibrate
from gonogo.model.inspector import Inspector
from gonogo.model.saved import load_model, save_model

# Score: the mean of the pixels. Map: the mean of the channels, less 100, or the score alone.
STAND_IN = """#!{python}
import sys
sys.path.insert(0, {source!r})
import numpy as np
from gonogo.detectors.anomalib.worker import receive, send
size = int(sys.argv[4])
while True:
    try:
        asked = receive(sys.stdin.buffer)
    except EOFError:
        break
    if "checkpoint" in asked:
        answer = {{"version": np.array("9.9"), "grid": np.array({grid})}}
    elif "opset" in asked:
        answer = {{"error": np.array("no such operator")}}
    else:
        pixels = asked["pixels"]
        answer = {{"score": pixels.mean((1, 2, 3)), "anomaly_map": {anomaly_map}}}
    send(sys.stdout.buffer, **answer)
"""
MAP = {"grid": "[size, size]", "anomaly_map": "pixels.mean(1) - 100"}
NO_MAP = {"grid": "[1, 1]", "anomaly_map": "pixels.mean((1, 2, 3))[:, None, None]"}


def stand_in(folder: Path, answers: dict[str, str]) -> dict[str, object]:
    """Options of a detector whose interpreter and checkpoint are stand-ins in `folder`."""
    python, checkpoint = folder / "python", folder / "model.ckpt"
    source = str(Path(__file__).resolve().parents[2] / "src")
    python.write_text(STAND_IN.format(python=sys.executable, source=source, **answers))
    python.chmod(0o755)
    checkpoint.write_bytes(b"what anomalib wrote")
    return {
        "model": "padim",
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256_of(checkpoint),
        "python": str(python),
        "image_size": 8,
    }


def test_a_model_is_whole_without_the_checkpoints_file_and_proves_its_bytes(digits, pixels, tmp_path):
    options = stand_in(tmp_path, MAP)
    inspector = Inspector(Anomalib(AnomalibOptions(**options)))
    inspector.detector.fit(FitImages(inspector, digits, digits.with_role("fit")[:8]), seed=0)
    good, rule = inspect_calibrate(inspector, digits, REGIONS)
    threshold = threshold_of(good.scores, good.groups, CALIBRATE, seed=17)
    about = {"category": "digit_0", "detector_name": "anomalib", "data_fingerprint": digits.fingerprint}
    about |= {"fitted_on": [], "calibrated_on": good.score_rows()}
    save_model(tmp_path / "model", inspector, threshold, rule, options=options, **about)
    Path(options["checkpoint"]).unlink()
    model = load_model(tmp_path / "model")
    for ours, theirs in zip(model.inspector.inspect(pixels), inspector.inspect(pixels), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.manifest["detector"]["facts"]["anomalib"] == "9.9"
    assert model.manifest["detector"]["facts"]["checkpoint_sha256"] == options["checkpoint_sha256"]
    state = inspector.detector.state_dict() | {"checkpoint_": torch.zeros(4, dtype=torch.uint8)}
    with pytest.raises(IntegrityError, match="fit again"):
        Inspector(Anomalib(AnomalibOptions(**options)).restore(state)).inspect(pixels)


def test_a_map_that_goes_below_zero_is_shifted_by_its_lowest_value_on_the_fit_images(tmp_path):
    detector = Anomalib(AnomalibOptions(**stand_in(tmp_path, MAP)))
    fit = torch.full((1, 3, 8, 8), 70.0)
    fit[0, :, 2, 3] = 40.0  # 60 below zero
    detector.fit([fit, fit + 5], seed=0)
    probe = torch.full((1, 3, 8, 8), 90.0)
    probe[0, :, 0, 0] = 10.0
    score, grid = detector(probe)
    assert grid[0, 4, 4] == 50.0
    assert grid[0, 0, 0] == 0.0
    assert score[0] == probe.mean()
    assert detector.fit_facts()["map_floor"] == -60.0


def test_a_map_that_stays_above_zero_is_left_alone(tmp_path):
    detector = Anomalib(AnomalibOptions(**stand_in(tmp_path, MAP))).fit([torch.full((1, 3, 8, 8), 130.0)], seed=0)
    assert detector.fit_facts()["map_floor"] == 0.0
    assert float(detector(torch.full((1, 3, 8, 8), 120.0))[1].max()) == 20.0


def test_a_network_without_a_map_says_so_also_when_it_is_loaded_again(tmp_path):
    options = stand_in(tmp_path, NO_MAP)
    fitted = Anomalib(AnomalibOptions(**options)).fit([torch.full((1, 3, 8, 8), 50.0)], seed=0)
    assert not fitted.localises
    assert not Anomalib(AnomalibOptions(**options)).restore(fitted.state_dict()).localises
    assert Anomalib(AnomalibOptions(**stand_in(tmp_path, MAP))).fit([torch.zeros(1, 3, 8, 8)], seed=0).localises


def test_a_network_that_cannot_be_exported_says_where_its_results_end(tmp_path):
    detector = Anomalib(AnomalibOptions(**stand_in(tmp_path, MAP))).fit([torch.zeros(1, 3, 8, 8)], seed=0)
    with pytest.raises(ExportError, match=r"dvc repro evaluate\): no such operator"):
        export_onnx(Inspector(detector), tmp_path / "gauge.onnx", metadata={}, opset=18)
    assert not (tmp_path / "gauge.onnx").exists()


def test_a_missing_environment_names_the_target_that_makes_it(tmp_path):
    options = stand_in(tmp_path, MAP) | {"python": ".nowhere/bin/python"}
    with pytest.raises(MissingExtraError, match=r"'\.nowhere/bin/python'.*`make anomalib`"):
        Anomalib(AnomalibOptions(**options)).fit([torch.zeros(1, 3, 8, 8)], seed=0)


def test_an_environment_without_anomalib_is_told(tmp_path):
    options = stand_in(tmp_path, MAP) | {"python": sys.executable}
    with pytest.raises(WorkerError, match="No module named 'anomalib'"):
        Anomalib(AnomalibOptions(**options)).fit([torch.zeros(1, 3, 8, 8)], seed=0)


def test_a_checkpoint_is_taken_only_with_its_hash(tmp_path):
    options = stand_in(tmp_path, MAP)
    for change, said in (
        ({"checkpoint_sha256": None}, r"set fit\.checkpoint_sha256 to the SHA-256 that you trust"),
        ({"checkpoint_sha256": "0" * 64}, "do not use this file"),
        ({"checkpoint": "nowhere.ckpt"}, r"fit\.checkpoint is 'nowhere\.ckpt', and there is no such file"),
    ):
        with pytest.raises(WeightsError, match=said):
            Anomalib(AnomalibOptions(**(options | change))).fit([torch.zeros(1, 3, 8, 8)], seed=0)


# With anomalib's environment


def real(checkpoint: Path, **options: object) -> Anomalib:
    """The detector of a real checkpoint, named as its model is."""
    return Anomalib(
        AnomalibOptions(
            **{
                "model": checkpoint.stem,
                "checkpoint": str(checkpoint),
                "checkpoint_sha256": sha256_of(checkpoint),
                "python": str(ANOMALIB),
                "image_size": 64,
            }
            | options
        )
    )


@needs_anomalib
@pytest.mark.slow
@pytest.mark.parametrize("model", ["padim", "patchcore"])
def test_score_and_map_are_those_of_anomalibs_network_in_memory(anomalib_trained, model):
    expected = np.load(anomalib_trained / "expected.npz")
    pixels = torch.from_numpy(expected["pixels"])
    score, anomaly_map = real(anomalib_trained / f"{model}.ckpt").fit([pixels], seed=0)(pixels)
    np.testing.assert_allclose(score.numpy(), expected[f"{model}_score"], rtol=1e-5)
    np.testing.assert_allclose(anomaly_map.numpy(), expected[f"{model}_map"], rtol=1e-5)
    assert np.ptp(expected[f"{model}_score"]) > 0


@needs_anomalib
@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_its_options_is_refused(anomalib_trained):
    for options, said in (
        ({"image_size": 32}, r"image_size is 32, the checkpoint resizes to 64 x 64; set fit\.image_size to 64"),
        ({"model": "padimm"}, r"fit\.model is 'padimm'; anomalib has .*Patchcore"),
        ({"model": "Patchcore"}, "the checkpoint does not make a Patchcore"),
    ):
        with pytest.raises(WeightsError, match=said):
            real(anomalib_trained / "padim.ckpt", **options).fit([torch.zeros(1, 3, 64, 64)], seed=0)


# Rewrites a checkpoint with anomalib's interpreter, in a way that gonogo must refuse.
SPOIL = """
import os, sys, torch
checkpoint = torch.load(sys.argv[1], weights_only=True)
if sys.argv[3] == "code":
    class Code:
        def __reduce__(self):
            return os.mkdir, (sys.argv[4],)
    checkpoint["hyper_parameters"]["layers"] = Code()
else:
    crop = {"class_path": "torchvision.transforms.v2.CenterCrop", "init_args": {"size": [64, 64]}}
    checkpoint["anomalib_pre_processor_config"]["transform"]["init_args"]["transforms"].append(crop)
torch.save(checkpoint, sys.argv[2])
"""


@needs_anomalib
@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"),
    [("code", "could run any code and are not loaded"), ("crop", r"has CenterCrop\(size=.*only Resize and Normalize")],
)
def test_a_checkpoint_with_code_or_a_crop_is_refused_and_nothing_of_it_is_run(anomalib_trained, tmp_path, how, said):
    proof = tmp_path / "it was run"
    arguments = [str(anomalib_trained / "padim.ckpt"), str(tmp_path / "padim.ckpt"), how, str(proof)]
    subprocess.run([str(ANOMALIB), "-I", "-c", SPOIL, *arguments], check=True)
    with pytest.raises(WeightsError, match=said):
        real(tmp_path / "padim.ckpt").fit([torch.zeros(1, 3, 64, 64)], seed=0)
    assert not proof.exists()
