"""Backbones: the packaged weights are the real ones, and weights that cannot be had say what to do."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from gonogo.detectors.backbones.backbone import LITE0, Backbone, lite0_state_dict
from gonogo.detectors.backbones.torchvision_schema import import_torchvision
from gonogo.detectors.backbones.weights import LITE0_SHA256, downloaded_sha256
from gonogo.errors import ConfigError, WeightsError
from gonogo.files import sha256_of

# ImageNet's class numbers
CATS = {281, 282, 283, 284, 285}
ESPRESSO = 967


def top_class(picture: np.ndarray) -> tuple[int, float]:
    """ImageNet class and probability of the centre square of a picture (h, w, 3) uint8."""
    import_torchvision()
    import timm

    from gonogo.detectors.anomaly_map import resize

    model = timm.create_model(LITE0)
    model.load_state_dict(lite0_state_dict(), strict=True)
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = torch.from_numpy(picture[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        probabilities = model.eval()((resize(square, 224, 224) - 127) / 128).softmax(dim=1)[0]
    return int(probabilities.argmax()), float(probabilities.max())


def test_the_packaged_weights_know_a_cat_and_a_cup_of_espresso():
    import skimage.data

    cat, _ = top_class(skimage.data.chelsea())
    coffee, certainty = top_class(skimage.data.coffee())
    assert cat in CATS
    assert coffee == ESPRESSO
    assert certainty > 0.8


def test_the_backbone_carries_those_weights_and_their_preprocessing():
    backbone = Backbone(LITE0, [2, 3], 64)
    backbone.load("pretrained")
    state = backbone.model.state_dict()
    theirs = lite0_state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in state.items())
    assert backbone.mean.flatten().tolist() == [127.0] * 3
    assert backbone.std.flatten().tolist() == [128.0] * 3


@pytest.mark.parametrize(
    ("name", "size", "grids"),
    [
        (LITE0, 64, [(40, 8), (112, 4)]),
        ("resnet18", 64, [(128, 8), (256, 4)]),
        ("vit_tiny_patch16_224", 64, [(192, 4)] * 2),
    ],
)
def test_any_timm_backbone_gives_one_map_per_layer(name, size, grids):
    maps = Backbone(name, [2, 3], size)(torch.zeros(1, 3, size, size))
    assert [(m.shape[1], m.shape[2]) for m in maps] == grids


@pytest.mark.parametrize(
    ("name", "size", "fitting"),
    [("vit_small_patch14_dinov2", 64, "56 or 70"), ("vit_small_patch16_dinov3", 72, "64 or 80")],
)
def test_an_image_size_that_its_patches_do_not_fill_is_refused_with_those_that_they_do(name, size, fitting):
    with pytest.raises(ConfigError, match=f"image_size is {size}.*{fitting} would do"):
        Backbone(name, [11], size)


def test_random_weights_are_the_same_each_time():
    first, second = Backbone("resnet18", [1], 64), Backbone("resnet18", [1], 64)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_local_file_is_taken_only_with_its_hash(tmp_path):
    import timm
    from safetensors.torch import save_file

    donor = timm.create_model("resnet18")
    path = tmp_path / "resnet18.safetensors"
    save_file(donor.state_dict(), path)
    backbone = Backbone("resnet18", [1], 64)
    with pytest.raises(WeightsError, match="weights_sha256"):
        backbone.load(str(path))
    with pytest.raises(WeightsError, match="do not use this file"):
        backbone.load(str(path), "0" * 64)
    backbone.load(str(path), sha256_of(path))
    assert torch.equal(backbone.model.state_dict()["conv1.weight"], donor.state_dict()["conv1.weight"])
    with pytest.raises(WeightsError, match="do not fit resnet34"):
        Backbone("resnet34", [1], 64).load(str(path), sha256_of(path))


def test_a_folder_of_weights_is_taken_by_the_backbones_name_and_its_listed_hash(tmp_path):
    import timm
    from safetensors.torch import save_file

    donor, path = timm.create_model("test_resnet"), tmp_path / "test_resnet.safetensors"
    backbone = Backbone("test_resnet", [1], 64)
    with pytest.raises(WeightsError, match=r"has no test_resnet\.safetensors; docs/backbones\.md"):
        backbone.load(str(tmp_path))
    save_file(donor.state_dict(), path)
    with pytest.raises(WeightsError, match=r"no line for test_resnet\.safetensors"):
        backbone.load(str(tmp_path))
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  other.safetensors\n{sha256_of(path)} *{path.name}\n")
    backbone.load(str(tmp_path))
    assert backbone.weights_sha256 == sha256_of(path)
    assert all(torch.equal(value, donor.state_dict()[name]) for name, value in backbone.model.state_dict().items())
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(WeightsError, match="do not use this file"):
        backbone.load(str(tmp_path))


def test_packaged_weights_are_checked_against_the_recorded_hash(monkeypatch):
    backbone = Backbone(LITE0, [2], 64)
    with pytest.raises(WeightsError, match=r"fit\.weights_sha256 is 000"):
        backbone.load("pretrained", "0" * 64)
    backbone.load("pretrained", LITE0_SHA256)
    assert backbone.weights_sha256 == LITE0_SHA256
    monkeypatch.setattr("gonogo.detectors.backbones.backbone.LITE0_SHA256", "1" * 64)
    with pytest.raises(WeightsError, match=f"SHA-256 is {LITE0_SHA256}, and that of the package's weights is 111"):
        backbone.load("pretrained")


def test_downloaded_weights_are_checked_against_the_hash_that_the_cache_names_them_by(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert downloaded_sha256("timm/resnet18.a1_in1k") is None
    blob = tmp_path / "models--timm--resnet18.a1_in1k" / "blobs" / hashlib.sha256(b"weights").hexdigest()
    snapshot = blob.parent.parent / "snapshots" / "abc"
    for folder in (blob.parent, snapshot):
        folder.mkdir(parents=True)
    blob.write_bytes(b"weights")
    (snapshot / "model.safetensors").symlink_to(blob)
    assert downloaded_sha256("timm/resnet18.a1_in1k") == blob.name
    blob.write_bytes(b"another")
    with pytest.raises(WeightsError, match=f"downloaded as {blob.name}; remove it"):
        downloaded_sha256("timm/resnet18.a1_in1k")


def test_weights_that_cannot_be_had_say_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"fit\.weights: random on purpose"):
        Backbone("vit_tiny_patch16_224", [3], 224).load("pretrained")
    with pytest.raises(WeightsError, match="expected 'pretrained', 'random' or the path of a file"):
        Backbone("resnet18", [1], 64).load("nowhere.pth")


def test_an_unknown_backbone_or_layer_is_named():
    with pytest.raises(ConfigError, match=r"'resnet1234', which timm does not know"):
        Backbone("resnet1234", [1], 64)
    with pytest.raises(ConfigError, match=r"fit.layers is \[2, 9\]"):
        Backbone("resnet18", [2, 9], 64)


def test_importing_torchvision_twice_is_harmless_and_a_working_one_is_left_alone():
    program = """
import torch
from gonogo.detectors.backbones.torchvision_schema import import_torchvision, _declared
before = hasattr(torch.ops.torchvision, "nms")
import_torchvision(); import_torchvision()
import timm
assert len(_declared) == (0 if before else 1) or before, _declared
"""
    subprocess.run([sys.executable, "-c", program], check=True)
