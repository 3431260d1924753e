"""Suspicious fit images: each is scored without itself, the planted defects come first, and the record keeps it all."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import LocalOutlierFactor as SklearnLOF
from tests.data.test_real_parts import DATA

from conftest import OPTIONS, fitted, made, manifest_of, shares
from gonogo.data.mvtec_ad import MVTecAD
from gonogo.detectors.knn import KNearestNeighbours
from gonogo.detectors.lof import LocalOutlierFactor
from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.options import KNNOptions, LOFOptions, MeanImageOptions, PaDiMOptions, PatchCoreOptions
from gonogo.detectors.padim import PaDiM
from gonogo.detectors.patchcore import PatchCore
from gonogo.errors import IntegrityError, NotFittedError
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import Tiling
from gonogo.model.inspection import score_fit_images
from gonogo.model.inspector import Inspector
from gonogo.model.left_out import LeftOutScores, load_left_out, save_left_out


def silent(*report):
    """Progress that nobody looks at."""


def left_out(detector, images):
    """(n,) score of each of the images that it was fitted on."""
    with torch.inference_mode():
        return np.array([float(detector.score_without(images[i], range(i, i + 1))[0]) for i in range(len(images))])


def planted(digits, n_bad=6):
    """The fit images of a digit with some of other digits among them, and which those are, (n,) bool."""
    bad = [record for record in digits.with_role("test") if record.label == 1]
    chosen = [bad[index] for index in np.random.default_rng(0).permutation(len(bad))[:n_bad]]
    records = [*digits.with_role("fit")[:60], *chosen]
    return records, np.array([record.label == 1 for record in records])


# What each detector leaves out


@pytest.mark.parametrize("options", [{}, {"n_neighbors": 2}, {"top_share": 0.1}])
def test_patchcore_leaves_out_the_patches_that_the_image_brought_into_the_bank(digits, options):
    detector = PatchCore(PatchCoreOptions(image_size=64, coreset_ratio=0.2, **options))
    images = FitImages(Inspector(detector), digits, digits.with_role("fit")[:5])
    detector.fit(images, seed=3)
    with torch.inference_mode():
        patches = torch.cat([detector.patch_features(image).flatten(1, 2) for image in images]) - detector.mean_
        bank = detector.memory_bank_
        of = [[bool((image == patch).all(dim=1).any()) for image in patches].index(True) for patch in bank]
        others = bank[[number for number, image in enumerate(of) if image not in (2, 3)]]
        distance = torch.cdist(patches[2].double(), others.double()).sort(dim=1).values
        distance = distance[:, : options.get("n_neighbors", 1)].mean(dim=1)
        score, grid = detector.score_without(images[2], range(2, 4))
        expected = distance.sort().values[-6:].mean() if "top_share" in options else distance.max()
    np.testing.assert_allclose(grid.flatten(), distance, rtol=1e-4)
    assert float(score) == pytest.approx(float(expected), rel=1e-4)
    assert (grid >= detector(images[2])[1] - 1e-5).all()


@pytest.mark.parametrize("n_images", [40, 8])  # more and fewer than dimensions
def test_padim_without_an_image_is_padim_fitted_without_it(n_images):
    images = [
        torch.from_numpy(np.random.default_rng(i).uniform(80, 140, (1, 3, 32, 32))).float() for i in range(n_images)
    ]
    options = {"image_size": 32, "n_features": 15, "weights": "random"}
    grids = PaDiM(PaDiMOptions(**options, epsilon=1e-3)).fit(images, seed=1).score_without(images[4], range(4, 5))
    without = PaDiM(PaDiMOptions(**options, epsilon=1e-3 * (n_images - 1) / (n_images - 2)))
    expected = without.fit(images[:4] + images[5:], seed=1)(images[4])
    for ours, theirs in zip(grids, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=5e-3, atol=0)


def test_knn_without_an_image_is_knn_fitted_without_it(digits):
    detector, without = (
        KNearestNeighbours(KNNOptions(features="pixels", image_size=8, n_neighbors=3)) for _ in range(2)
    )
    images = list(FitImages(Inspector(detector), digits, digits.with_role("fit")[:9]))
    detector.fit(images, seed=0)
    without.fit(images[:4] + images[6:], seed=0)
    assert torch.equal(detector.score_without(images[4], range(4, 6))[0], without(images[4])[0])


def test_lof_without_an_image_is_scikit_learns_factor_of_the_fit_images_themselves(digits):
    detector = LocalOutlierFactor(LOFOptions(features="pixels", image_size=8, n_neighbors=5))
    images = FitImages(Inspector(detector), digits, digits.with_role("fit")[:30])
    detector.fit(images, seed=0)
    theirs = SklearnLOF(n_neighbors=5).fit(torch.cat(list(images)).flatten(1).double().numpy())
    np.testing.assert_allclose(left_out(detector, images), -theirs.negative_outlier_factor_, rtol=1e-4)


# Features that know what a digit is: the contract suite's tiny backbone has random weights.
SEEING = OPTIONS | {"patchcore": {"image_size": 64, "coreset_ratio": 0.05}}


@pytest.mark.parametrize(("name", "least"), [("pca", 6), ("patchcore", 5), ("padim", 4), ("softpatch", 5)])
def test_planted_defects_score_highest_where_they_are_left_out(name, least, digits):
    records, bad = planted(digits)
    detector = made(name, **SEEING[name])
    images = FitImages(Inspector(detector), digits, records)
    detector.fit(images, seed=17)
    assert bad[np.argsort(-left_out(detector, images))[:6]].sum() >= least


@pytest.mark.parametrize("name", ["pca", "patchcore"])
def test_a_planted_defect_hides_from_the_model_that_learned_it(name, digits):
    records, bad = planted(digits)
    detector = made(name, **SEEING[name])
    images = FitImages(Inspector(detector), digits, records)
    detector.fit(images, seed=17)
    with torch.inference_mode():
        plain = np.array([float(detector(image)[0]) for image in images])
    assert bad[np.argsort(-plain)[:6]].sum() < bad[np.argsort(-left_out(detector, images))[:6]].sum() - 2


@pytest.mark.parametrize("name", ["patchcore", "softpatch", "knn"])
def test_a_model_that_was_loaded_leaves_an_image_out_as_the_fitted_one_does(name, digits):
    inspector = fitted(name, digits)
    loaded = made(name, **OPTIONS[name]).restore(inspector.detector.state_dict())
    image = FitImages(inspector, digits, digits.with_role("fit")[:40])[3]
    with torch.inference_mode():
        for ours, theirs in zip(
            *(of.score_without(image, range(3, 4)) for of in (loaded, inspector.detector)), strict=True
        ):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["padim", "pca"])
def test_a_model_that_was_loaded_cannot_leave_an_image_out(name, digits):
    state = fitted(name, digits).detector.state_dict()
    detector = made(name, **OPTIONS[name]).restore(state)
    images = FitImages(Inspector(detector), digits, digits.with_role("fit")[:1])
    with pytest.raises(NotFittedError, match="is not saved; fit again"):
        detector.score_without(images[0], range(1))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent; its images are not ours to ship")
@pytest.mark.parametrize("name", ["patchcore", "padim"])
def test_hazelnuts_with_paint_on_them_among_good_ones_come_first(name, tmp_path):
    source = MVTecAD(folder="hazelnut_toy")
    manifest = manifest_of(source.samples("hazelnut", DATA, shares(17)), tmp_path, raw=DATA)
    painted = [record for record in manifest.with_role("test") if record.label == 1][::6]
    records = [*manifest.with_role("fit"), *painted]
    inspector = Inspector(made(name, image_size=128))
    inspector.detector.fit(FitImages(inspector, manifest, records), seed=17)
    looked = score_fit_images(inspector, FitImages(inspector, manifest, records), n_shown=3, progress=silent)
    assert (
        sum(looked.images[number] in {record.path for record in painted} for number in looked.shown) >= 2
    )  # by chance of three draws: 1 in 66


# The pass over the fit images


@pytest.fixture(scope="module")
def looked(digits):
    """Of patchcore on 20 digits and two planted ones."""
    records, _ = planted(digits, n_bad=2)
    inspector = Inspector(made("patchcore", **OPTIONS["patchcore"]))
    images = FitImages(inspector, digits, records[-22:])
    inspector.detector.fit(images, seed=17)
    return inspector, images, score_fit_images(inspector, images, n_shown=4, progress=silent)


def test_the_highest_scores_are_shown_with_their_own_maps(looked):
    inspector, images, scores = looked
    expected = left_out(inspector.detector, images)
    np.testing.assert_allclose(scores.scores, expected, rtol=1e-6)
    assert scores.shown == np.argsort(-expected, kind="stable")[:4].tolist()
    with torch.inference_mode():
        for number, anomaly_map in zip(scores.shown, scores.maps, strict=True):
            given = inspector.detector.score_without(images[number], range(number, number + 1))
            expected_map = inspector.to_image(*given, torch.empty(1, 8, 8, 3))[1][0]
            np.testing.assert_allclose(anomaly_map, expected_map, rtol=1e-5)


def test_with_the_whole_fit_an_image_is_looked_at_as_by_every_other_stage(looked):
    inspector, images, _ = looked
    pixels = np.stack([images.dataset.pixels_of(record) for record in images.records[:3]])
    nobody = range(len(images), len(images))
    for without, with_all in zip(inspector.inspect_without(pixels, nobody), inspector.inspect(pixels), strict=True):
        np.testing.assert_allclose(without, with_all, rtol=1e-6)


def test_the_rows_list_every_image_from_the_most_anomalous_on(looked):
    scores = looked[2]
    rows = scores.rows()
    assert [row["rank"] for row in rows] == list(range(1, 23))
    assert [row["score"] for row in rows] == sorted((float(score) for score in scores.scores), reverse=True)
    by_path = {path: float(score) for path, score in zip(scores.images, scores.scores, strict=True)}
    assert all(by_path[row["image"]] == row["score"] for row in rows)
    assert rows[0]["times_median"] == rows[0]["score"] / float(np.median(scores.scores))
    assert f"of 22 fit images {rows[0]['image']} is least like the others, " in scores.sentence
    assert f"{rows[0]['times_median']:.2f} times as far" in scores.sentence


def test_where_none_is_to_be_shown_no_image_is_read(digits):
    inspector = Inspector(MeanImage(MeanImageOptions(image_size=8)))  # not fitted: looking at one would raise
    looked = score_fit_images(
        inspector, FitImages(inspector, digits, digits.with_role("fit")), n_shown=0, progress=silent
    )
    assert looked.rows() == []
    assert "fit.left_out is 0" in looked.sentence


@pytest.mark.parametrize("rotations", [1, 3])
def test_all_tiles_and_views_of_an_image_are_left_out_together_and_its_worst_tile_gives_the_score(rotations, digits):
    asked = []

    class Recording(MeanImage):
        def score_without(self, pixels, own):
            asked.append(own)
            score, grid = self(pixels)
            return score, grid

    inspector = Inspector(Recording(MeanImageOptions(image_size=8)), tiling=Tiling(height=8, width=14, overlap=2))
    upright, images = (
        FitImages(inspector, digits, digits.with_role("fit")[:3], rotations=steps) for steps in (1, rotations)
    )
    inspector.detector.fit(images, seed=0)
    looked = score_fit_images(inspector, images, n_shown=1, progress=silent)
    views = 2 * rotations
    assert asked == [range(views * number, views * number + views) for number in range(3) for _ in range(2)]
    tiles = np.array([float(inspector.detector(image)[0]) for image in upright])
    np.testing.assert_allclose(looked.scores, tiles.reshape(3, 2).max(axis=1), rtol=1e-6)
    assert looked.maps[0].shape == (8, 8)


# The record


def test_scores_and_maps_are_read_as_they_were_written_and_written_to_the_same_bytes(looked, tmp_path):
    scores = looked[2]
    for name in ("a", "b"):
        save_left_out(tmp_path / f"{name}.npz", scores)
    read = load_left_out(tmp_path / "a.npz")
    assert (read.images, read.shown) == (scores.images, scores.shown)
    np.testing.assert_array_equal(read.scores, scores.scores)
    assert len(read.maps) == 4
    for ours, theirs in zip(read.maps, scores.maps, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert read.rows() == scores.rows()
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_scores_of_no_image_are_a_record_too(tmp_path):
    save_left_out(tmp_path / "none.npz", LeftOutScores([], np.zeros(0, np.float32), [], []))
    assert load_left_out(tmp_path / "none.npz").rows() == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x93NUMPY"])
def test_a_damaged_record_is_refused_with_its_name(content, tmp_path):
    (tmp_path / "digit_0.npz").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"digit_0\.npz cannot be read as the scores of the fit images"):
        load_left_out(tmp_path / "digit_0.npz")


def test_an_object_in_a_record_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "digit_0.npz", images=np.array([{"any": "object"}], dtype=object))
    with pytest.raises(IntegrityError, match="allow_pickle"):
        load_left_out(tmp_path / "digit_0.npz")
