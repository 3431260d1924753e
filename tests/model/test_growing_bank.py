"""A bank that grows under a certificate, and leave-one-part-out scores within a bank."""

import dataclasses

import numpy as np
import pytest
import torch

from conftest import CALIBRATE, OPTIONS, REGIONS, TINY, bundled, made
from gonogo.calibration.threshold import CalibrateParams
from gonogo.detectors.contract import GrowingBank
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.errors import ConfigError, DataError
from gonogo.evaluation.accuracy.evaluate import EvaluateParams, evaluate
from gonogo.export.int8 import judge_int8
from gonogo.export.parity import ParityParams
from gonogo.files import read_json
from gonogo.images.dataset import Dataset, evenly_spaced
from gonogo.inference.good_patches import TABLE
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import FitParams
from gonogo.model.fitting import Fitting
from gonogo.model.inspector import Inspector
from gonogo.model.leave_one_out import by_part, part_ranges
from gonogo.model.saved import load_model
from gonogo.params import Variant

GROWN = dataclasses.replace(CALIBRATE, grow_bank=True)
LEFT_OUT = dataclasses.replace(CALIBRATE, method="leave_one_out")
FIT = FitParams(
    device="cpu", cluster=None, memory_budget_mb=None, tiling=None, left_out=0, shots=None, rotations=1, finetune=None
)
PATCHCORE = {"image_size": 64, "coreset_ratio": 0.05} | TINY
# Every option that a score is computed by, beside those that bound the bank.
GROWING = {
    "plain": ("patchcore", {}),
    "two neighbours": ("patchcore", {"n_neighbors": 2}),
    "mean of the worst": ("patchcore", {"top_share": 0.2}),
    "whitened": ("patchcore", {"whitening": 0.5}),
    "principal axes": ("patchcore", {"reduction": "pca", "reduced_dims": 6}),
    "foreground": ("patchcore", {"foreground": "pca"}),
    "k-th neighbour": ("knn", {}),
    "mean of neighbours": ("knn", {"distance": "mean", "n_neighbors": 3}),
}


def some(dataset: Dataset, **counts: int) -> Dataset:
    """The dataset with so many images of each role."""
    records = [record for role, n in counts.items() for record in evenly_spaced(dataset.with_role(role), n)]
    return dataclasses.replace(dataset, records=tuple(records))


def fitting_of(dataset, folder, calibrate, name="patchcore", **options):
    base = OPTIONS[name] if name != "patchcore" else PATCHCORE
    options = {**base, **options}
    chosen = Variant(DETECTOR_OPTIONS[name](**options), name, options, FIT)
    return Fitting(dataset, chosen, calibrate, REGIONS, 17, folder / "checkpoints")


def fitted_by(fitting):
    inspector, images = fitting.start(fitting.records)
    return fitting.fit(inspector, images, lambda *_: None)


def scores_of(inspector, dataset, records):
    return inspector.inspect(np.stack([dataset.pixels_of(record) for record in records]))


@pytest.fixture(scope="module")
def few(digits):
    return some(digits, fit=20, calibrate=30, test=60)


@pytest.fixture(scope="module", params=GROWING)
def before_and_after(request, few, tmp_path_factory):
    """(the dataset, the inspector without growth, the grown one, both calibrations)."""
    name, options = GROWING[request.param]
    folder = tmp_path_factory.mktemp("grown")
    inspectors, calibrations = [], []
    for calibrate in (CALIBRATE, GROWN):
        fitting = fitting_of(few, folder, calibrate, name, **options)
        inspectors.append(fitted_by(fitting))
        calibrations.append(fitting.certify(inspectors[-1], lambda *_: None))
    return few, inspectors, calibrations


# A bank that grows


def test_no_score_and_no_map_rises_and_some_fall(before_and_after):
    dataset, (before, after), _ = before_and_after
    test = dataset.with_role("test")
    (low, low_maps), (high, high_maps) = (scores_of(one, dataset, test) for one in (after, before))
    assert (low <= high * (1 + 1e-5)).all()
    assert (low_maps <= high_maps + 1e-4 * high.max()).all()
    assert (low < high * (1 - 1e-3)).any()


def test_noise_and_blank_images_do_not_score_higher_either(before_and_after):
    _, (before, after), _ = before_and_after
    rng = np.random.default_rng(2)
    images = np.stack([rng.integers(0, 256, (8, 8, 3)), *(np.full((8, 8, 3), v) for v in (0, 128, 255))])
    low, high = (one.inspect(images.astype(np.uint8))[0] for one in (after, before))
    assert (low <= high * (1 + 1e-5)).all()


def test_the_threshold_and_its_certificate_are_those_of_before_and_fewer_good_parts_are_rejected(before_and_after):
    dataset, (before, after), (plain, grown) = before_and_after
    assert dataclasses.replace(grown.threshold, grown=False) == plain.threshold
    assert plain.threshold.certified
    assert grown.threshold.certified
    assert "have joined the memory bank since, which raises no score" in grown.threshold.sentence
    good = [record for record in dataset.with_role("test") if record.label == 0]
    n_before, n_after = (
        int((scores_of(one, dataset, good)[0] >= grown.threshold.threshold).sum()) for one in (before, after)
    )
    assert n_after <= n_before
    rejected = scores_of(after, dataset, dataset.with_role("calibrate"))[0] >= grown.threshold.threshold
    assert rejected.sum() <= grown.threshold.rank - 1


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_added_to_a_bank_raises_no_distance(seed):
    n_neighbors, top_share, whitening = 1 + seed % 3, (0.0, 0.1, 0.5, 0.0)[seed % 4], (0.0, 0.5, 1.0)[seed // 4]
    generator = torch.Generator().manual_seed(seed)

    def images(n, shift):
        return [60 * torch.rand(1, 3, 32, 32, generator=generator) + shift for _ in range(n)]

    options = {"image_size": 32, "coreset_ratio": 0.3, "whitening": whitening} | TINY
    detector = made("patchcore", **options, n_neighbors=n_neighbors, top_share=top_share)
    detector.fit(images(3, 80.0), seed=seed)
    unseen = images(4, 80.0) + images(2, 0.0) + images(2, 190.0)
    with torch.inference_mode():
        before = [detector(image) for image in unseen]
    detector.grow(images(2, 90.0), 3)
    with torch.inference_mode():
        after = [detector(image) for image in unseen]
    for (score, grid), (new_score, new_grid) in zip(before, after, strict=True):
        slack = 1e-5 * float(grid.max())
        assert (new_score <= score + slack).all()
        assert (new_grid <= grid + slack).all()


def test_a_bank_grows_by_its_share_of_the_new_patches_the_farthest_ones_and_knows_where_they_come_from(few, tmp_path):
    fitting = fitting_of(few, tmp_path, CALIBRATE)
    inspector = fitted_by(fitting)
    detector = inspector.detector
    bank, places = detector.memory_bank_, detector.bank_places_
    new = FitImages(inspector, few, few.with_role("calibrate")[:6])
    detector.grow(new, 20)
    with torch.inference_mode():
        patches = torch.cat([detector._reduced(detector.patch_features(image))[0] for image in new])
    added = detector.memory_bank_[len(bank) :]
    assert torch.equal(detector.memory_bank_[: len(bank)], bank)
    assert torch.equal(detector.bank_places_[: len(bank)], places)
    assert len(added) == int(np.ceil(0.05 * len(patches)))
    nearest = torch.cdist(patches.double(), bank.double()).amin(dim=1)
    for patch, place in zip(added, detector.bank_places_[len(bank) :], strict=True):
        farthest = int(nearest.argmax())
        torch.testing.assert_close(patch, patches[farthest])
        n_cells = len(patches) // 6
        assert place.tolist() == [20 + farthest // n_cells, farthest % n_cells]
        nearest = torch.minimum(nearest, (patches.double() - patch.double()).norm(dim=1))
    assert float(detector.covering_radius_) >= float(nearest.max()) * (1 - 1e-3)


def test_a_grown_gauge_is_saved_proven_and_evaluated_as_any_other(few, tmp_path):
    fitting = fitting_of(few, tmp_path, GROWN)
    inspector = fitted_by(fitting)
    n_fitted = len(inspector.detector.memory_bank_)
    fitting.save(tmp_path / "model", inspector, fitting.certify(inspector, lambda *_: None), category="digit_0")
    model = load_model(tmp_path / "model")
    assert model.threshold.grown
    assert len(model.inspector.detector.memory_bank_) > n_fitted
    assert model.manifest["fitted_on"]["grown_by"] == [record.path for record in few.with_role("calibrate")]
    folder = bundled(model, few, tmp_path)  # parity of scores, maps and verdicts, and pictures of all entries
    shown = read_json(folder / TABLE)["images"]
    assert {record.path for record in few.with_role("calibrate")} & set(shown)
    metrics = evaluate(model, few, EvaluateParams(20, 0.95, 8, 4, 1), seed=17).metrics
    assert "synthetic_auroc" not in metrics  # the calibrate images are in the bank
    assert metrics["certified"]
    with pytest.raises(ConfigError, match=r"evaluate\.seeds is 2 and calibrate.grow_bank is true"):
        evaluate(model, few, EvaluateParams(20, 0.95, 8, 4, 2), seed=17)
    with pytest.raises(ConfigError, match=r"export.int8 is true, but with calibrate.grow_bank"):
        judge_int8(
            model, tmp_path / "gauge.onnx", tmp_path / "none.onnx", few, ParityParams(1e-4, [1], [], 1, 0.01, 0.02)
        )


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"anomalib", "patchcore", "knn"}))
@pytest.mark.parametrize("calibrate", [GROWN, LEFT_OUT])
def test_a_detector_for_which_nothing_is_proven_is_refused_by_name_before_its_fit(name, calibrate, few, tmp_path):
    fitting = fitting_of(few, tmp_path, calibrate, name)
    with pytest.raises(ConfigError, match=f"fit.detector is '{name}' and calibrate.* needs a memory bank of which no"):
        fitting.start(fitting.records)
    assert not isinstance(made(name, **OPTIONS[name]), GrowingBank)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coreset_ratio": None, "bank_patches": 20}, "fit.bank_patches is 20 and bounds the memory bank"),
        ({"coreset_ratio": None, "bank_mb": 0.5}, r"fit.bank_mb is 0\.5 and bounds the memory bank"),
    ],
)
def test_a_bank_with_a_limit_of_its_own_does_not_grow(options, message, few, tmp_path):
    fitting = fitting_of(few, tmp_path, GROWN, **options)
    with pytest.raises(ConfigError, match=message):
        fitting.start(fitting.records)


def test_a_fit_within_a_memory_budget_does_not_grow(few, tmp_path):
    fitting = fitting_of(few, tmp_path, GROWN)
    bounded = dataclasses.replace(FIT, memory_budget_mb=2000.0)
    fitting = dataclasses.replace(fitting, chosen=dataclasses.replace(fitting.chosen, values=bounded))
    with pytest.raises(ConfigError, match=r"fit\.memory_budget_mb is 2,000, which covers no bank that grows"):
        fitting.start(fitting.records)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "cross"}, "calibrate.method is 'cross'; a bank grows under a certificate"),
        ({"method": "tail"}, "calibrate.method is 'tail'; a bank grows under a certificate"),
        ({"probability": "platt"}, "calibrate.probability is 'platt', whose curve needs the scores of good images"),
    ],
)
def test_growth_without_a_certificate_or_with_a_probability_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        CalibrateParams(**{**dataclasses.asdict(CALIBRATE), "grow_bank": True, **change})


def test_fewer_images_than_neighbours_do_not_grow():
    """More neighbours would count, and not nearer ones."""
    detector = made("knn", features="pixels", image_size=4, n_neighbors=5)
    detector.fit([torch.full((1, 3, 4, 4), float(value)) for value in range(3)], seed=1)
    with pytest.raises(DataError, match="with more of them a score can rise"):
        detector.grow([torch.zeros(1, 3, 4, 4)], 3)


# Leave-one-part-out


def test_each_image_is_scored_by_the_bank_without_any_image_of_its_part(digits, tmp_path):
    """Compared with a fit without the part, where every patch is kept: then the two are the same.

    The score is the mean over all patches, each of which may have its nearest one in the part's other image.
    """
    options = {"coreset_ratio": 1.0, "top_share": 1.0}
    parts = [dataclasses.replace(r, group_id=f"part {n % 5}") for n, r in enumerate(digits.with_role("fit")[:10])]
    dataset = dataclasses.replace(digits, records=tuple(parts))
    fitting = fitting_of(dataset, tmp_path, LEFT_OUT, **options)
    inspector = fitted_by(fitting)
    calibration = fitting.certify(inspector, lambda *_: None)
    assert [record.group_id for record in calibration.good.records] == [f"part {n // 2}" for n in range(10)]
    assert calibration.threshold.on_average.proven
    for part in ("part 0", "part 3"):
        others = [record for record in fitting.records if record.group_id != part]
        without = Inspector(made("patchcore", **PATCHCORE | options))
        without.detector.fit(FitImages(without, dataset, others), seed=17)
        own = [number for number, record in enumerate(calibration.good.records) if record.group_id == part]
        expected = scores_of(without, dataset, [calibration.good.records[number] for number in own])[0]
        np.testing.assert_allclose(calibration.good.scores[own], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "exactly"),
    [
        ("patchcore", {"coreset_ratio": 1.0}, True),
        ("patchcore", {"coreset_ratio": 1.0, "n_neighbors": 2, "reduction": "random", "reduced_dims": 8}, True),
        ("patchcore", {"coreset_ratio": 0.5}, False),
        ("patchcore", {"coreset_ratio": 1.0, "whitening": 0.5}, False),
        ("patchcore", {"coreset_ratio": 1.0, "reduction": "pca", "reduced_dims": 8}, False),
        ("patchcore", {"coreset_ratio": 1.0, "foreground": "pca"}, False),
        ("knn", {}, True),
    ],
)
def test_the_bound_is_called_proven_only_where_leaving_out_is_a_fit_without(name, options, exactly, few, tmp_path):
    small = dataclasses.replace(few, records=tuple(few.with_role("fit")[:8]))
    fitting = fitting_of(small, tmp_path, LEFT_OUT, name, **options)
    record = fitting.certify(fitted_by(fitting), lambda *_: None).threshold
    assert record.on_average.proven == exactly
    assert record.certified is False
    assert record.certified_false_alarm_rate is None
    assert ("on average" if exactly else "an estimate of the average") in record.sentence
    assert record.sentence.startswith("not certified; ")


def test_a_bank_of_one_part_alone_leaves_nothing_to_score_by(digits, tmp_path):
    alone = [dataclasses.replace(record, group_id="one") for record in digits.with_role("fit")[:4]]
    fitting = fitting_of(dataclasses.replace(digits, records=tuple(alone)), tmp_path, LEFT_OUT)
    inspector = fitted_by(fitting)
    with pytest.raises(DataError, match=r"without the part of .*, fewer than 1 entries of the memory bank are left"):
        fitting.certify(inspector, lambda *_: None)


def test_the_images_of_a_part_follow_each_other(digits):
    records = [
        dataclasses.replace(record, group_id=group)
        for record, group in zip(digits.with_role("fit"), ["b", "a", "b", "c", "a"], strict=False)
    ]
    ordered = by_part(records)
    assert [record.group_id for record in ordered] == ["b", "b", "a", "a", "c"]
    assert part_ranges(ordered) == [range(2), range(2), range(2, 4), range(2, 4), range(4, 5)]
