"""A teacher distilled from any backbone over any images: what it learns, and that a kill changes nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from gonogo.cli.main import main
from gonogo.compute.read_ahead import N_AHEAD, read_ahead
from gonogo.detectors.efficientad.efficientad import EfficientAD
from gonogo.detectors.efficientad.pdn import PDN
from gonogo.detectors.options import EfficientADOptions
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.image_folder import ImageFolder
from gonogo.errors import ConfigError, DataError, ImageError
from gonogo.files import sha256_of
from gonogo.images.reading import write_png
from gonogo.model.distill import BackboneFeatures, Distillation, distil, save_teacher

CPU = torch.device("cpu")
WANTED = Distillation(
    weights="random", size="tiny", image_size=48, backbone_size=96, steps=5, batch_size=2, epoch_steps=2, seed=4
)
WORDS = "--weights random --size tiny --image-size 48 --backbone-size 96 --steps 5 --batch 2 --epoch-steps 2 --seed 4"


class Killed(Exception):
    """What a kill looks like to the code that it ends."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six images of several sizes and formats at several depths, and a file that is none."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(6):
        blocks = rng.integers(0, 256, (4 + number, 6, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        write_png(root / f"class_{number % 2}" / f"{number}.png", blocks)
    Image.fromarray(blocks).save(root / "6.JPG", format="JPEG")
    (root / "read me.txt").write_text("no image")
    return root


def distilled(folder, *, checkpoint=None, die_after=None, **changes):
    """The network, and its curve; killed after `die_after` reports."""
    curve = []

    def report(*said):
        curve.append(said)
        if len(curve) == die_after:
            raise Killed

    checkpoints = None if checkpoint is None else Checkpoints(checkpoint, {"changes": changes})
    images = ImageFolder(folder, option="FOLDER")
    wanted = replace(WANTED, **changes)
    return distil(images, wanted, device=CPU, checkpoints=checkpoints, progress=report), curve


def test_the_features_are_pooled_as_those_of_patchcore_each_layer_with_the_same_share():
    features = BackboneFeatures(WANTED)
    pixels = 255 * torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        raw, pooled = features.patch_features(pixels), features(pixels)
    assert features.widths == [40, 112]
    assert pooled.shape == (2, 384, 12, 12)

    def averaged(values, n_out):
        n_in = len(values)
        return np.array([values[i * n_in // n_out : -(-(i + 1) * n_in // n_out)].mean() for i in range(n_out)])

    for image, row, column in ((0, 0, 0), (1, 5, 11)):
        patch = raw[image, row, column].double().numpy()
        layers = np.concatenate([averaged(patch[:40], 1024), averaged(patch[40:], 1024)])
        np.testing.assert_allclose(pooled[image, :, row, column], averaged(layers, 384), rtol=1e-4, atol=1e-5)
    changed = raw.clone()
    changed[..., 40:] = 0
    features.patch_features.forward = lambda _: changed
    silent = (features(pixels) == 0).all(dim=3).all(dim=2).all(dim=0)
    assert silent.tolist() == [False] * 192 + [True] * 192


def test_the_network_comes_to_give_the_features_of_images_that_it_never_saw(folder):
    _, curve = distilled(folder, steps=60, epoch_steps=15)
    losses = [values["held_out_loss"] for what, *_, values in curve if what == "epochs"]
    assert losses[-1] < 0.85 * losses[0] < 0.85


def test_what_is_learned_has_mean_0_and_deviation_1_over_the_images_that_are_shown(folder, monkeypatch):
    monkeypatch.setattr(PDN, "forward", lambda pdn, _: pdn.net[0].weight.sum() * torch.zeros(1, 384, 12, 12))
    monkeypatch.setattr("gonogo.model.distill.GREY_SHARE", 0)
    _, curve = distilled(folder, steps=6, epoch_steps=6, batch_size=1)
    # A network that always says 0 has the features' variance as its loss, once every image was shown.
    assert curve[-1][3]["loss"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("die_after", [3, 7, 8])
def test_a_distillation_killed_and_taken_up_again_equals_an_uninterrupted_one(folder, tmp_path, die_after):
    uninterrupted, curve = distilled(folder)
    assert [said[0] for said in curve] == ["features"] * 6 + ["epochs"] * 3
    with pytest.raises(Killed):
        distilled(folder, checkpoint=tmp_path, die_after=die_after)
    resumed, rest = distilled(folder, checkpoint=tmp_path)
    assert [said for said in rest if said[0] == "epochs"] == curve[6:]
    assert len(rest) == (9 if die_after < 7 else 3)  # features are not computed again once they are in a checkpoint
    for name, tensor in uninterrupted.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_the_command_prints_what_to_paste_and_a_detector_reads_its_file(folder, tmp_path, capsys):
    out = tmp_path / "new" / "teacher.safetensors"
    assert main(["distill", str(folder), *WORDS.split(), "--out", str(out)]) == 0
    said, progress = capsys.readouterr()
    assert said == (
        f"fit:\n  detector: efficientad\n  teacher: {out}\n  teacher_sha256: {sha256_of(out)}\n  size: tiny\n"
    )
    assert "epochs 3/3" in progress
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    detector = EfficientAD(
        EfficientADOptions(
            teacher=str(out), teacher_sha256=sha256_of(out), size="tiny", image_size=48, steps=2, epoch_steps=2
        )
    )
    rng = torch.Generator().manual_seed(0)
    images = [255 * torch.rand(1, 3, 48, 48, generator=rng) for _ in range(4)]
    detector.fit(images, seed=0)
    expected, _ = distilled(folder)
    assert all(
        torch.equal(detector.teacher.net.state_dict()[name], value) for name, value in expected.net.state_dict().items()
    )


def test_the_command_killed_and_called_again_writes_the_same_file(folder, tmp_path, capsys, monkeypatch):
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    assert main(["distill", str(folder), *WORDS.split(), "--out", str(one), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)

    import gonogo.model.distill

    real = gonogo.model.distill.shuffled_passes
    epochs = []

    def die(*arguments):
        epochs.append(arguments)
        if len(epochs) == 3:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(gonogo.model.distill, "shuffled_passes", die)
    assert main(["distill", str(folder), *WORDS.split(), "--out", str(other)]) == 5
    assert not other.exists()
    assert (tmp_path / "other.safetensors.checkpoint").is_dir()
    monkeypatch.setattr(gonogo.model.distill, "shuffled_passes", real)
    capsys.readouterr()
    assert main(["distill", str(folder), *WORDS.split(), "--out", str(other), "--json"]) == 0
    out, progress = capsys.readouterr()
    assert "features" not in progress  # it went on, and did not start anew
    assert not (tmp_path / "other.safetensors.checkpoint").exists()
    assert json.loads(out)["fit"]["teacher_sha256"] == sha256_of(one) == sha256_of(other)
    assert report["fit"]["teacher_sha256"] == sha256_of(one)
    assert (report["ok"], report["n_images"], report["device"]) == (True, 7, "cpu")


def test_the_file_says_what_it_was_made_of(folder, tmp_path):
    from safetensors import safe_open

    pdn, _ = distilled(folder, steps=1)
    sha256 = save_teacher(pdn, tmp_path / "teacher.safetensors", WANTED, 7)
    assert sha256 == sha256_of(tmp_path / "teacher.safetensors")
    with safe_open(tmp_path / "teacher.safetensors", "pt") as file:
        described = json.loads(file.metadata()["gonogo.model.distill"])
    assert (described["backbone"], described["layers"], described["n_images"]) == (WANTED.backbone, [2, 3], 7)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere"], 3, "FOLDER is 'nowhere', which is no folder"),
        (["FOLDER", "--backbone", "resnet1234"], 3, "which timm does not know"),
        (["FOLDER", "--layers", "9"], 3, "has no such layers"),
        (["FOLDER", "--weights", "none.pth"], 3, "or the path of a file"),
    ],
)
def test_what_cannot_be_distilled_is_refused_in_one_sentence(folder, tmp_path, words, status, message, capsys):
    given = [str(folder) if word == "FOLDER" else word for word in words]
    assert main(["distill", *given, "--out", str(tmp_path / "teacher.safetensors"), "--json"]) == status
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not list(tmp_path.iterdir())


def test_one_image_is_not_enough_and_an_unreadable_one_is_named(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((30, 30, 3), np.uint8))
    with pytest.raises(DataError, match="has 1 image"):
        distilled(tmp_path)
    (tmp_path / "b.png").write_bytes(b"half")
    (tmp_path / "c.png").write_bytes(b"half")
    with pytest.raises(ImageError, match=r"[bc]\.png cannot be read"):
        distilled(tmp_path)


# A folder of images


def test_a_folder_lists_its_images_at_any_depth_by_name_and_knows_when_one_changes(tmp_path, folder):
    images = ImageFolder(folder, option="FOLDER")
    names = [path.relative_to(folder).as_posix() for path in images.paths]
    assert names == ["6.JPG", *(f"class_{i % 2}/{i}.png" for i in (0, 2, 4, 1, 3, 5))]
    np.testing.assert_array_equal(images.read(1)[0].permute(1, 2, 0), np.asarray(Image.open(images.paths[1])))
    with pytest.raises(ConfigError, match="no image in it or below"):
        ImageFolder(tmp_path, option="FOLDER")
    write_png(tmp_path / "a.png", np.zeros((30, 30, 3), np.uint8))
    before = ImageFolder(tmp_path, option="FOLDER").fingerprint()
    assert ImageFolder(tmp_path, option="FOLDER").fingerprint() == before
    write_png(tmp_path / "a.png", np.zeros((31, 30, 3), np.uint8))
    assert ImageFolder(tmp_path, option="FOLDER").fingerprint() != before


def test_reading_ahead_keeps_the_order_and_holds_few():
    started = []

    def read(item):
        started.append(item)
        return item * item

    results = read_ahead(read, range(500))
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(started) <= N_AHEAD + 3
    assert list(results) == [i * i for i in range(3, 500)]
