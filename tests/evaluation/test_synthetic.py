"""The figure that a search may look at: good images against their own damaged copies, and nothing else."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from conftest import REGIONS, fitted, manifest_of, modelled
from gonogo.data.sample import Sample
from gonogo.errors import UndefinedMetricError
from gonogo.evaluation.accuracy.evaluate import EvaluateParams, evaluate
from gonogo.evaluation.accuracy.synthetic import damaged, synthetic_auroc
from gonogo.model.inspection import inspect_records

PARAMS = EvaluateParams(n_resamples=100, interval_confidence=0.9, baseline_size=8, synthetic_images=64)


def parts(change_test=lambda pixels: pixels, *, flat=False):
    """Good parts with a gradient, wider than high, and darker defective ones, which only the test has."""
    rng = np.random.default_rng(5)
    for role, kind, count in [("fit", "good", 20), ("calibrate", "good", 12), ("test", "good", 4), ("test", "dark", 4)]:
        for number in range(count):
            pixels = 60 + 10 * np.arange(14) + rng.normal(0, 4, (10, 14))
            if flat and role == "calibrate":
                pixels = np.full((10, 14), 100 + number)
            if role == "test":
                pixels = change_test(pixels - 60 * (kind == "dark"))
            yield Sample(
                name=f"{role}_{kind}_{number:02d}",
                roles=(role,),
                label=int(kind != "good"),
                defect_type=kind,
                group_id=f"{role}_{kind}_{number}",
                image=np.repeat(np.clip(pixels, 0, 255).astype(np.uint8)[..., None], 3, axis=2),
                mask=None,
            )


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return manifest_of(parts(), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model(manifest, tmp_path_factory):
    return modelled(fitted("pca", manifest), manifest, tmp_path_factory.mktemp("model"))


def test_it_is_the_auroc_of_the_calibrate_images_against_one_damaged_copy_of_each(manifest, model):
    records = manifest.with_role("calibrate")
    good = [float(model.inspector.inspect(manifest.pixels_of(record)[None])[0][0]) for record in records]
    copies = [damaged(manifest.pixels_of(record), record, REGIONS, seed=17) for record in records]
    bad = [float(model.inspector.inspect(copy[None])[0][0]) for copy in copies]
    found = evaluate(model, manifest, PARAMS, seed=17).metrics["synthetic_auroc"]
    assert found == pytest.approx(roc_auc_score([0] * len(good) + [1] * len(bad), good + bad), abs=1e-12)
    assert 0.5 < found < 1


def test_other_test_images_leave_it_as_it_was(manifest, model, tmp_path):
    changed = manifest_of(parts(lambda pixels: 255 - pixels), tmp_path / "data")
    other = modelled(fitted("pca", changed), changed, tmp_path / "model")
    found, before = (evaluate(m, data, PARAMS, seed=17) for m, data in ((other, changed), (model, manifest)))
    assert found.metrics["synthetic_auroc"] == before.metrics["synthetic_auroc"]
    assert not np.array_equal(found.test.scores, before.test.scores)


def test_the_order_of_the_images_changes_nothing_and_another_seed_does(manifest, model):
    records = manifest.with_role("calibrate")

    def found(records, seed):
        good = inspect_records(model.inspector, manifest, records)
        return synthetic_auroc(model.inspector, manifest, good, REGIONS, seed=seed, n_damaged=64)

    assert found(records, 17) == found(records[::-1], 17)
    assert len({found(records, seed) for seed in range(17, 22)}) > 1


def test_damage_shows_where_the_gauge_looks(manifest):
    regions = dataclasses.replace(REGIONS, border=0.4)
    record = manifest.with_role("calibrate")[0]
    pixels = manifest.pixels_of(record)
    inspected = regions.roi_mask(*pixels.shape[:2])
    assert 0 < inspected.sum() < 0.2 * inspected.size
    for seed in range(20):
        changed = (damaged(pixels, record, regions, seed=seed) != pixels).any(axis=2)
        assert (changed & inspected).any()
        assert changed.sum() < 0.5 * changed.size


def test_where_no_piece_can_be_seen_it_is_absent(tmp_path):
    flat = manifest_of(parts(flat=True), tmp_path / "data")
    model = modelled(fitted("pca", flat), flat, tmp_path / "model")
    assert "synthetic_auroc" not in evaluate(model, flat, PARAMS, seed=17).metrics
    good = inspect_records(model.inspector, flat, flat.with_role("calibrate"))
    with pytest.raises(UndefinedMetricError, match="no good image changes"):
        synthetic_auroc(model.inspector, flat, good, REGIONS, seed=17, n_damaged=64)


def test_where_the_calibrate_images_were_fitted_on_it_is_absent(manifest, model):
    record = dataclasses.replace(model.threshold, method="cross", certified=False, folds=2)
    crosswise = dataclasses.replace(model, threshold=record)
    assert "synthetic_auroc" not in evaluate(crosswise, manifest, PARAMS, seed=17).metrics
