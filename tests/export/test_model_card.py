"""The model card says what was measured, and its limits are those that the measurements have."""

from types import SimpleNamespace

import numpy as np
import pytest

from conftest import CALIBRATE
from gonogo.calibration.threshold import threshold_of
from gonogo.export.model_card import CategoryResults, card_text
from gonogo.export.write_bundle import recall_by_type

RECORD = threshold_of(np.arange(1.0, 41.0), [str(number) for number in range(40)], CALIBRATE, seed=1)
BUNDLE = {
    "category": "tile",
    "detector": {"name": "pca", "options": {"image_size": 64}, "facts": {"n_components": 7}},
    "versions": {"torch": "2"},
    "runtime": {"onnxruntime": "1"},
    "preprocessing": {"input": "uint8 RGB (n, h, w, 3)", "resize": "to 64 x 64"},
    "localises": True,
    "threshold": RECORD.to_dict(),
    "parity": {"n_comparisons": 12, "n_flips": 0, "score_max_diff_e6": 0.5},
}
FILES = {"files": {"gauge.onnx": "ab" * 32}}
MEASURED = CategoryResults(
    prepare={
        "n_fit": 90,
        "n_fit_defective": 0,
        "n_calibrate": 40,
        "n_calibrate_groups": 40,
        "n_test_good": 50,
        "n_test.hole": 40,
        "n_test.stain": 2,
    },
    evaluate={
        "data_fingerprint": "f" * 64,
        "interval_confidence": 0.95,
        "image_auroc": 0.91,
        "image_auroc_low": 0.85,
        "image_auroc_high": 0.96,
        "image_auroc_baseline": 0.6,
        "image_auroc_lift": 0.31,
        "recall": 0.7,
        "threshold": RECORD.threshold,
        "uncertain_rate": 0.1,
        "n_good": 50,
        "n_defective": 42,
    },
    rows=[
        {"role": "test", "label": 1, "defect_type": name, "score": score}
        for name, score in [("hole", 50.0), ("hole", 45.0), ("stain", 3.0), ("stain", 44.0), ("stain", 2.0)]
    ],
)
ROBUSTNESS = {
    "false_alarm_rate.none": 0.0,
    "recall.none": 0.7,
    "false_alarm_rate.white_balance_3": 0.2,
    "recall.white_balance_3": 0.8,
    "recall.white_balance_4": 0.1,
    "worst_false_alarm_rate": 0.2,
    "worst_false_alarm_rate_corruption": "white balance",
    "worst_recall": 0.8,
    "worst_recall_corruption": "white balance",
}


def text(*, evaluate=None, robustness=None, bundle=None):
    """The card beside the bundle, of measurements changed so."""
    measured = CategoryResults(MEASURED.prepare, {**MEASURED.evaluate, **(evaluate or {})}, MEASURED.rows)
    return card_text(BUNDLE | FILES | (bundle or {}), measured, ROBUSTNESS | (robustness or {}))


def test_it_has_certificate_data_results_and_robustness_with_their_figures():
    card = text()
    assert f"**{RECORD.sentence[0].upper()}{RECORD.sentence[1:]}.**" in card
    for line in (
        "| detector | `pca` (image_size 64) |",
        "| calibrate | 40 of 40 parts |",
        "| test, stain | 2 |",
        "| image AUROC | 0.910 | 0.850 to 0.960 | 0.600 |",
        "| recall | 0.700 |  |  |",
        "| hole | 2 of 2 | 15.8% to 100.0% |",
        "| white balance | 20% | 80% |",
        "| unchanged | 0% | 70% |",
    ):
        assert line in card.splitlines()
    assert "`" + "f" * 64 + "`" in card
    assert "dvc repro robustness@tile bench@tile" in card
    assert f"| gauge.onnx | `{'ab' * 32}` |" in card


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, "- Only 1 of 3 defects of the type stain were found."),
        ({"evaluate": {"n_good": 12}}, "- There are only 12 good test images"),
        (
            {"evaluate": {"image_auroc_lift": -0.01}},
            "- The gauge does not rank images better than the distance to the mean",
        ),
        ({"robustness": {"worst_recall": 0.4}}, "- Only 40% of defects are found under white balance of severity 3."),
        ({"robustness": {"worst_false_alarm_rate": 0.9}}, "- 90% of good parts are rejected under white balance"),
        ({"bundle": {"localises": False}}, "- The detector does not show where a part differs."),
        (
            {"bundle": {"threshold": RECORD.to_dict() | {"method": "cross", "folds": 5, "certified": False}}},
            "- No false-alarm rate is guaranteed",
        ),
        ({"bundle": {"threshold": RECORD.to_dict() | {"more_groups_needed": 7}}}, "7 more calibrate parts are needed"),
    ],
)
def test_a_limit_stands_there_where_the_measurements_have_it_and_only_there(changes, limit):
    assert limit in text(**changes)
    if changes:
        assert limit not in text()


def test_what_has_no_value_is_listed():
    assert "Without a value on these images: aupro_30, pixel_ap." in text(evaluate={"absent": "aupro_30, pixel_ap"})
    assert "Without a value" not in text()


def test_the_card_in_the_bundle_has_all_but_what_is_measured_with_the_bundle():
    within, beside = card_text(BUNDLE, MEASURED).splitlines(), text().splitlines()
    changed = beside.index("## When conditions change")
    assert [line for line in beside[:changed] if not line.startswith("| gauge.onnx")] == within[: changed - 1]
    assert within[changed + 1].endswith("see `plots/model_cards/tile.md` in the project.")
    assert within[within.index("## Limits") :] == beside[beside.index("## Limits") :]


def test_a_gauge_in_eight_bits_says_that_its_results_are_those_in_floats():
    other = RECORD.to_dict() | {"threshold": 44.5}  # its own; of the scores in floats it would miss another stain
    parity = BUNDLE["parity"] | {"int8_flips": 3}
    card = text(bundle={"threshold": other, "parity": parity})
    assert "the verdicts of 3 test images differ." in card
    assert "| stain | 1 of 3 |" in card
    assert "eight bits" not in text()


def test_a_bundle_counts_by_type_what_its_own_network_rejects_of_the_test_images():
    rows = [
        {"image": name, "role": role, "label": label, "defect_type": kind, "verdict": verdict}
        for name, role, label, kind, verdict in (
            ("a", "test", "1", "dent", "reject"),
            ("b", "test", "1", "dent", "pass"),
            ("c", "test", "1", "burr", "reject"),
            ("d", "test", "0", "good", "reject"),
            ("e", "calibrate", "1", "burr", "pass"),
        )
    ]
    assert recall_by_type(rows, None) == {"burr": [1, 1], "dent": [1, 2]}
    scores = np.array([2.0, 5.0, 1.0, 9.0])
    int8 = SimpleNamespace(images=list("abcd"), int8_scores=scores, threshold=SimpleNamespace(threshold=2.0))
    assert recall_by_type(rows, int8) == {"burr": [0, 1], "dent": [2, 2]}
