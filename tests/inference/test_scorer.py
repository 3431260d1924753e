"""The gauge on the line: a bundle scores like the reference, without torch, and a tampered one is refused."""

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from conftest import REGIONS, fitted, modelled
from extras import refusing
from gonogo.calibration.regions import defect_mask, find_regions
from gonogo.cli.main import main
from gonogo.errors import ConfigError, ImageError, IntegrityError
from gonogo.export.graph import export_onnx
from gonogo.files import SCHEMA, read_sealed, seal
from gonogo.images.reading import read_image, write_png
from gonogo.inference import scorer as scorer_module
from gonogo.inference.scorer import Scorer
from gonogo.model.inspection import inspect_records
from gonogo.model.saved import bundle_facts


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
from gonogo.cli.main import main
sys.exit(main(["score", {str(bundle)!r}, {str(of_label(digits, 0))!r}, {str(of_label(digits, 1))!r}]))
"""
    result = subprocess.run([sys.executable, "-c", refusing() + program], capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "reject" in result.stdout
    assert "blocked" not in result.stderr


HEAVY = ("torch", "timm", "scipy", "sklearn", "skimage", "onnx", "pydantic", "ruamel", "jinja2", "dvc")
STARTS = {
    "import gonogo": ("import gonogo", (*HEAVY, "numpy", "onnxruntime", "PIL")),
    "the first verdict": ("sys.argv = ['gonogo', 'score', BUNDLE, IMAGE]; main()", HEAVY),
}


@pytest.mark.parametrize("start", STARTS)
def test_a_process_loads_nothing_heavy(start, bundle, digits):
    """What a start costs is what it imports; benchmarks/starts.py has the seconds."""
    body, unwanted = STARTS[start]
    body = body.replace("BUNDLE", repr(str(bundle))).replace("IMAGE", repr(str(of_label(digits, 0))))
    program = f"""
import sys
def main():
    from gonogo.cli.main import main
    try:
        main()
    except SystemExit as stop:
        assert stop.code == 0
{body}
print()
print("loaded", *sorted(name for name in {unwanted!r} if name in sys.modules))
"""
    result = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "loaded"


@pytest.fixture
def assorted(digits, tmp_path):
    """Files in two sizes, some of them broken: the first, the last, and two between others of one size."""
    paths = [digits.path_of(record) for record in digits.with_role("test")][:17]
    for number in (5, 6, 12):
        paths[number] = tmp_path / f"{number}.png"
        write_png(paths[number], np.full((13, 21, 3), 20 * number, dtype=np.uint8))
    for number in (0, 3, 9, 16):
        paths[number] = tmp_path / f"broken_{number}.png"
        paths[number].write_bytes(b"\x89PNG")
    return paths


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (1, 3), (4, 2), (32, 2)])
def test_each_of_many_files_has_its_own_verdict_or_error_in_its_place(bundle, assorted, batch_size, workers):
    scorer = Scorer(bundle, threads=1)
    outcomes = list(scorer.score_files(assorted, batch_size=batch_size, workers=workers))
    assert len(outcomes) == len(assorted)
    for number, (path, outcome) in enumerate(zip(assorted, outcomes, strict=True)):
        if number in (0, 3, 9, 16):
            assert isinstance(outcome, ImageError)
            assert path.name in str(outcome)
            continue
        expected = scorer.score_image(path)
        assert outcome.score == pytest.approx(expected.score, rel=1e-5)
        assert outcome.anomalous == expected.anomalous
        np.testing.assert_allclose(outcome.anomaly_map, expected.anomaly_map, rtol=1e-4, atol=1e-4)


def test_files_are_asked_for_as_they_are_needed_and_not_all_at_once(bundle, digits):
    path, asked = of_label(digits, 0), []
    outcomes = Scorer(bundle, threads=1).score_files((asked.append(n) or path for n in range(10_000)), workers=2)
    next(outcomes)
    assert len(asked) <= 3
    for _ in range(10):
        next(outcomes)
    assert 11 <= len(asked) <= 13
    outcomes.close()


def test_images_that_are_large_together_go_through_the_network_alone(bundle, digits, monkeypatch):
    scorer = Scorer(bundle)
    monkeypatch.setattr(scorer_module, "BATCH_BYTES", 3 * scorer.working_bytes(8, 8))
    seen, real = [], scorer.run
    monkeypatch.setattr(scorer, "run", lambda pixels: seen.append(len(pixels)) or real(pixels))
    paths = [digits.path_of(record) for record in digits.with_role("test")][:8]
    assert len(list(scorer.score_files(paths, batch_size=8, workers=1))) == 8
    assert seen == [3, 3, 2]


def test_while_one_worker_is_in_the_network_another_decodes(bundle, digits, monkeypatch):
    decoding, real = threading.Event(), scorer_module.read_image
    scorer = Scorer(bundle)
    run, read = scorer.run, []

    def read_image(path):
        read.append(path)
        if len(read) == 2:
            decoding.set()
        return real(path)

    monkeypatch.setattr(scorer_module, "read_image", read_image)
    waited = []
    monkeypatch.setattr(scorer, "run", lambda pixels: waited.append(decoding.wait(20)) or run(pixels))
    assert len(list(scorer.score_files([of_label(digits, 0)] * 3, workers=2))) == 3
    assert waited == [True, True, True]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"workers": 0}])
def test_neither_batch_nor_workers_may_be_nothing(bundle, wrong):
    with pytest.raises(ConfigError, match="both must be at least 1"):
        next(Scorer(bundle).score_files([], **wrong))


@pytest.mark.parametrize(
    "failure",
    [
        scorer_module.runtime.RuntimeException("no memory for the resize"),
        scorer_module.runtime.Fail("a node failed"),
        MemoryError(),
        OSError("the disk of the swap is full"),
        ZeroDivisionError("in a custom node"),
        None,  # the network gives a number that is none
    ],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_whatever_an_image_raises_in_the_network_is_its_own_error_and_no_other_image_waits(
    failure, batch_size, bundle, digits, monkeypatch
):
    scorer = Scorer(bundle, threads=1)
    paths = [digits.path_of(record) for record in digits.with_role("test")][:7]
    poison, real = read_image(paths[2]), scorer.run

    def run(pixels):
        scores, maps = real(pixels)
        hit = (pixels == poison).all(axis=(1, 2, 3))
        if hit.any() and failure is not None:
            raise failure
        return np.where(hit, np.nan, scores), maps

    monkeypatch.setattr(scorer, "run", run)
    outcomes = list(scorer.score_files(paths, batch_size=batch_size))
    assert [isinstance(outcome, ImageError) for outcome in outcomes] == [n == 2 for n in range(7)]
    assert str(paths[2]) in str(outcomes[2])
    with pytest.raises(ImageError, match=r"cannot be scored, 8 x 8 pixels: \w"):
        scorer.score_one(poison, "the image")


def test_an_image_that_needs_more_memory_than_the_machine_has_is_refused_before_it_is_scored(bundle, monkeypatch):
    scorer = Scorer(bundle)
    monkeypatch.setattr(scorer_module, "machine_bytes", lambda: int(scorer.working_bytes(600, 600)))
    scorer.score_one(np.zeros((300, 300, 3), np.uint8), "small")
    monkeypatch.setattr(scorer, "run", None)
    with pytest.raises(ImageError, match=r"large cannot be scored: 700 x 600 pixels need up to .* MB of memory"):
        scorer.score_one(np.zeros((600, 700, 3), np.uint8), "large")


MEASURE = """
import sys
from pathlib import Path
import numpy as np
from gonogo.compute.memory import peak_bytes, resident_bytes
from gonogo.images.reading import decode, file_bytes
from gonogo.inference.scorer import Scorer
bundle, image, height, width = sys.argv[1:]
scorer = Scorer(Path(bundle), threads=1)
scorer.score_one(np.zeros((8, 8, 3), np.uint8), "first")
image = Path(image)
data, before = file_bytes(image), resident_bytes()
scorer.score_one(decode(data, image)[0], image)
print(peak_bytes() - before, scorer.working_bytes(int(height), int(width)))
"""


@pytest.mark.parametrize(("height", "width"), [(2000, 2000), (20_000, 100), (100, 20_000), (65_535, 300)])
def test_the_estimate_of_memory_is_above_what_an_image_takes_and_below_eight_times_of_it(
    height, width, bundle, tmp_path
):
    image = tmp_path / "image.png"
    write_png(image, np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8), compress_level=1)
    command = [sys.executable, "-c", MEASURE, bundle, image, height, width]
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    taken, estimate = map(int, ran.stdout.split())
    assert taken <= estimate <= 8 * taken


def test_a_tampered_or_unproven_bundle_is_refused(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "tampered")
    gauge = tmp_path / "tampered" / "gauge.onnx"
    gauge.write_bytes(gauge.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        Scorer(tmp_path / "tampered")

    shutil.copytree(bundle, tmp_path / "blind")
    seal(tmp_path / "blind", {"schema": SCHEMA, "category": "digit_0"}, ["gauge.onnx"])
    with pytest.raises(IntegrityError, match=r"no valid category, threshold, regions or preprocessing .*'threshold'"):
        Scorer(tmp_path / "blind")


def test_a_bundle_of_another_format_is_refused_as_is_one_from_before_there_were_regions(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    content = read_sealed(bundle)
    seal(tmp_path / "bundle", content | {"schema": 99}, ["gauge.onnx"])
    with pytest.raises(IntegrityError, match=f"format 99, this gonogo reads {SCHEMA}; fit or export again"):
        Scorer(tmp_path / "bundle")
    del content["regions"]
    seal(tmp_path / "bundle", content | {"schema": 1}, ["gauge.onnx"])
    with pytest.raises(IntegrityError, match=f"format 1, this gonogo reads {SCHEMA}; fit or export again"):
        Scorer(tmp_path / "bundle")
    seal(tmp_path / "bundle", content, ["gauge.onnx"])
    with pytest.raises(IntegrityError, match="'regions'"):
        Scorer(tmp_path / "bundle")


def test_regions_are_those_that_evaluation_finds(bundle, digits_model, digits):
    records = digits.with_role("test")
    masks = []
    expected = inspect_records(
        digits_model.inspector, digits, records, rule=digits_model.rule, look=lambda *seen: masks.append(seen[-1])
    )
    scorer = Scorer(bundle)
    assert scorer.rule == digits_model.rule
    n_regions = 0
    for record, regions, mask in zip(records, expected.regions, masks, strict=True):
        verdict = scorer.score_image(digits.path_of(record))
        np.testing.assert_array_equal(verdict.defect_mask, mask)
        assert [region.box for region in verdict.regions] == [region.box for region in regions]
        assert [region.peak for region in verdict.regions] == pytest.approx([r.peak for r in regions], rel=1e-4)
        n_regions += len(regions)
    assert n_regions > 20


def test_every_option_for_regions_travels_with_the_bundle(digits, tmp_path):
    options = replace(REGIONS, hysteresis=0.6, closing=1, min_area=4, border=0.13, pixel_false_positive_rate=0.02)
    model = modelled(fitted("pca", digits, regions=options), digits, tmp_path / "model", regions=options)
    (tmp_path / "bundle").mkdir()
    export_onnx(model.inspector, tmp_path / "bundle" / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    seal(tmp_path / "bundle", bundle_facts(model), ["gauge.onnx"])
    scorer = Scorer(tmp_path / "bundle")
    assert scorer.rule.params == options
    verdict = scorer.score_image(of_label(digits, 1))
    assert verdict.regions == find_regions(verdict.anomaly_map, defect_mask(verdict.anomaly_map, model.rule))
    assert min(region.area for region in verdict.regions) >= 4
    assert not verdict.defect_mask[[0, -1]].any()
    raw = verdict.anomaly_map >= model.rule.threshold.threshold
    assert verdict.defect_mask.sum() > raw.sum()


def test_regions_explain_a_verdict_and_never_change_it(bundle):
    scorer = Scorer(bundle)
    flat, hill = np.zeros((2, 9, 9), dtype=np.float32)
    hill[4, 4] = 2 * scorer.rule.threshold.threshold
    above, below = 1.5 * scorer.threshold, 0.5 * scorer.threshold
    reject, accept = scorer.judge(np.array([above, below]), np.stack([flat, hill]))
    assert reject.anomalous
    assert reject.regions == []
    assert not accept.anomalous
    assert [region.box for region in accept.regions] == [(4, 4, 1, 1)]


def test_a_gauge_that_does_not_localise_has_verdicts_and_no_region(digits, tmp_path):
    model = modelled(fitted("isolation_forest", digits), digits, tmp_path / "model")
    export_onnx(model.inspector, tmp_path / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    seal(tmp_path, bundle_facts(model), ["gauge.onnx"])
    scorer = Scorer(tmp_path)
    verdicts = [scorer.score_pixels(read_image(digits.path_of(r))[None])[0] for r in digits.with_role("test")]
    assert any(verdict.anomalous for verdict in verdicts)
    assert not any(verdict.regions or verdict.defect_mask.any() for verdict in verdicts)


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


@pytest.mark.parametrize("label", [0, 1])
def test_score_and_explain_write_the_row_of_the_verdict(label, bundle, digits, capsys):
    path = of_label(digits, label)
    verdict = Scorer(bundle).score_image(path)
    row = json.loads(json.dumps(verdict.row()))
    assert row["verdict"] == verdict.label == ("reject" if verdict.score >= verdict.threshold else "pass")
    main(["score", str(bundle), str(path), "--json"])
    (scored,) = json.loads(capsys.readouterr().out)["results"]
    main(["explain", str(bundle), str(path), "--json"])
    explained = json.loads(capsys.readouterr().out)
    for written in (scored, explained):
        assert {key: written.get(key) for key in row} == row


@pytest.mark.parametrize(
    ("name", "set_by_us", "set_before"),
    [
        ("ORT_DISABLE_TELEMETRY", "1", None),
        ("ORT_DISABLE_TELEMETRY", "1", "0"),
        ("OMP_WAIT_POLICY", "PASSIVE", None),
        ("OMP_WAIT_POLICY", "PASSIVE", "ACTIVE"),
    ],
)
def test_onnxruntime_calls_no_home_and_threads_do_not_spin_unless_someone_says_so(name, set_by_us, set_before):
    environment = {key: value for key, value in os.environ.items() if key != name}
    environment |= {} if set_before is None else {name: set_before}
    code = f"import gonogo.inference.scorer, os; print(os.environ[{name!r}])"
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == (set_before or set_by_us)


def test_a_session_keeps_no_core_busy_while_it_waits_and_no_memory_after_a_large_image(bundle):
    options = scorer_module.open_session(bundle / "gauge.onnx").get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_cpu_mem_arena
