"""What a gauge achieves: raw scores, its baseline beside it, and nothing of the test images in any threshold."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn import metrics as sklearn_metrics

from conftest import REGIONS, fitted, manifest_of, modelled
from gonogo.calibration.threshold import certify
from gonogo.data.sample import Sample
from gonogo.errors import ConfigError, DataError
from gonogo.evaluation.accuracy.evaluate import EvaluateParams, evaluate
from gonogo.evaluation.accuracy.metrics import AT_RECALL
from gonogo.evaluation.accuracy.records import REGION_COLUMNS, per_image_rows, region_rows, write_curves
from gonogo.evaluation.metric_table import is_known
from gonogo.files import read_json, read_rows, sha256_of, write_metrics, write_rows
from gonogo.images.dataset import Dataset
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import inspect_records

LOOSE = dataclasses.replace(REGIONS, pixel_false_positive_rate=0.02)  # small maps have few pixels to let through
PARAMS = EvaluateParams(n_resamples=100, interval_confidence=0.9, baseline_size=8, synthetic_images=64)
IMAGE_METRICS = ["image_auroc", "image_ap", "false_alarm_rate", "recall", "precision", "f1", "f1_oracle"]
IMAGE_METRICS += AT_RECALL
PIXEL_METRICS = ["pixel_auroc", "pixel_ap", "aupro_30", "aupro_05", "seg_f1", "pixel_false_positive_rate"]


def parts(change_test=lambda pixels: pixels):
    """Samples of two sizes: good parts, spots with a mask, and shadows for which nobody drew one."""
    rng = np.random.default_rng(11)
    counts = [("fit", "good", 30), ("calibrate", "good", 30), ("test", "good", 12), ("test", "spot", 9)]
    for role, kind, count in [*counts, ("test", "shadow", 6)]:
        for number in range(count):
            height, width = [(10, 12), (14, 9)][number % 2]
            noise = 6 + number / 3 if role == "test" else 6  # some good parts are rejected, some defects not
            pixels = 100 + 5 * np.arange(width) + rng.normal(0, noise, (height, width))
            mask = np.zeros((height, width), dtype=bool)
            top, left = rng.integers(0, height - 4), rng.integers(0, width - 4)
            mask[top : top + 4, left : left + 3] = kind == "spot"
            pixels += 3 * number * mask - 3 * number * (kind == "shadow")
            if role == "test":
                pixels = change_test(pixels)
            yield Sample(
                name=f"{role}_{kind}_{number:02d}",
                roles=(role,),
                label=int(kind != "good"),
                defect_type=kind,
                group_id=f"{role}_{number // 2}",
                image=np.repeat(np.clip(pixels, 0, 255).astype(np.uint8)[..., None], 3, axis=2),
                mask=mask if kind == "spot" else None,
            )


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    return manifest_of(parts(), tmp_path_factory.mktemp("marked"))


@pytest.fixture(scope="module")
def marked_model(marked, tmp_path_factory):
    return modelled(fitted("pca", marked), marked, tmp_path_factory.mktemp("marked_model"), regions=LOOSE)


@pytest.fixture(scope="module")
def evaluation(marked, marked_model):
    return evaluate(marked_model, marked, PARAMS, seed=17)


@pytest.fixture(scope="module")
def of_digits(digits, digits_model):
    return evaluate(digits_model, digits, PARAMS, seed=17)


def written(evaluation, folder):
    """(metrics file, per-image records file) as the pipeline writes and reads them."""
    write_metrics(folder / "metrics.json", evaluation.metrics)
    write_rows(folder / "records.csv", per_image_rows(evaluation))
    return read_json(folder / "metrics.json"), read_rows(folder / "records.csv")


def six_digits(value):
    return float(f"{value:.6g}")


def test_every_metric_of_the_gauge_has_its_baseline_and_its_lift_beside_it(evaluation):
    for name in IMAGE_METRICS + PIXEL_METRICS:
        lift = evaluation.metrics[name] - evaluation.metrics[f"{name}_baseline"]
        better = -lift if "rate" in name else lift
        assert evaluation.metrics[f"{name}_lift"] == pytest.approx(better, abs=1e-12)
    assert {name.removesuffix("_lift") for name in evaluation.metrics if name.endswith("_lift")} == {
        *IMAGE_METRICS,
        *PIXEL_METRICS,
    }


def test_an_image_of_the_test_set_is_decoded_once_for_the_gauge_and_its_baseline(
    marked, marked_model, evaluation, monkeypatch
):
    counts, decode = Counter(), Dataset.pixels_of
    monkeypatch.setattr(Dataset, "pixels_of", lambda of, record: counts.update([record.path]) or decode(of, record))
    again = evaluate(marked_model, marked, PARAMS, seed=17)
    assert {counts[record.path] for record in marked.with_role("test")} == {1}
    assert again.metrics == evaluation.metrics


def test_every_metric_of_ranks_or_maps_has_what_chance_gives_and_its_interval_beside_it(evaluation):
    metrics = evaluation.metrics
    by_chance = {name.removesuffix("_random"): value for name, value in metrics.items() if name.endswith("_random")}
    pixels = {"pixel_auroc", "pixel_ap", "aupro_30", "aupro_05"}
    assert by_chance.keys() == {"image_auroc", "image_ap", *AT_RECALL, *pixels}
    assert by_chance["image_auroc"] == 0.5
    n_good, n_defective = metrics["n_good"], metrics["n_defective"]
    assert n_defective / (n_good + n_defective) < by_chance["image_ap"] < 0.75
    for name in [*by_chance, "seg_f1", "pixel_false_positive_rate"]:
        low, high = metrics[f"{name}_low"], metrics[f"{name}_high"]
        assert low <= metrics[name] <= high, name
        assert low < high or metrics[name] in (0, 1), name


@pytest.mark.parametrize("name", ["pca", "isolation_forest", "padim", "patchcore"])
def test_fits_with_other_seeds_stand_beside_each_metric(name, marked, tmp_path):
    model = modelled(fitted(name, marked), marked, tmp_path, regions=LOOSE)
    metrics = evaluate(model, marked, dataclasses.replace(PARAMS, seeds=3), seed=17).metrics
    alone = evaluate(model, marked, PARAMS, seed=17).metrics
    ends = {key: value for key, value in metrics.items() if key not in alone}
    assert ends.pop("n_seeds") == 3
    assert {key: metrics[key] for key in alone} == alone
    assert all(is_known(key) for key in ends)
    own = [key for key in [*IMAGE_METRICS, *PIXEL_METRICS, "threshold"] if key in alone]
    assert sorted(ends) == sorted(f"{key}_seeds_{end}" for key in own for end in ("low", "high"))
    assert all(ends[f"{key}_seeds_low"] <= alone[key] <= ends[f"{key}_seeds_high"] for key in own)
    spread = ends["threshold_seeds_high"] - ends["threshold_seeds_low"]
    assert (spread > 0) == (name in ("isolation_forest", "padim"))  # the others draw nothing


def test_other_seeds_are_refused_where_their_thresholds_would_be_of_another_rule(marked, marked_model):
    by_tail = dataclasses.replace(marked_model, threshold=dataclasses.replace(marked_model.threshold, method="tail"))
    with pytest.raises(ConfigError, match=r"evaluate\.seeds is 2 and calibrate\.method is tail"):
        evaluate(by_tail, marked, dataclasses.replace(PARAMS, seeds=2), seed=17)


def test_the_baseline_is_the_certified_distance_to_the_mean_fit_image(digits, digits_model, of_digits):
    def images(role):
        return np.stack([digits.pixels_of(r).astype(float) for r in digits.with_role(role)])

    mean = images("fit").mean(axis=0)
    calibrate, test = (np.sqrt(((images(role) - mean) ** 2).mean(axis=(1, 2, 3))) for role in ("calibrate", "test"))
    threshold = certify(
        calibrate,
        [record.group_id for record in digits.with_role("calibrate")],
        false_alarm_rate=digits_model.threshold.target_false_alarm_rate,
        confidence=digits_model.threshold.confidence,
        margin=1e-3,
    ).threshold
    labels = np.array([record.label for record in digits.with_role("test")])
    metrics = of_digits.metrics
    assert metrics["image_auroc_baseline"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, test), abs=1e-6)
    assert metrics["false_alarm_rate_baseline"] == pytest.approx((test[labels == 0] >= threshold).mean())
    assert metrics["recall_baseline"] == pytest.approx((test[labels == 1] >= threshold).mean())


def test_other_test_images_leave_the_threshold_and_every_calibrate_score_as_they_were(evaluation, tmp_path):
    changed = manifest_of(parts(lambda pixels: (255 - pixels)[::-1]), tmp_path / "data")
    model = modelled(fitted("pca", changed), changed, tmp_path / "model", regions=LOOSE)
    other = evaluate(model, changed, PARAMS, seed=17)
    assert other.threshold == evaluation.threshold
    assert np.array_equal(other.calibrate.scores, evaluation.calibrate.scores)
    for name in ("threshold", "certified", "certified_false_alarm_rate", "more_groups_needed", "pixel_threshold"):
        assert other.metrics[name] == evaluation.metrics[name]
    assert not np.array_equal(other.test.scores, evaluation.test.scores)


def test_the_score_of_an_image_does_not_depend_on_the_other_test_images(marked, marked_model, evaluation):
    kept = marked.with_role("fit", "calibrate") + marked.with_role("test")[::3]
    few = Dataset(marked.folder, marked.raw, tuple(sorted(kept, key=lambda record: record.path)))
    model = dataclasses.replace(marked_model, manifest=marked_model.manifest | {"data_fingerprint": few.fingerprint})
    alone = evaluate(model, few, PARAMS, seed=17)
    scores = dict(zip([record.path for record in marked.with_role("test")], evaluation.test.scores, strict=True))
    assert [scores[record.path] for record in alone.test.records] == alone.test.scores.tolist()
    assert alone.threshold == evaluation.threshold


def test_the_records_hold_each_calibrate_and_test_image_with_its_raw_score(marked, marked_model, evaluation, tmp_path):
    _, rows = written(evaluation, tmp_path)
    records = {record.path: record for record in marked.with_role("calibrate", "test")}
    assert sorted(row["image"] for row in rows) == sorted(records)
    for row in rows:
        record = records[row["image"]]
        score = marked_model.inspector.inspect(marked.pixels_of(record)[None])[0][0]
        assert np.float32(row["score"]) == score
        assert float(row["score"]) == float(score)
        assert (row["role"], row["label"], row["defect_type"], row["group_id"]) == (
            record.role,
            str(record.label),
            record.defect_type,
            record.group_id,
        )
        assert float(row["threshold"]) == marked_model.threshold.threshold
        assert row["verdict"] == ("reject" if float(row["score"]) >= float(row["threshold"]) else "pass")


def test_the_records_alone_give_the_image_metrics_again(evaluation, tmp_path):
    metrics, rows = written(evaluation, tmp_path)
    test = [row for row in rows if row["role"] == "test"]
    labels = np.array([int(row["label"]) for row in test])
    scores = np.array([float(row["score"]) for row in test])
    rejected = np.array([row["verdict"] == "reject" for row in test])
    again = {
        "image_auroc": sklearn_metrics.roc_auc_score(labels, scores),
        "image_ap": sklearn_metrics.average_precision_score(labels, scores),
        "false_alarm_rate": rejected[labels == 0].mean(),
        "recall": rejected[labels == 1].mean(),
        "precision": sklearn_metrics.precision_score(labels, rejected),
        "f1": sklearn_metrics.f1_score(labels, rejected),
        "f1_oracle": max(sklearn_metrics.f1_score(labels, scores >= score) for score in scores),
        "n_good": (labels == 0).sum(),
        "n_defective": (labels == 1).sum(),
        "n_false_alarms": rejected[labels == 0].sum(),
        "n_misses": (~rejected[labels == 1]).sum(),
    }
    assert 0 < metrics["recall"] < 1
    assert {name: metrics[name] for name in again} == {name: six_digits(value) for name, value in again.items()}


def test_pixel_metrics_see_raw_maps_at_the_original_size_where_the_truth_is_known(marked, marked_model, evaluation):
    values, truth = [], []
    for record in marked.with_role("test"):
        if record.defect_type != "shadow":
            pixels = marked.pixels_of(record)
            anomaly_map = marked_model.inspector.inspect(pixels[None])[1][0]
            mask = marked.mask_of(record)
            assert anomaly_map.shape == mask.shape == pixels.shape[:2]
            values.append(anomaly_map.ravel())
            truth.append(mask.ravel())
    values, truth = np.concatenate(values), np.concatenate(truth)
    assert evaluation.metrics["pixel_auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth, values), abs=1e-9)
    assert evaluation.metrics["pixel_ap"] == pytest.approx(
        sklearn_metrics.average_precision_score(truth, values), abs=1e-9
    )


def test_a_detector_that_does_not_localise_gets_no_pixel_metric_and_no_number_in_its_place(marked, tmp_path):
    model = modelled(fitted("isolation_forest", marked), marked, tmp_path)
    metrics = evaluate(model, marked, PARAMS, seed=17).metrics
    assert not [name for name in metrics if name.startswith(("pixel_", "aupro_", "seg_"))]
    assert all(f"{name}_lift" in metrics for name in IMAGE_METRICS)


def test_data_without_masks_give_no_metric_that_needs_them(of_digits):
    needing = ("pixel_auroc", "pixel_ap", "aupro_", "seg_")
    assert not [name for name in of_digits.metrics if name.startswith(needing)]
    assert 0 <= of_digits.metrics["pixel_false_positive_rate"] < 0.1  # of good parts, whose pixels are all good
    assert of_digits.metrics["image_auroc"] > 0.9


def test_segmentation_is_measured_at_the_thresholds_that_calibrate_maps_gave(marked, marked_model, evaluation):
    def maps(inspector, role):
        return [inspector.inspect(marked.pixels_of(r)[None])[1][0] for r in marked.with_role(role)]

    def measured(inspector):
        good = np.sort(np.concatenate([m.ravel() for m in maps(inspector, "calibrate")]))
        threshold = (good[-1 - int(0.02 * len(good))] + good[-int(0.02 * len(good))]) / 2
        found = [m >= threshold for m in maps(inspector, "test")]
        pairs = [
            (f.ravel(), marked.mask_of(record).ravel())
            for f, record in zip(found, marked.with_role("test"), strict=True)
            if record.defect_type != "shadow"
        ]
        clean = [f.ravel() for f, record in zip(found, marked.with_role("test"), strict=True) if record.label == 0]
        predicted, truth = (np.concatenate(column) for column in zip(*pairs, strict=True))
        return threshold, sklearn_metrics.f1_score(truth, predicted), np.concatenate(clean).mean()

    metrics = evaluation.metrics
    threshold, f1, rate = measured(marked_model.inspector)
    assert metrics["pixel_threshold"] == pytest.approx(threshold, rel=1e-6)
    assert (metrics["seg_f1"], metrics["pixel_false_positive_rate"]) == pytest.approx((f1, rate))
    baseline = fitted("mean_image", marked)
    baseline.detector.fit(FitImages(baseline, marked, marked.with_role("fit")), seed=17)
    _, f1, rate = measured(baseline)
    assert metrics["seg_f1_baseline"] == pytest.approx(f1)
    assert metrics["pixel_false_positive_rate_baseline"] == pytest.approx(rate)
    assert 0.1 < metrics["seg_f1"] < 1


def test_the_records_count_the_regions_that_are_listed_one_by_one(marked, marked_model, evaluation, tmp_path):
    _, rows = written(evaluation, tmp_path)
    write_rows(tmp_path / "regions.csv", region_rows(evaluation), REGION_COLUMNS)
    listed = read_rows(tmp_path / "regions.csv")
    assert {region["image"] for region in listed} <= {row["image"] for row in rows if row["role"] == "test"}
    for row in rows:
        own = [region for region in listed if region["image"] == row["image"]]
        if row["role"] == "calibrate":  # not looked for
            assert row["n_regions"] == row["region_area"] == ""
            continue
        assert int(row["n_regions"]) == len(own)
        assert int(row["region_area"]) == sum(int(region["area"]) for region in own)
        assert [float(region["peak"]) for region in own] == sorted((float(r["peak"]) for r in own), reverse=True)
    assert any(row["n_regions"] not in ("", "0") for row in rows)
    record = next(r for r in marked.with_role("test") if any(region["image"] == r.path for region in listed))
    anomaly_map = marked_model.inspector.inspect(marked.pixels_of(record)[None])[1][0]
    first = next(region for region in listed if region["image"] == record.path)
    x, y, width, height = (int(first[key]) for key in ("x", "y", "width", "height"))
    assert anomaly_map[y : y + height, x : x + width].max() == anomaly_map.max() == np.float32(first["peak"])
    assert 0 < float(first["solidity"]) <= 1 <= float(first["elongation"])  # as every other door tells them


def test_without_any_region_the_list_still_names_its_columns(tmp_path):
    write_rows(tmp_path / "regions.csv", [], REGION_COLUMNS)
    columns = "image,x,y,width,height,area,centroid_x,centroid_y,peak,mean,solidity,elongation"
    assert (tmp_path / "regions.csv").read_text() == f"{columns}\n"


def test_a_border_leaves_out_its_pixels_of_both_the_threshold_and_the_rate_and_misses_what_lies_there(marked, tmp_path):
    regions = dataclasses.replace(LOOSE, border=0.2)
    model = modelled(fitted("pca", marked, regions=regions), marked, tmp_path, regions=regions)
    evaluation = evaluate(model, marked, PARAMS, seed=17)
    found = []
    inspect_records(
        model.inspector,
        marked,
        marked.with_role("test"),
        rule=model.rule,
        look=lambda record, _, mask: found.append((record, mask)),
    )
    inspected, n_marked = 0, 0
    for record, mask in found:
        inside = regions.roi_mask(record.height, record.width)
        assert not (mask & ~inside).any()
        inspected += int(inside.sum()) * (record.label == 0)
        n_marked += int(mask.sum()) * (record.label == 0)
    assert evaluation.metrics["pixel_false_positive_rate"] == n_marked / inspected
    known = [(mask, marked.mask_of(record)) for record, mask in found]
    truth = [(mask, theirs) for mask, theirs in known if theirs is not None]
    missed = sum(int((m & ~d).sum()) for d, m in truth)
    hits, false = (
        sum(int(part.sum()) for part in parts) for parts in ([d & m for d, m in truth], [d & ~m for d, m in truth])
    )
    assert evaluation.metrics["seg_f1"] == pytest.approx(2 * hits / (2 * hits + false + missed))


def test_intervals_enclose_their_metric_and_a_higher_confidence_widens_them(marked, marked_model, evaluation):
    wider = evaluate(marked_model, marked, dataclasses.replace(PARAMS, interval_confidence=0.99), seed=17).metrics
    ours = evaluation.metrics
    for name in ("image_auroc", "image_ap", "false_alarm_rate", "recall"):
        assert ours[f"{name}_low"] <= ours[name] <= ours[f"{name}_high"]
        assert wider[f"{name}_low"] <= ours[f"{name}_low"]
        assert wider[f"{name}_high"] >= ours[f"{name}_high"]
    assert wider["image_auroc_high"] - wider["image_auroc_low"] > ours["image_auroc_high"] - ours["image_auroc_low"]
    assert (ours["interval_confidence"], wider["interval_confidence"]) == (0.9, 0.99)


def test_intervals_are_those_of_a_bootstrap_over_the_parts_of_the_records(evaluation, tmp_path):
    _, rows = written(evaluation, tmp_path)
    test = [row for row in rows if row["role"] == "test"]
    threshold = float(test[0]["threshold"])
    scores, labels = np.array([float(row["score"]) for row in test]), np.array([row["label"] == "1" for row in test])
    metrics = {
        "image_auroc": lambda scores, labels: sklearn_metrics.roc_auc_score(labels, scores),
        "image_ap": lambda scores, labels: sklearn_metrics.average_precision_score(labels, scores),
        "false_alarm_rate": lambda scores, labels: float((scores[~labels] >= threshold).mean()),
        "recall": lambda scores, labels: float((scores[labels] >= threshold).mean()),
    }
    parts = sorted({row["group_id"] for row in test})
    members = [[place for place, row in enumerate(test) if row["group_id"] == part] for part in parts]
    values = {name: [] for name in metrics}
    draws = np.random.default_rng(17)
    for _ in range(PARAMS.n_resamples):
        chosen = [place for number in draws.integers(len(parts), size=len(parts)) for place in members[number]]
        if len(set(labels[chosen])) == 2:
            for name, metric in metrics.items():
                values[name].append(metric(scores[chosen], labels[chosen]))
    assert len(values["recall"]) == PARAMS.n_resamples
    for name, found in values.items():
        expected = pytest.approx(tuple(np.quantile(found, [0.05, 0.95])), abs=1e-12)
        assert (evaluation.metrics[f"{name}_low"], evaluation.metrics[f"{name}_high"]) == expected


def test_exact_limits_leave_room_also_where_there_is_no_false_alarm_and_no_miss(evaluation):
    metrics = evaluation.metrics
    k, n = metrics["n_false_alarms"], metrics["n_good"]
    assert metrics["false_alarm_rate_exact_high"] == pytest.approx(stats.beta.ppf(0.95, k + 1, n - k))
    assert metrics["false_alarm_rate_exact_high"] > metrics["false_alarm_rate"]
    k, n = metrics["n_defective"] - metrics["n_misses"], metrics["n_defective"]
    assert metrics["recall_exact_low"] == pytest.approx(stats.beta.ppf(0.05, k, n - k + 1))
    assert metrics["recall_exact_low"] < metrics["recall"]


def test_the_same_seed_gives_the_same_metrics_and_another_one_other_intervals(marked, marked_model, evaluation):
    again = evaluate(marked_model, marked, PARAMS, seed=17).metrics
    other = evaluate(marked_model, marked, PARAMS, seed=18).metrics
    assert again == evaluation.metrics
    assert other["image_auroc"] == again["image_auroc"]
    assert (other["image_auroc_low"], other["image_ap_low"]) != (again["image_auroc_low"], again["image_ap_low"])


def test_the_curves_run_through_every_corner_and_enclose_the_image_metrics(evaluation, tmp_path):
    write_curves(evaluation, roc=tmp_path / "roc.csv", pr=tmp_path / "pr.csv")
    for of, ending in (("gauge", ""), ("mean image", "_baseline"), ("chance", "_random")):
        fpr, tpr = curve(tmp_path / "roc.csv", of, "fpr", "tpr")
        assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
        auroc = evaluation.metrics[f"image_auroc{ending}"]
        assert sklearn_metrics.auc(fpr, tpr) == pytest.approx(auroc, abs=1e-12)
    for of, ending in (("gauge", ""), ("mean image", "_baseline")):
        recall, precision = curve(tmp_path / "pr.csv", of, "recall", "precision")
        steps = (np.diff(recall, prepend=0) * precision).sum()
        assert steps == pytest.approx(evaluation.metrics[f"image_ap{ending}"], abs=1e-12)
    _, by_chance = curve(tmp_path / "pr.csv", "chance", "recall", "precision")
    assert by_chance.tolist() == [evaluation.test.labels.mean()] * 2


def curve(path, of, *columns):
    """Two columns of the points of one of the curves in a file."""
    rows = [row for row in read_rows(path) if row["of"] == of]
    return [np.array([float(row[column]) for row in rows]) for column in columns]


def of_label(dataset, model, label):
    """The evaluation on the test images of one label alone, or of both."""
    records = tuple(r for r in dataset.records if r.role != "test" or label is None or r.label == label)
    kept = dataclasses.replace(dataset, records=records)
    model = dataclasses.replace(model, manifest=model.manifest | {"data_fingerprint": kept.fingerprint})
    return evaluate(model, kept, PARAMS, seed=17)


def test_without_a_defective_test_image_false_alarms_are_measured_and_nothing_else_is_claimed(
    marked, marked_model, evaluation, tmp_path
):
    good = of_label(marked, marked_model, 0)
    for name in ("false_alarm_rate", "false_alarm_rate_exact_high", "pixel_false_positive_rate", "n_false_alarms"):
        assert good.metrics[name] == evaluation.metrics[name]
    assert good.metrics["n_defective"] == good.metrics["n_misses"] == 0
    absent = {*IMAGE_METRICS, *PIXEL_METRICS} - {"false_alarm_rate", "pixel_false_positive_rate"}
    assert not {name for name in good.metrics for start in absent if name.startswith(start)}
    write_curves(good, roc=tmp_path / "roc.csv", pr=tmp_path / "pr.csv")
    assert (tmp_path / "roc.csv").read_text() == "of,fpr,tpr\n"


def test_without_a_good_test_image_recall_is_measured_and_no_false_alarm_claimed(marked, marked_model, evaluation):
    defective = of_label(marked, marked_model, 1)
    assert defective.metrics["recall"] == evaluation.metrics["recall"]
    assert defective.metrics["n_misses"] == evaluation.metrics["n_misses"]
    assert "seg_f1" in defective.metrics
    assert not {name for name in defective.metrics if name.startswith(("false_alarm_rate", "image_auroc", "f1"))}


def test_what_has_no_value_is_listed_as_absent_and_the_rest_is_not(marked, marked_model, evaluation):
    assert "absent" not in evaluation.metrics
    listed = of_label(marked, marked_model, 0).metrics["absent"].split(", ")
    assert sorted(listed) == sorted(
        {*IMAGE_METRICS, *PIXEL_METRICS} - {"false_alarm_rate", "pixel_false_positive_rate"}
    )


def test_equal_scores_rank_nothing_and_masks_that_cover_all_leave_no_pixel_to_compare_with(marked, marked_model):
    full = marked.folder / "full.png"
    image = marked.with_role("test")[0]
    Image.fromarray(np.full((image.height, image.width), 255, dtype=np.uint8)).save(full)
    shown = {"path": image.path, "sha256": image.sha256, "height": image.height, "width": image.width}
    masked = {0: {"mask": None, "mask_sha256": None}, 1: {"mask": "full.png", "mask_sha256": sha256_of(full)}}
    records = tuple(
        dataclasses.replace(record, **shown, **masked[record.label]) if record.role == "test" else record
        for record in marked.records
    )
    same = dataclasses.replace(marked, records=records)
    for label, absent in (
        (None, {"image_auroc", "image_ap", "f1_oracle"}),
        (1, {"pixel_auroc", "pixel_ap", "aupro_30", "aupro_05", "image_auroc", "false_alarm_rate"}),
    ):
        metrics = of_label(same, marked_model, label).metrics
        assert absent <= set(metrics["absent"].split(", "))
        assert not [name for name in metrics for start in absent if name == start or name.startswith(f"{start}_b")]
        assert ("pixel_auroc" in metrics) is (label is None)  # good images have normal pixels


def test_a_model_of_other_data_is_refused_since_a_test_image_may_be_one_of_its_fit_images(digits, marked_model):
    with pytest.raises(DataError, match=r"the model was fitted on data \w+, this is \w+; fit again"):
        evaluate(marked_model, digits, PARAMS, seed=17)
