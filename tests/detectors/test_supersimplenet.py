"""SuperSimpleNet learns to see planted noise, keeps the order of its logits, and survives being killed."""

import json
import math
import os
import random
import shutil
import signal
import subprocess

import numpy as np
import pytest
import torch

from conftest import OPTIONS, copy_pipeline, fitted, run_stages
from gonogo.detectors.anomaly_map import positive
from gonogo.detectors.contract import FitContext
from gonogo.detectors.options import SuperSimpleNetOptions
from gonogo.detectors.supersimplenet import (
    SuperSimpleNet,
    anomaly_masks,
    focal_loss,
    perlin_noise,
    truncated_l1,
)
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.errors import ConfigError, TrainingError
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector
from processes import command_killed, needs_kill, steps_of

TINY = {"image_size": 32, "upscale": 2, "weights": "random", "noise_std": 1.0, "batch_size": 2}


class Killed(Exception):
    """What a kill looks like to the code that it ends."""


@pytest.fixture(scope="module")
def textures():
    """Eight batches of one image each, (1, 3, 32, 32)."""
    generator = torch.Generator().manual_seed(1)
    return [100 + 20 * torch.rand(1, 3, 32, 32, generator=generator) for _ in range(8)]


def trained(textures, *, folder=None, die_after=None, seed=3, **options):
    """A tiny detector fitted on the textures, and its curve; killed after `die_after` reports."""
    detector = SuperSimpleNet(SuperSimpleNetOptions(**(TINY | {"epochs": 6, "checkpoint_every": 2} | options)))
    checkpoints = None if folder is None else Checkpoints(folder, {"options": options, "seed": seed})
    curve = []

    def report(what, n_done, n_total, values):
        curve.append((what, n_done, n_total, values))
        if len(curve) == die_after:
            raise Killed

    detector.fit(textures, seed=seed, context=FitContext(checkpoints=checkpoints, progress=report))
    return detector, curve


def test_planted_noise_in_the_features_of_unseen_good_images_is_found_where_it_was_planted(digits):
    inspector = fitted("supersimplenet", digits)
    detector = inspector.detector
    good = [record for record in digits.with_role("test", "calibrate") if record.label == 0]
    pixels = torch.cat(list(FitImages(inspector, digits, good)))
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        features = detector._upscaled(detector.backbone(pixels), detector.mean_, detector.scale_)
        adapted = detector.heads.adaptor(features)
        masks = torch.zeros(len(pixels), *adapted.shape[-2:])
        masks[:, 2:5, 3:7] = 1
        noise = detector.options.noise_std * torch.randn(adapted.shape, generator=generator)
        clean, _ = detector.heads.logits(adapted)
        score, grid = detector.heads.logits(adapted + noise * masks[:, None])
    assert auroc(np.r_[clean.numpy(), score.numpy()], np.repeat([False, True], len(good))) > 0.9
    assert auroc(grid.numpy().ravel(), masks.numpy().ravel() > 0) > 0.95


def test_the_map_peaks_where_the_image_was_changed():
    rng = np.random.default_rng(0)
    texture = rng.integers(90, 110, (9, 64, 64, 3), dtype=np.uint8)
    detector = SuperSimpleNet(
        SuperSimpleNetOptions(image_size=128, noise_std=1.0, epochs=12, head_lr=1e-3, smoothing=2.0)
    )
    inspector = Inspector(detector)
    detector.fit([inspector.resized(torch.from_numpy(image[None])) for image in texture[:8]], seed=0)
    changed = texture[8:].copy()
    changed[0, 40:52, 8:20] = [200, 30, 30]
    (good, bad), maps = inspector.inspect(np.concatenate([texture[8:], changed]))
    row, column = np.unravel_index(maps[1].argmax(), (64, 64))
    assert 36 <= row < 56
    assert 4 <= column < 24
    assert bad > good


def test_the_losses_fall(textures):
    _, curve = trained(textures, epochs=15, head_lr=1e-3)
    epochs = [values for what, _, _, values in curve if what == "epochs"]
    assert [len(values) for values in epochs] == [2] * 15
    for name in ("loss", "held_out_loss"):
        assert np.mean([values[name] for values in epochs[-3:]]) < 0.8 * epochs[0][name]


def test_the_training_loss_does_not_know_the_held_out_image(textures):
    from gonogo.detectors.training.training import hold_out

    _, (held_out,) = hold_out(len(textures), 0.1, seed=3)
    other = list(textures)
    other[held_out] = 255 - other[held_out]
    (ours, one), (theirs, two) = trained(textures, patience=0, epochs=3), trained(other, patience=0, epochs=3)
    losses = [[values["loss"] for *_, values in curve if values] for curve in (one, two)]
    assert losses[0] == losses[1]
    assert one[-1][3]["held_out_loss"] != two[-1][3]["held_out_loss"]
    assert torch.equal(ours.mean_, theirs.mean_)


def test_a_fit_killed_at_any_report_and_taken_up_again_equals_an_uninterrupted_one(textures, tmp_path):
    uninterrupted, curve = trained(textures)
    rng = random.Random(2)
    for attempt, die_after in enumerate(sorted(rng.sample(range(1, len(curve)), 4))):
        folder = tmp_path / str(attempt)
        with pytest.raises(Killed):
            trained(textures, folder=folder, die_after=die_after)
        resumed, whole = trained(textures, folder=folder)
        assert whole == curve
        assert resumed.state_dict().keys() == uninterrupted.state_dict().keys()
        for name, tensor in uninterrupted.state_dict().items():
            assert torch.equal(resumed.state_dict()[name], tensor), name


def test_a_fit_that_was_killed_leaves_a_detector_that_refuses_to_score(textures):
    detector, _ = trained(textures)

    def die(*report):
        if report[:2] == ("epochs", 5):
            raise Killed

    with pytest.raises(Killed):
        detector.fit(textures, seed=3, context=FitContext(progress=die))
    with pytest.raises(RuntimeError, match="call fit"):
        detector(textures[0])


def test_fitting_again_starts_anew(textures):
    detector, _ = trained(textures, epochs=2)
    first = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    detector.fit(textures, seed=3)
    assert all(torch.equal(detector.state_dict()[name], tensor) for name, tensor in first.items())


def test_features_beyond_the_bound_of_memory_are_refused_before_all_are_computed(textures):
    seen = []

    class Counted(list):
        def __iter__(self):
            for item in super().__iter__():
                seen.append(item)
                yield item

    detector = SuperSimpleNet(SuperSimpleNetOptions(**TINY))
    with pytest.raises(
        ConfigError, match=r"memory_budget_mb leaves 0\.0 MB; the features of \d+ fit images need \d\.\d MB"
    ):
        detector.fit(Counted(textures), seed=0, context=FitContext(room=1000))
    assert len(seen) == 1


def test_features_that_are_not_finite_are_refused(textures):
    broken = [*textures[:-1], torch.full((1, 3, 32, 32), float("nan"))]
    with pytest.raises(TrainingError, match="expected finite losses"):
        trained(broken)


def test_an_image_scores_as_its_worst_patch_or_as_the_classification_head_says(textures):
    by_map, _ = trained(textures)
    by_head, _ = trained(textures, image_score="head")
    with torch.inference_mode():
        (of_map, grid), (of_head, same_grid) = by_map(textures[0]), by_head(textures[0])
        features = by_head._upscaled(by_head.backbone(textures[0]), by_head.mean_, by_head.scale_)
        logit, _ = by_head.heads.logits(by_head.heads.adaptor(features))
    assert torch.equal(grid, same_grid)
    assert float(of_map) == float(grid.max())
    assert float(of_head) == pytest.approx(float(positive(logit))) != pytest.approx(float(of_map))


def test_the_score_keeps_the_order_of_logits_at_which_a_probability_is_one():
    logits = torch.cat([torch.linspace(-60, 60, 2401), torch.tensor([-1e-4, 0.0, 1e-4])]).sort().values
    score = positive(logits)
    assert len(logits.sigmoid().unique()) < len(logits.unique())
    assert bool((score[1:] > score[:-1])[logits[1:] > logits[:-1]].all())
    assert float(score.min()) > 0
    assert float(positive(torch.tensor(0.0))) == 1
    slope = (positive(torch.tensor(1e-3)) - positive(torch.tensor(-1e-3))) / 2e-3
    assert float(slope) == pytest.approx(1, abs=1e-2)


def test_focal_loss_is_the_papers_formula():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, 200), rng.integers(0, 2, 200).astype(float)
    p = 1 / (1 + np.exp(-logits))
    p_true = np.where(targets == 1, p, 1 - p)
    expected = (-((1 - p_true) ** 4) * np.log(p_true)).mean()
    assert float(focal_loss(torch.from_numpy(logits), torch.from_numpy(targets))) == pytest.approx(expected)


def test_truncated_l1_counts_each_kind_once_and_nothing_beyond_half():
    logits, targets = torch.tensor([-2.0, -0.5, 0.0, 1.0, 3.0, 0.25]), torch.tensor([0.0, 0, 0, 0, 1, 1])
    assert float(truncated_l1(logits, targets)) == pytest.approx((0 + 0 + 0.5 + 1.5) / 4 + (0 + 0.25) / 2)
    assert float(truncated_l1(logits[:4], targets[:4])) == pytest.approx(0.5)


def test_perlin_noise_is_that_of_a_double_loop():
    noise = perlin_noise((12, 20), 4, 2, torch.Generator().manual_seed(0)).numpy()
    angles = 2 * math.pi * torch.rand(5, 3, generator=torch.Generator().manual_seed(0)).double().numpy()

    def fade(t):
        return t * t * t * (t * (t * 6 - 15) + 10)

    for i in range(12):
        for j in range(20):
            y, x = i * 4 / 12, j * 2 / 20
            value = 0.0
            for row in (int(y), int(y) + 1):
                for column in (int(x), int(x) + 1):
                    dy, dx, angle = y - row, x - column, angles[row, column]
                    value += fade(1 - abs(dy)) * fade(1 - abs(dx)) * (math.cos(angle) * dy + math.sin(angle) * dx)
            assert noise[i, j] == pytest.approx(math.sqrt(2) * value, abs=1e-6)


def test_about_half_of_the_masks_are_empty_and_the_rest_are_of_many_sizes():
    masks = anomaly_masks(600, torch.Size((16, 24)), 0.2, torch.Generator().manual_seed(0))
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    area = masks.mean(dim=(1, 2))
    assert 0.45 < float((area == 0).float().mean()) < 0.65
    assert float(area[area > 0].min()) < 0.05
    assert float(area.max()) > 0.5


VICTIM = """
import runpy
sys.path.insert(0, "stages")
runpy.run_path("stages/fit.py", run_name="__main__")
"""


@needs_kill
@pytest.mark.slow
def test_a_fit_stage_killed_at_a_random_moment_leaves_no_model_and_ends_as_if_it_had_not_been(tmp_path):
    options = {"detector": "supersimplenet", **OPTIONS["supersimplenet"], "epochs": 5}
    ours = r"fit: \{detector: pca, image_size: 8, explained_variance: 0.9\}"
    folder, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    folder.mkdir()
    copy_pipeline(folder, (ours, f"fit: {json.dumps(options)}"))
    run_stages(folder, ["prepare"])
    shutil.copytree(folder, undisturbed)
    _, n_steps = steps_of(lambda: run_stages(undisturbed, ["fit"]), first="Checkpoints.save")

    at = random.Random(1).randint(n_steps // 10, n_steps // 3)
    killed = command_killed(VICTIM, "--category", "digit_0", first="Checkpoints.save", at=at)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(killed, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (folder / "models/checkpoints/digit_0/manifest.json").is_file()
    assert not (folder / "models/fitted").exists()
    shutil.rmtree(folder / "plots", ignore_errors=True)  # as DVC does with outs before a stage runs
    run_stages(folder, ["fit"])
    for checkout in (folder, undisturbed):
        assert not (checkout / "models/checkpoints/digit_0").exists()
    files = ["models/fitted/digit_0/manifest.json", "models/fitted/digit_0/detector.safetensors"]
    files += [path.relative_to(folder).as_posix() for path in (folder / "plots").rglob("*.tsv")]
    assert len(files) == 4
    for name in files:
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes(), name
