"""SoftPatch: the outlier factors are the known ones, and defects among the fit images do it less harm."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import CALIBRATE, PREPARE, shares, unseen
from gonogo.data.prepare.prepare import prepare
from gonogo.data.surfaces import Surfaces
from gonogo.detectors.options import PatchCoreOptions, SoftPatchOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.detectors.softpatch import SoftPatch, local_outlier_factors
from gonogo.errors import DataError
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.evaluation.accuracy.pixel_metrics import pixel_metrics
from gonogo.images.dataset import Dataset
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import score_images
from gonogo.model.inspector import Inspector


def factors_of_scikit_learn(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    from sklearn.neighbors import LocalOutlierFactor

    return -LocalOutlierFactor(n_neighbors=n_neighbors, algorithm="brute").fit(rows).negative_outlier_factor_


@pytest.mark.parametrize("n_neighbors", [1, 6, 29])
def test_outlier_factors_are_those_of_scikit_learn_in_each_group_by_itself(n_neighbors):
    rng = np.random.default_rng(2)
    groups = rng.normal(size=(4, 30, 5)) * rng.uniform(0.1, 3, size=(4, 30, 1)) + 50
    factors = local_outlier_factors(torch.from_numpy(groups).float(), n_neighbors)
    for group, ours in zip(groups.astype(np.float32), factors, strict=True):
        np.testing.assert_allclose(ours, factors_of_scikit_learn(group.astype(np.float64), n_neighbors), rtol=1e-5)


def test_outlier_factors_of_many_equal_rows_are_one_and_a_lonely_row_stands_out():
    rows = torch.zeros(1, 20, 3)
    rows[0, 7] = 1.0
    factors = local_outlier_factors(rows, 6)[0]
    assert torch.isfinite(factors).all()
    assert int(factors.argmax()) == 7
    others = torch.cat([factors[:7], factors[8:]])
    np.testing.assert_allclose(others, 1.0, rtol=1e-6)


def fitted_on_digits(digits: Dataset, **options: object) -> tuple[Inspector, torch.Tensor]:
    """A SoftPatch of nine digits that keeps every patch it may, and their patches (9, p, d)."""
    detector = SoftPatch(SoftPatchOptions(image_size=64, coreset_ratio=1.0, lof_neighbors=4, **options))
    inspector = Inspector(detector)
    batches = FitImages(inspector, digits, digits.with_role("fit")[:9])
    detector.fit(batches, seed=0)
    with torch.inference_mode():
        return inspector, torch.cat([detector.patch_features(batch).flatten(1, 2) for batch in batches])


def factors_at_each_place(patches: torch.Tensor) -> np.ndarray:
    """(n * p,) in the patches' order."""
    places = patches.transpose(0, 1).double().numpy()
    return np.stack([factors_of_scikit_learn(rows, 4) for rows in places], axis=1).ravel()


def test_a_score_is_the_least_distance_to_a_patch_of_the_bank_times_its_outlier_factor(digits, pixels):
    inspector, patches = fitted_on_digits(digits, removed_share=0.0)
    factors, bank = factors_at_each_place(patches), patches.flatten(0, 1).double().numpy()
    with torch.inference_mode():
        probe = inspector.detector.patch_features(inspector.resized(torch.from_numpy(pixels[:2]))).flatten(1, 2)
    for image, rows in zip(pixels[:2], probe.double().numpy(), strict=True):
        weighted = []
        for row in rows:
            distances = np.sqrt(((bank - row) ** 2).sum(axis=1))
            weighted.append((distances * factors).min())
        np.testing.assert_allclose(inspector.inspect(image[None])[0][0], max(weighted), rtol=1e-4)


def test_the_bank_is_chosen_from_all_but_the_worst_share_of_the_patches(digits):
    inspector, patches = fitted_on_digits(digits, removed_share=0.25)
    detector, factors = inspector.detector, factors_at_each_place(patches)
    worst_kept = np.sort(factors)[len(factors) - int(0.25 * len(factors)) - 1]
    kept = patches.flatten(0, 1)[factors <= worst_kept]
    bank = detector.memory_bank_ + detector.mean_
    assert len(bank) == len(kept)
    assert torch.cdist(kept.double(), bank.double()).amin(dim=1).max() < 1e-4
    np.testing.assert_allclose(np.sort(detector.bank_weights_), np.sort(factors)[: len(bank)], rtol=1e-4)


def test_too_few_images_for_the_outlier_factor_are_refused_with_how_many_it_takes(digits):
    detector = SoftPatch(SoftPatchOptions(image_size=64))
    few = FitImages(Inspector(detector), digits, digits.with_role("fit")[:6])
    with pytest.raises(DataError, match="at least 7 fit images, got 6"):
        detector.fit(few, seed=0)


def test_a_defect_in_one_fit_image_is_still_found_where_patchcore_learned_it():
    texture = np.random.default_rng(0).integers(90, 110, (16, 64, 64, 3), dtype=np.uint8)
    spoilt = texture.copy()
    spoilt[3, 40:52, 8:20] = [200, 30, 30]
    scores = {}
    for kind in (PatchCore, SoftPatch):
        options = SoftPatchOptions if kind is SoftPatch else PatchCoreOptions
        detector = kind(options(image_size=128, coreset_ratio=0.2))
        inspector = Inspector(detector)
        detector.fit([inspector.resized(torch.from_numpy(spoilt[:12]))], seed=0)
        shown = np.concatenate([texture[12:], spoilt[3:4]])
        scores[kind] = inspector.inspect(shown)[0]
    assert scores[PatchCore][4] < scores[PatchCore][:4].max()
    assert scores[SoftPatch][4] > 1.5 * scores[SoftPatch][:4].max()


@pytest.mark.slow
def test_with_a_fifth_of_the_defects_among_the_fit_images_it_finds_more_of_them_than_patchcore(tmp_path):
    # The paper's setting "overlap": the defects that slipped into fit are to be found like those that did not.
    prepared = prepare(
        Surfaces(photograph="brick").samples("brick", Path(), shares(17)),
        replace(PREPARE, contaminate=0.2),
        CALIBRATE,
        category="brick",
        folder=tmp_path,
        raw=Path("no raw folder"),
        seed=17,
        progress=unseen,
    )
    dataset = prepared.dataset
    fit = dataset.with_role("fit")
    slipped_in = [record for record in fit if record.label == 1]
    assert len(slipped_in) >= 10
    found = {}
    for detector in (PatchCore(PatchCoreOptions(image_size=128)), SoftPatch(SoftPatchOptions(image_size=128))):
        inspector = Inspector(detector)
        detector.fit(FitImages(inspector, dataset, fit), seed=17)
        shown = [*dataset.with_role("test"), *slipped_in]
        scores, maps = zip(*score_images(inspector, dataset, shown), strict=True)
        image_auroc = auroc(np.array(scores), np.array([record.label == 1 for record in shown]))
        aupro_30 = pixel_metrics(maps, map(dataset.mask_of, shown)).aupro_30
        found[type(detector)] = np.array([image_auroc, aupro_30])
    image_auroc, aupro_30 = found[SoftPatch] - found[PatchCore]
    assert image_auroc > 0.1
    assert aupro_30 > 0.05
