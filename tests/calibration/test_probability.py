"""A stated probability is what happens, at the share of defects that it is told, and is learned from no test image."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from tests.data.test_prepare import parts, prepared, roles_of

from checkout import ROOT
from conftest import PREPARE, copy_pipeline, run_stages
from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.fit_probability import fit_probability
from gonogo.calibration.probability import ProbabilityRecord
from gonogo.errors import DataError, UndefinedMetricError
from gonogo.evaluation.accuracy.metrics import calibration_errors
from gonogo.evaluation.metric_table import is_known
from gonogo.inference.scorer import Scorer

METHODS = ("platt", "isotonic")


def drawn(n: int, mean: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


def truth(scores: np.ndarray, rate: float) -> np.ndarray:
    """The probability of a defect where good scores are normal around 0, those of defects around 2."""
    odds = rate / (1 - rate) * norm.pdf(scores, 2.0) / norm.pdf(scores)
    return odds / (1 + odds)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5])
def test_the_probability_is_the_true_one_at_the_share_of_defects_on_the_line(method, rate):
    record = fit_probability(drawn(6000, 0.0, 1), drawn(2000, 2.0, 2), method=method, defect_rate=rate)
    scores = np.linspace(-1, 3, 41)
    stated = np.array([record.of(float(score)) for score in scores])
    assert np.abs(stated - truth(scores, rate)).max() < {"platt": 0.03, "isotonic": 0.12}[method]


@pytest.mark.parametrize("method", METHODS)
def test_without_a_stated_share_the_labelled_images_have_it(method):
    record = fit_probability(drawn(90, 0.0, 1), drawn(30, 2.0, 2), method=method, defect_rate=None)
    assert (record.defect_rate, record.n_good, record.n_defective) == (0.25, 90, 30)


@pytest.mark.parametrize("method", METHODS)
def test_it_grows_with_the_score_and_is_never_certain_however_far_the_kinds_are_apart(method):
    record = fit_probability(drawn(20, 0.0, 1), drawn(8, 50.0, 2), method=method, defect_rate=0.1)
    stated = [record.of(score) for score in (-1e9, -5.0, 0.0, 10.0, 25.0, 40.0, 50.0, 1e9)]
    assert stated == sorted(stated)
    assert stated[0] < 0.1 < stated[-2]
    assert 0 <= stated[0] <= stated[-1] <= 1
    assert 0.05 < record.of(20.0) < 0.95 or method == "platt"
    assert record.of(0.0) > 0
    assert record.of(50.0) < 1


def test_the_record_says_the_same_after_json():
    record = fit_probability(drawn(50, 0.0, 1), drawn(20, 2.0, 2), method="isotonic", defect_rate=0.05)
    again = ProbabilityRecord.from_dict(json.loads(json.dumps(record.to_dict())))
    assert again == record


@pytest.mark.parametrize(
    ("good", "defective", "message"),
    [
        (20, 4, "20 good and 4 defective labelled scores, expected at least 5 of each"),
        (3, 20, "3 good and 20 defective"),
    ],
)
def test_too_few_labels_are_refused_with_what_to_do(good, defective, message):
    with pytest.raises(DataError, match=f"{message}.*prepare.validate_share|{message}"):
        fit_probability(drawn(good, 0, 1), drawn(defective, 2, 2), method="platt", defect_rate=None)


@pytest.mark.parametrize("method", METHODS)
def test_defects_that_score_lower_than_good_parts_are_refused(method):
    with pytest.raises(DataError, match="do not score above good parts"):
        fit_probability(drawn(50, 5, 1), drawn(50, 0, 2), method=method, defect_rate=None)


@pytest.mark.parametrize(
    "change",
    [
        {"probabilities": [0.9, 0.1]},
        {"probabilities": [0.0, 0.5]},
        {"probabilities": [0.1, 1.0]},
        {"scores": [2.0, 1.0]},
        {"scores": [1.0]},
        {"scores": [1.0, float("nan")]},
        {"more": 1},
    ],
)
def test_a_curve_that_is_none_is_refused(change):
    record = ProbabilityRecord("platt", 0.1, (1.0, 2.0), (0.1, 0.9), 10, 10)
    assert record.of(1.5) == pytest.approx(0.5)
    with pytest.raises((TypeError, ValueError)):
        ProbabilityRecord.from_dict(record.to_dict() | change)


def test_calibration_errors_are_those_of_a_plain_loop():
    rng = np.random.default_rng(3)
    stated, labels = rng.uniform(size=60), rng.uniform(size=60) < 0.3
    stated[0] = 1.0
    weights = [0.1 / labels.sum() if label else 0.9 / (~labels).sum() for label in labels]
    brier = sum(weight * (p - label) ** 2 for weight, p, label in zip(weights, stated, labels, strict=True))
    ece = 0.0
    for number in range(10):
        chosen = [i for i, p in enumerate(stated) if number / 10 <= p < (number + 1) / 10 + (number == 9)]
        ece += abs(sum(weights[i] * (stated[i] - labels[i]) for i in chosen))
    assert calibration_errors(stated, labels, rate=0.1) == pytest.approx({"brier": brier, "ece": ece}, abs=1e-12)
    with pytest.raises(UndefinedMetricError):
        calibration_errors(stated, np.ones(60, dtype=bool), rate=0.1)


def test_a_true_probability_has_no_calibration_error_and_an_overconfident_one_has():
    rng = np.random.default_rng(5)
    labels = rng.uniform(size=20_000) < 0.2
    scores = rng.normal(2.0 * labels, 1.0)
    true = truth(scores, 0.2)
    assert calibration_errors(true, labels, rate=0.2)["ece"] < 0.01
    assert calibration_errors((true > 0.5).astype(float), labels, rate=0.2)["ece"] > 0.05


def test_labelled_images_come_out_of_test_by_whole_parts_and_change_no_other_role(tmp_path):
    clean = roles_of(prepared(parts(n_bad=10), tmp_path / "clean"))
    roles = roles_of(prepared(parts(n_bad=10), tmp_path / "some", validate_share=0.4))
    moved = {name: (clean[name], role) for name, role in roles.items() if role != clean[name]}
    assert list(moved.values()) == [("test", "validate")] * 4
    assert all(name.startswith("bad") for name in moved)
    assert PREPARE.validate_share == 0


@pytest.fixture(scope="module")
def labelled_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline up to the bundle of one small category, with and without a probability."""
    folder = tmp_path_factory.mktemp("labelled")
    copy_pipeline(
        folder,
        (r"validate_share: 0.0", "validate_share: 0.5"),
        (r"probability: +#", "probability: platt  #"),
        (r"defect_rate: +#", "defect_rate: 0.02  #"),
    )
    run_stages(folder, ("prepare", "fit", "evaluate", "export", "parity"))
    return folder


def test_the_pipeline_fits_it_on_the_images_set_aside_and_the_line_states_it(labelled_project):
    scorer = Scorer(labelled_project / "bundles" / "digit_0")
    lines = (labelled_project / "data/prepared/digit_0/manifest.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    by_role = {role: [r for r in records if r["role"] == role] for role in ("calibrate", "validate", "test")}
    assert scorer.probability is not None
    assert scorer.probability.defect_rate == 0.02
    assert scorer.probability.n_good == len(by_role["calibrate"])
    assert scorer.probability.n_defective == len(by_role["validate"]) > 20
    images = {
        kind: next(r for r in by_role["test"] if r["label"] == label) for label, kind in enumerate(("good", "bad"))
    }
    prepared_at = labelled_project / "data/prepared/digit_0"
    good, bad = (scorer.score_image(prepared_at / images[kind]["path"]) for kind in ("good", "bad"))
    assert good.probability == scorer.probability.of(good.score)
    assert good.probability < 0.02 < bad.probability


def test_evaluation_reports_its_error_on_test_and_the_criterion_that_knows_no_test_image(labelled_project):
    metrics = json.loads((labelled_project / "metrics/evaluate/digit_0.json").read_text(encoding="utf-8"))
    assert 0 <= metrics["probability_ece"] < 0.05
    assert 0 <= metrics["probability_brier"] < 0.05
    assert 0.9 < metrics["validation_auroc"] <= 1
    assert all(map(is_known, metrics))
    record = json.loads((labelled_project / "models/fitted/digit_0/manifest.json").read_text(encoding="utf-8"))[
        "threshold"
    ]
    plain = json.loads((ROOT / "metrics/evaluate/digit_0.json").read_text(encoding="utf-8"))
    assert ThresholdRecord.from_dict(record).threshold == pytest.approx(plain["threshold"], rel=1e-5)
