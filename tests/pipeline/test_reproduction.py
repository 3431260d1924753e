"""Two runs agree, or each difference is named."""

import json
from pathlib import Path

import pytest

from reproduction import bit_differences, main, metric_differences


@pytest.fixture
def folders(tmp_path: Path):
    def write(name: str, **metrics: object) -> Path:
        path = tmp_path / name / "evaluate" / "brick.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(metrics))
        return tmp_path / name

    return write


def test_rounding_in_the_last_digits_is_agreement(folders):
    a = folders("a", aupro_30=0.92, score_max_diff_e6=1.2, detector="pca", worst_image="3.png")
    b = folders("b", aupro_30=0.92009, score_max_diff_e6=3.9, detector="pca", worst_image="4.png")
    assert list(metric_differences(a, b)) == []


def test_a_pair_of_images_that_swaps_ranks_by_rounding_is_agreement(folders):
    a = folders("a", synthetic_auroc=0.876932, image_auroc_low=0.85)
    b = folders("b", synthetic_auroc=0.877527, image_auroc_low=0.8507)
    assert list(metric_differences(a, b)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"image_auroc": 0.923},
        {"recall": 0.5003},
        {"detector": "patchcore"},
        {"certified": 1},
        {"score_max_diff_e6": 150.0},
    ],
)
def test_a_real_difference_is_named(folders, change):
    metrics = {"image_auroc": 0.92, "recall": 0.5, "detector": "pca", "certified": True, "score_max_diff_e6": 1.0}
    differences = list(metric_differences(folders("a", **metrics), folders("b", **metrics | change)))
    assert len(differences) == 1
    assert next(iter(change)) in differences[0]


def test_a_missing_metric_and_a_missing_file_are_differences(folders):
    a, b = folders("a", recall=0.5, f1=0.5), folders("b", recall=0.5)
    (b / "parity.json").write_text("{}")
    assert len(list(metric_differences(a, b))) == 2


def test_speed_is_not_compared(folders):
    a, b = folders("a", recall=0.5), folders("b", recall=0.5)
    (a / "bench").mkdir()
    (a / "bench" / "brick.json").write_text('{"p50_ms": 9}')
    assert main(["metrics", str(a), str(b)]) == 0


def lock(fit: str, seconds: str = "9") -> dict[str, object]:
    cost = {"path": "metrics/fit/brick.json", "md5": seconds}
    return {
        "stages": {
            "fit@brick": {"outs": [{"path": "models/brick", "md5": fit}, cost]},
            "bench@brick": {"outs": [{"path": "metrics/bench/brick.json", "md5": fit}]},
        }
    }


def test_one_changed_bit_of_the_named_stages_is_a_difference():
    assert list(bit_differences(lock("1", "9"), lock("1", "10"), ["fit"])) == []
    assert len(list(bit_differences(lock("1"), lock("2"), ["fit"]))) == 1
    assert list(bit_differences({"stages": {}}, {"stages": {}}, ["fit"])) != []
