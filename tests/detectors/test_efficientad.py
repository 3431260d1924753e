"""EfficientAD: the paper's networks and losses, quantiles of good maps, any teacher, kills that change nothing."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from safetensors.torch import save_file
from torch import nn

from gonogo.detectors.anomaly_map import positive
from gonogo.detectors.contract import FitContext
from gonogo.detectors.efficientad.autoencoder import Autoencoder, Bilinear, dropout
from gonogo.detectors.efficientad.efficientad import EfficientAD, hard_feature_loss, jittered
from gonogo.detectors.efficientad.pdn import PDN, channel_moments
from gonogo.detectors.options import EfficientADOptions
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.training import hold_out
from gonogo.errors import ConfigError, DataError, WeightsError
from gonogo.files import sha256_of
from gonogo.images.reading import write_png
from gonogo.images.size import ImageSize

TINY = {"teacher": "random", "size": "tiny", "image_size": 48, "lr": 1e-3}


class Killed(Exception):
    """What a kill looks like to the code that it ends."""


@pytest.fixture(scope="module")
def textures():
    """Eight batches of one image each, (1, 3, 48, 48): a soft grid in changing light."""
    rows = torch.arange(48.0)
    grid = 20 * ((rows / 3).sin()[:, None] + (rows / 3).cos())
    generator = torch.Generator().manual_seed(1)
    light = 110 + 30 * torch.rand(8, 1, 3, 1, 1, generator=generator)
    return list(light + grid + 5 * torch.randn(8, 1, 3, 48, 48, generator=generator))


@pytest.fixture(scope="module")
def penalties(tmp_path_factory):
    """A folder of images of something else: coloured noise in blocks."""
    folder = tmp_path_factory.mktemp("penalties")
    rng = np.random.default_rng(0)
    for number in range(5):
        blocks = rng.integers(0, 256, (8, 6, 3), dtype=np.uint8).repeat(9, axis=0).repeat(9, axis=1)
        write_png(folder / f"class_{number % 2}" / f"{number}.png", blocks)
    return folder


def trained(textures, *, folder=None, die_after=None, seed=3, **options):
    """A tiny detector fitted on the textures, and its curve; killed after `die_after` reports."""
    detector = EfficientAD(EfficientADOptions(**(TINY | {"steps": 9, "epoch_steps": 2} | options)))
    checkpoints = None if folder is None else Checkpoints(folder, {"options": options, "seed": seed})
    curve = []

    def report(what, n_done, n_total, values):
        curve.append((what, n_done, n_total, values))
        if len(curve) == die_after:
            raise Killed

    detector.fit(textures, seed=seed, context=FitContext(checkpoints=checkpoints, progress=report))
    return detector, curve


@pytest.fixture(scope="module")
def fitted(textures):
    """A detector trained for 60 steps, and its curve."""
    return trained(textures, steps=60, epoch_steps=10, held_out_share=0.3)


# The paper's networks


@pytest.mark.parametrize("size", ["small", "medium", "tiny"])
def test_an_output_sees_33_by_33_pixels_and_the_next_one_4_pixels_further(size):
    pdn = PDN(size, 4, seed=0)
    pixels = (255 * torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))).requires_grad_(True)
    out = pdn(pixels)
    assert out.shape == (1, 4, 4, 4)
    for row, column in ((0, 0), (1, 3), (3, 2)):
        (gradient,) = torch.autograd.grad(out[0, :, row, column].square().sum(), pixels, retain_graph=True)
        seen = gradient[0].abs().sum(dim=0) > 0
        for along, start in ((seen.any(dim=1), 4 * row), (seen.any(dim=0), 4 * column)):
            assert along.nonzero().flatten().tolist() == list(range(start, start + 33))


def test_the_networks_have_the_layers_of_the_papers_tables():
    def weights(layers):
        return sum(n_in * n_out * kernel**2 + n_out for n_in, n_out, kernel in layers)

    small = [(3, 128, 4), (128, 256, 4), (256, 256, 3), (256, 384, 4)]
    medium = [(3, 256, 4), (256, 512, 4), (512, 512, 1), (512, 512, 3), (512, 384, 4), (384, 384, 1)]
    encoder = [(3, 32, 4), (32, 32, 4), (32, 64, 4), (64, 64, 4), (64, 64, 4), (64, 64, 8)]
    decoder = [*[(64, 64, 4)] * 6, (64, 64, 3), (64, 384, 3)]
    for network, layers in (
        (PDN("small", 384, seed=0), small),
        (PDN("medium", 384, seed=0), medium),
        (Autoencoder(384, ImageSize(256, 256), seed=0), encoder + decoder),
    ):
        assert sum(parameter.numel() for parameter in network.parameters()) == weights(layers)


@pytest.mark.parametrize("size", ["small", "medium", "tiny"])
def test_256_pixels_give_64_by_64_outputs_with_padding_and_56_by_56_without_as_the_autoencoder(size):
    pixels = torch.zeros(1, 3, 256, 256, device="meta")
    assert PDN(size, 384, seed=0, padding=True).to("meta")(pixels).shape == (1, 384, 64, 64)
    assert PDN(size, 384, seed=0).to("meta")(pixels).shape == (1, 384, 56, 56)
    autoencoder = Autoencoder(384, ImageSize(256, 256), seed=0).to("meta")
    assert autoencoder.encoder(pixels).shape == (1, 64, 1, 1)
    assert autoencoder(pixels).shape == (1, 384, 56, 56)


@pytest.mark.parametrize("size", [(48, 48), (64, 64), (80, 208), (320, 48)])
def test_at_any_other_size_the_autoencoder_gives_the_grid_of_the_student_through_one_vector(size):
    pixels = torch.zeros(1, 3, *size, device="meta")
    autoencoder = Autoencoder(8, ImageSize(*size), seed=0).to("meta")
    assert autoencoder.encoder(pixels).shape == (1, 64, 1, 1)
    assert autoencoder(pixels).shape == PDN("tiny", 8, seed=0).to("meta")(pixels).shape


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 3), (4, 8), (9, 15), (64, 127), (128, 56)])
def test_upsampling_by_products_is_bilinear_interpolation(n_in, n_out):
    x = torch.randn(2, 3, n_in, 5, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(x, size=(n_out, 7), mode="bilinear", align_corners=False)
    torch.testing.assert_close(Bilinear((n_in, 5), (n_out, 7))(x), expected, atol=1e-5, rtol=1e-5)


def test_dropout_drops_a_fifth_and_keeps_the_mean():
    dropped = dropout(torch.ones(3, 64, 41, 41), torch.Generator().manual_seed(0))
    assert float((dropped == 0).float().mean()) == pytest.approx(0.2, abs=0.003)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.003)
    assert len(dropped.unique()) == 2


# The paper's losses


@pytest.mark.parametrize("shape", [(1, 384, 4, 4), (1, 7, 3, 5), (1, 11, 13, 7)])
def test_the_hard_feature_loss_is_the_mean_of_what_is_at_or_above_the_quantile(shape):
    generator = torch.Generator().manual_seed(0)
    for differences in (torch.rand(shape, generator=generator), torch.randint(3, shape, generator=generator).float()):
        numbers = differences.flatten().tolist()
        limit = np.quantile(numbers, 0.999)
        hard = [number for number in numbers if number >= limit]
        assert float(hard_feature_loss(differences)) == pytest.approx(sum(hard) / len(hard))


def test_only_the_hardest_elements_get_a_gradient():
    differences = torch.rand(1, 384, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    hard_feature_loss(differences).backward()
    given = differences.grad.flatten().nonzero().flatten()
    assert set(given.tolist()) == set(differences.detach().flatten().topk(14).indices.tolist())


def test_the_autoencoders_input_is_changed_as_pillow_would():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    factors, kinds = [], set()
    for seed in range(12):
        changed = jittered(pixels, torch.Generator().manual_seed(seed))[0].permute(1, 2, 0).numpy()
        generator = torch.Generator().manual_seed(seed)
        kind, draw = int(torch.randint(3, (), generator=generator)), float(torch.rand((), generator=generator))
        factors.append(0.8 + 0.4 * draw)
        kinds.add(kind)
        enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[kind]
        expected = np.asarray(enhance(Image.fromarray(picture)).enhance(factors[-1]), dtype=float)
        assert np.abs(changed - expected).max() < 1.5
    assert kinds == {0, 1, 2}
    assert min(factors) < 0.9
    assert max(factors) > 1.1


def test_the_losses_fall(fitted):
    _, curve = fitted
    epochs = [values for what, _, _, values in curve if what == "epochs"]
    assert [set(values) for values in epochs] == [{"loss_hard", "loss_ae", "loss_stae", "held_out_loss"}] * 6
    for name in ("loss_hard", "held_out_loss"):
        assert epochs[-1][name] < 0.8 * epochs[0][name]


def test_the_learning_rate_falls_to_a_tenth_after_95_percent_of_the_steps(textures, monkeypatch):
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), step(self)))
    trained(textures, steps=20, epoch_steps=8)
    assert rates == [1e-3] * 19 + [pytest.approx(1e-4)]


def test_penalty_images_silence_the_student_on_what_it_should_not_know(textures, penalties):
    blocks = 255 * torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(9))
    strange = F.interpolate(blocks, size=(48, 48))

    def loudness(**options):
        detector, curve = trained(textures, steps=60, epoch_steps=30, **options)
        with torch.inference_mode():
            return float(detector.student(strange)[:, :384].square().mean()), curve[-1][3], detector.fit_facts()

    without, _, _ = loudness()
    with_them, values, facts = loudness(penalty_folder=str(penalties))
    assert with_them < 0.5 * without
    assert values["loss_penalty"] > 0
    assert facts == {"teacher": "random", "best_epoch": 2, "penalty_images": 5}


# What a fit learns


def test_the_teachers_channels_are_standardised_over_the_training_images_alone(fitted, textures):
    detector, _ = fitted
    chosen, _ = hold_out(8, 0.3, seed=3)
    with torch.inference_mode():
        described = torch.cat([detector.teacher(textures[i]) for i in chosen]).double()
    rows = described.transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(detector.channel_mean_.flatten(), rows.mean(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(detector.channel_std_.flatten(), rows.std(axis=1), rtol=1e-5)


def test_a_constant_channel_has_scale_1():
    features = torch.stack([torch.full((4, 5), 3.0), torch.arange(20.0).view(4, 5)])[None]
    mean, std = channel_moments([features, features])
    assert mean.flatten().tolist() == [3, 9.5]
    assert std.flatten().tolist() == [1, pytest.approx(np.arange(20).std())]


def test_on_the_held_out_images_the_quantiles_of_each_map_are_0_and_a_tenth(fitted, textures):
    detector, _ = fitted
    _, held_out = hold_out(8, 0.3, seed=3)
    assert len(held_out) == 2
    with torch.inference_mode():
        maps = detector.normalised_maps(torch.cat([textures[i] for i in held_out]))
    assert len(maps) == 2
    for each in maps:
        assert np.quantile(each.numpy(), [0.9, 0.995]).tolist() == pytest.approx([0, 0.1], abs=1e-4)


def test_what_was_never_seen_lies_further_from_teacher_and_autoencoder_than_good_images(fitted, textures):
    detector, _ = fitted
    _, held_out = hold_out(8, 0.3, seed=3)
    good = torch.cat([textures[i] for i in held_out])
    strange = good.clone()
    strange[:, 0, 16:32, 16:32] = 250
    with torch.inference_mode():
        for known, unknown in zip(detector.normalised_maps(good), detector.normalised_maps(strange), strict=True):
            assert float(unknown.max()) > 2 * float(known.max())
        assert float(detector(strange)[0].min()) > float(detector(good)[0].max())


def test_the_score_is_the_maps_maximum_and_the_border_has_the_value_of_the_good_quantile(fitted, textures):
    detector, _ = fitted
    pixels = torch.cat(textures)
    with torch.inference_mode():
        score, grid = detector(pixels)
        combined = 0.5 * sum(detector.normalised_maps(pixels))
    torch.testing.assert_close(grid[:, 4:-4, 4:-4], positive(combined))
    torch.testing.assert_close(score, grid[:, 4:-4, 4:-4].amax(dim=(1, 2)))
    border = torch.ones_like(grid, dtype=torch.bool)
    border[:, 4:-4, 4:-4] = False
    assert grid[border].unique().tolist() == [1.0]


def test_the_training_loss_does_not_know_the_held_out_image(textures):
    _, (held_out,) = hold_out(len(textures), 0.1, seed=3)
    other = list(textures)
    other[held_out] = 255 - other[held_out]
    (ours, one), (theirs, two) = trained(textures), trained(other)
    losses = [[values["loss_hard"] for *_, values in curve if values] for curve in (one, two)]
    assert losses[0] == losses[1]
    assert one[-1][3]["held_out_loss"] != two[-1][3]["held_out_loss"]
    assert not torch.equal(ours.quantiles_, theirs.quantiles_)


def test_with_patience_the_best_epoch_is_kept_and_without_it_the_last(textures):
    for patience in (0, 1):
        detector, curve = trained(textures, steps=12, epoch_steps=1, patience=patience, lr=0.05)
        losses = [values["held_out_loss"] for what, *_, values in curve if what == "epochs"]
        if patience:
            assert len(losses) < 12
            assert int(detector.best_epoch_) == np.argmin(losses) + 1 == len(losses) - 1
        else:
            assert int(detector.best_epoch_) == len(losses) == 12
            assert np.argmin(losses) + 1 < 12


# What survives


def test_a_fit_killed_at_any_report_and_taken_up_again_equals_an_uninterrupted_one(textures, penalties, tmp_path):
    options = {"penalty_folder": str(penalties), "checkpoint_every": 2}
    uninterrupted, curve = trained(textures, **options)
    assert len(curve) == 8 + 5
    for die_after in random.Random(2).sample(range(10, 13), 2):
        folder = tmp_path / str(die_after)
        with pytest.raises(Killed):
            trained(textures, folder=folder, die_after=die_after, **options)
        resumed, whole = trained(textures, folder=folder, **options)
        assert whole == curve
        assert resumed.state_dict().keys() == uninterrupted.state_dict().keys()
        for name, tensor in uninterrupted.state_dict().items():
            assert torch.equal(resumed.state_dict()[name], tensor), name


def test_a_checkpoint_made_with_other_penalty_images_is_not_taken_up(textures, tmp_path):
    folder = tmp_path / "penalties"
    write_png(folder / "a.png", np.zeros((20, 20, 3), np.uint8))
    options = {"penalty_folder": str(folder), "folder": tmp_path / "checkpoint"}
    _, first = trained(textures, **options)
    write_png(folder / "b.png", np.full((20, 20, 3), 200, np.uint8))
    _, second = trained(textures, **options)
    assert second[-1] != first[-1]
    _, third = trained(textures, penalty_folder=str(folder))
    assert second == third


def test_a_fit_that_was_killed_leaves_a_detector_that_refuses_to_score(textures):
    detector, _ = trained(textures)

    def die(*report):
        if report[:2] == ("epochs", 2):
            raise Killed

    with pytest.raises(Killed):
        detector.fit(textures, seed=3, context=FitContext(progress=die))
    with pytest.raises(RuntimeError, match="call fit"):
        detector(textures[0])


# The teacher's file


def published(size, names):
    """A teacher's state dict under the names of the authors' readers, and the same network of ours."""
    pdn = PDN(size, 384, seed=5)
    state = pdn.net.state_dict()
    if names == "numbered":
        return pdn, state
    order = sorted({int(key.split(".")[0]) for key in state})
    return pdn, {
        f"conv{order.index(int(key.split('.')[0])) + 1}.{key.split('.')[1]}": value for key, value in state.items()
    }


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(("size", "names"), [("small", "numbered"), ("small", "conv"), ("medium", "conv")])
def test_a_published_teacher_is_read_under_either_of_its_names(tmp_path, size, names, suffix):
    theirs, state = published(size, names)
    first = {"numbered": "0.weight", "conv": "conv1.weight"}[names]
    last = {"small": "conv4.bias", "medium": "conv6.bias"}[size] if names == "conv" else "8.bias"
    assert {first, last} <= set(state)
    path = tmp_path / f"teacher.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(state, path)
    ours = PDN(size, 384, seed=0)
    ours.load(path, sha256_of(path), option="fit.teacher")
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name


def test_a_file_that_is_not_the_wanted_teacher_is_refused_with_what_to_do(tmp_path, textures):
    _, state = published("tiny", "conv")
    good, whole, rest = (tmp_path / name for name in ("teacher.pth", "module.pth", "rest.safetensors"))
    torch.save(state, good)
    torch.save(nn.Linear(1, 1), whole)
    rest.write_bytes(b"nothing")

    def fit(path, sha256, **options):
        EfficientAD(EfficientADOptions(**(TINY | {"teacher": str(path), "teacher_sha256": sha256} | options))).fit(
            textures, seed=0
        )

    with pytest.raises(WeightsError, match=r"fit\.teacher_sha256"):
        fit(good, None)
    with pytest.raises(WeightsError, match="do not use this file"):
        fit(good, "0" * 64)
    with pytest.raises(WeightsError, match=r"fit\.teacher is '.*none\.pth'"):
        fit(tmp_path / "none.pth", None)
    with pytest.raises(WeightsError, match=r"of another fit\.size"):
        fit(good, sha256_of(good), size="small")
    for path in (whole, rest):
        with pytest.raises(WeightsError, match="cannot be read as a state dict"):
            fit(path, sha256_of(path))
    with pytest.raises(WeightsError, match=r"pretrained_teacher_small\.pth.*gonogo distill FOLDER"):
        fit(None, None, teacher=None)


def test_a_saved_detector_needs_its_teachers_file_no_more(tmp_path, textures):
    theirs, state = published("tiny", "conv")
    path = tmp_path / "teacher.pth"
    torch.save(state, path)
    options = {"teacher": str(path), "teacher_sha256": sha256_of(path)}
    detector, _ = trained(textures, steps=2, **options)
    path.unlink()
    restored = EfficientAD(EfficientADOptions(**(TINY | options))).restore(detector.state_dict())
    assert torch.equal(restored.teacher.net[0].weight, theirs.net[0].weight)
    assert torch.equal(restored(textures[0])[1], detector(textures[0])[1])
    assert restored.fit_facts()["teacher"] == "file"


# What is refused


def test_a_penalty_folder_without_an_image_is_refused(tmp_path, textures):
    for path, why in ((tmp_path / "none", "which is no folder"), (tmp_path, "no image in it or below")):
        with pytest.raises(ConfigError, match=rf"fit\.penalty_folder is .*{why}"):
            trained(textures, penalty_folder=str(path))


def test_pixels_beyond_the_bound_of_memory_are_refused_before_all_are_read(textures):
    seen = []

    class Counted(list):
        def __iter__(self):
            for item in super().__iter__():
                seen.append(item)
                yield item

    detector = EfficientAD(EfficientADOptions(**TINY, steps=1))
    with pytest.raises(ConfigError, match=r"leaves 0\.1 MB; the pixels of 8 fit images need 0\.2 MB"):
        detector.fit(Counted(textures), seed=0, context=FitContext(room=100_000))
    assert len(seen) == 1


def test_empty_images_that_give_a_map_no_scale_are_refused():
    empty = [torch.full((1, 3, 48, 48), 100.0)] * 4
    with pytest.raises(DataError, match="it has no scale"):
        trained(empty, steps=1)
