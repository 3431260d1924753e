"""The search on images: nothing but good fit images is opened, scores are those of the gauges that a fit gives."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from checkout import ROOT
from conftest import REGIONS, TINY, made
from gonogo.cli.commands import tune as command
from gonogo.cli.main import main
from gonogo.detectors.anomaly_map import upsample
from gonogo.detectors.backbones.patch_features import PatchFeatures
from gonogo.detectors.options import PatchCoreOptions
from gonogo.errors import ConfigError, DataError
from gonogo.evaluation.accuracy.metrics import average_precision
from gonogo.export.graph import ExportParams
from gonogo.images.dataset import Dataset
from gonogo.images.size import ImageSize
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector
from gonogo.params import Params, read_yaml
from gonogo.tuning.good_parts import FOLDS, GoodParts
from gonogo.tuning.kept_features import KeptFeatures
from gonogo.tuning.latency import RUNS, WARMUP, verdict_ms
from gonogo.tuning.planted import KINDS, planted
from gonogo.tuning.search import Budget
from gonogo.tuning.tune import Tuning, summary

SMALL = {"image_size": 64, "layers": [1, 2], "coreset_ratio": 0.05, "smoothing": 2.0} | TINY


@pytest.fixture(scope="module")
def few(digits) -> Dataset:
    """The digits with a dozen fit images, of which one was accepted; all others keep their roles."""
    first, *fit = [record for record in digits.records if record.role == "fit"][:12]
    fit = [dataclasses.replace(first, accepted={"id": "a1", "by": "Ada"}), *fit]
    others = [record for record in digits.records if record.role != "fit"]
    return dataclasses.replace(digits, records=(*fit, *others))


def params_of(fit):
    content = read_yaml(ROOT / "params.yaml")
    content |= {"categories": ["digit_0"], "overrides": {"digit_0": {"fit": fit}}}
    return Params(Path("params.yaml"), "digit_0", content=content)


@pytest.fixture
def opened(monkeypatch):
    """The images that are opened, in their order."""
    names = []
    real = Dataset.path_of
    monkeypatch.setattr(Dataset, "path_of", lambda self, record: (names.append(record.path), real(self, record))[1])
    return names


def latency(options):
    return options.image_size / 8


def test_a_search_opens_no_calibrate_and_no_test_image(few, opened, tmp_path):
    tuning = Tuning("digit_0", params_of(SMALL), few, 17)
    results = tuning.run(tmp_path, Budget(8.0, 1e9), brief=True, progress=lambda *_: None, latency=latency)
    roles = {record.path: record.role for record in few.records}
    assert {roles[name] for name in opened} == {"fit"}
    assert len(set(opened)) == 12
    assert results["n_parts"] == 12
    assert {row["fate"] for row in results["tried"] if row["ms"] > 8} == {"over the budget"}
    assert results["chosen"]["ms"] <= 8
    assert (tmp_path / "digit_0.tune.json").is_file()
    text = "\n".join(summary(results))
    assert "on 12 good parts" in text
    assert "in force: " in text


def test_the_parts_of_a_fold_are_in_no_fit_that_judges_it(few):
    parts = GoodParts.of(few, REGIONS, rotations=1, seed=17)
    assert {record.role for fold in parts.folds for record in fold} == {"fit"}
    assert sorted(record.path for fold in parts.folds for record in fold) == sorted(
        record.path for record in few.with_role("fit")
    )
    groups = [{record.group_id for record in fold} for fold in parts.folds]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_scores_are_those_of_a_gauge_fitted_on_the_other_folds(few):
    options = [PatchCoreOptions(**SMALL), PatchCoreOptions(**SMALL, whitening=0.5, n_neighbors=2)]
    parts = GoodParts.of(few, REGIONS, rotations=1, seed=17)
    found = parts.scores(1, options)
    others = [record for number, fold in enumerate(parts.folds) if number != 1 for record in fold]
    for one, scores in zip(options, found, strict=True):
        inspector = Inspector(made("patchcore", **dataclasses.asdict(one)))
        inspector.detector.fit(FitImages(inspector, few, others), seed=17)
        records = parts.judged(1)
        expected = [float(inspector.inspect(few.pixels_of(record)[None])[0][0]) for record in records]
        assert scores.good == pytest.approx(expected, rel=1e-5)
        assert scores.groups == [record.group_id for record in records]
        pixels, all_records = few.pixels_of(records[0]), parts.dataset.records
        other = few.pixels_of(all_records[(all_records.index(records[0]) + 1) % len(all_records)])
        for kind, score in zip(KINDS, scores.planted[0], strict=True):
            damaged = planted(kind, pixels, other, np.ones((8, 8), bool), seed=17, content=records[0].sha256)
            if damaged is None:
                assert np.isnan(score)
            else:
                assert score == pytest.approx(float(inspector.inspect(damaged[0][None])[0][0]), rel=1e-5)


def test_what_an_image_looks_like_is_computed_once_for_all_options_that_see_the_same(few, monkeypatch):
    seen, real = [], PatchFeatures.forward
    monkeypatch.setattr(PatchFeatures, "forward", lambda self, pixels: (seen.append(pixels), real(self, pixels))[1])
    plain, white = PatchCoreOptions(**SMALL), PatchCoreOptions(**SMALL, whitening=0.5)
    parts = GoodParts.of(few, REGIONS, rotations=1, seed=17)
    first = parts.scores(1, [plain])[0]
    n_copies = int((~np.isnan(first.planted)).sum())
    assert len(seen) == len(parts.dataset.records) + n_copies
    seen.clear()
    second = parts.scores(1, [white])[0]
    assert seen == []
    other = parts.scores(2, [plain])[0]
    assert len(seen) == int((~np.isnan(other.planted)).sum())  # the images themselves are known
    small = dataclasses.replace(plain, image_size=32)
    third = parts.scores(1, [small])[0]
    monkeypatch.undo()
    without_room = GoodParts.of(few, REGIONS, rotations=1, seed=17)
    vars(without_room)["features"] = KeptFeatures(2**19)  # a few images
    for found, fold, options in ((first, 1, plain), (second, 1, white), (other, 2, plain), (third, 1, small)):
        again = without_room.scores(fold, [options])[0]
        np.testing.assert_array_equal(again.good, found.good)
        np.testing.assert_array_equal(again.planted, found.planted)
    assert 0 < without_room.features.n_bytes <= 2**19


def test_the_features_that_were_not_used_for_longest_make_room():
    kept = KeptFeatures(100)
    for name in "abc":
        kept[name] = torch.zeros(10)  # 40 bytes
    assert [name in kept for name in "abc"] == [False, True, True]
    assert kept["b"] is not None
    kept["d"], kept["none"] = torch.zeros(5), None
    assert [name in kept for name in "abcd"] == [False, True, True, True]
    kept["e"] = torch.zeros(10)
    assert [name in kept for name in "bcde"] == [True, False, True, True]
    assert kept.n_bytes == 100
    kept["e"] = torch.zeros(1)  # in place of the other one
    assert kept.n_bytes == 64
    assert kept["none"] is None
    kept["large"] = torch.zeros(100)
    assert "large" not in kept
    assert kept.n_bytes == 0


def test_maps_are_judged_by_the_average_precision_of_their_pixels(few):
    plain = PatchCoreOptions(**SMALL)
    candidates = [plain, dataclasses.replace(plain, smoothing=6.0)]
    parts = GoodParts.of(few, REGIONS, rotations=1, seed=17)
    others = [record for number, fold in enumerate(parts.folds) if number != 1 for record in fold]
    inspector = Inspector(made("patchcore", **SMALL))
    inspector.detector.fit(FitImages(inspector, few, others), seed=17)
    expected = [[], []]
    for record in parts.judged(1):
        made_of = [one for one in (parts.planted(record, kind) for kind in KINDS) if one is not None]
        for options, values in zip(candidates, expected, strict=True):
            precisions = []
            for pixels, mask in made_of:
                _, grid = inspector.detector(inspector.resized(torch.from_numpy(pixels)[None]))
                anomaly_map = upsample(grid, ImageSize(64, 64), options.smoothing, 64, 64).numpy()
                precisions.append(average_precision(anomaly_map.ravel(), np.kron(mask, np.ones((8, 8), bool)).ravel()))
            values.append(np.mean(precisions))
    found = parts.localisation(1, candidates)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0] != pytest.approx(found[1])


def test_too_few_good_parts_are_refused(few):
    seven = [record for record in few.records if record.role == "fit"][: 2 * FOLDS - 1]
    with pytest.raises(DataError, match=r"7 good parts have the role fit.*at least 8 are needed"):
        GoodParts.of(dataclasses.replace(few, records=tuple(seven)), REGIONS, rotations=1, seed=17)


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"detector": "pca", "image_size": 8}, "the detector is pca; options are searched for patchcore alone"),
        ({"tiling": {"height": 300, "width": 300, "overlap": 8}}, "fit.tiling is set"),
        ({"finetune": {"method": "low_rank"}}, "fit.finetune is set"),
        ({"preprocess": {"grey_world": True}}, "fit.preprocess is set"),
    ],
)
def test_a_gauge_that_no_search_can_judge_is_refused(few, fit, message):
    with pytest.raises(ConfigError, match=message):
        Tuning("digit_0", params_of(fit), few, 17).options()


def test_a_verdict_is_timed_by_the_median_of_runs_of_the_exported_graph(few):
    options = PatchCoreOptions(**SMALL | {"coreset_ratio": None}, bank_patches=300)
    images = [few.path_of(record) for record in few.records[:2]]
    ticks = iter(np.cumsum([number for run in range(WARMUP + RUNS) for number in (1.0, 0.5 if run < WARMUP else run)]))
    found = verdict_ms(options, 40, images, REGIONS, ExportParams(18, False), threads=1, clock=lambda: next(ticks))
    assert found == pytest.approx(1e3 * np.median(range(WARMUP, WARMUP + RUNS)))


@pytest.fixture
def project(tmp_path, monkeypatch, few):
    """A project whose data are prepared, where neither DVC nor a graph is needed."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    override = "  digit_0:\n    prepare: {source: digits, normal_class: 0}  # zeros\n    fit:\n      image_size: 64\n"
    override += "      layers:\n      - 1\n      - 2\n      backbone: test_resnet\n      weights: random\n"
    text = text[: text.index("overrides:")] + f"overrides:\n{override}"
    Path("params.yaml").write_text(text, encoding="utf-8")
    Path("dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    monkeypatch.setattr("gonogo.project.dvc.run_dvc", lambda *_: None)
    monkeypatch.setattr("gonogo.images.dataset.read_dataset", lambda *_: few)
    monkeypatch.setattr("gonogo.tuning.tune.verdict_ms", lambda options, *_, **__: latency(options))
    monkeypatch.setattr(command, "BRIEF_MINUTES", 100.0)
    return tmp_path


def whitened_in(last):
    return next(one for one in last if one.options.whitening == 0.5)


@pytest.mark.usefixtures("project")
def test_write_changes_the_override_of_the_category_alone(monkeypatch, capsys):
    monkeypatch.setattr("gonogo.tuning.search.Search._best", lambda *given: whitened_in(given[-1]))
    before = Path("params.yaml").read_text(encoding="utf-8")
    assert main(["tune", "digit_0", "--verdict-ms", "9", "--minutes", "5"]) == 0
    assert Path("params.yaml").read_text(encoding="utf-8") == before
    said = capsys.readouterr().out
    assert "  to write: overrides.digit_0.fit.whitening: - -> 0.5" in said
    assert main(["tune", "digit_0", "--verdict-ms", "9", "--minutes", "5", "--write"]) == 0
    after = Path("params.yaml").read_text(encoding="utf-8")
    old, new = before.splitlines(), after.splitlines()
    assert [line for line in old if line not in new] == []
    assert {line.strip().split(":")[0] for line in new if line not in old} <= {"whitening", "smoothing"}
    assert Params(Path("params.yaml"), "digit_0").section("fit")["whitening"] == 0.5


@pytest.mark.usefixtures("project")
def test_an_unknown_category_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["tune", "digit_9"])
    assert ended.value.code == 2
    assert "has no category 'digit_9'; did you mean " in capsys.readouterr().err
