"""A finetuned backbone: what trains, what stays, and that a kill loses nothing of it."""

import copy
import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call

import conftest
import gonogo.model.finetune
from checkout import ROOT
from conftest import OPTIONS, modelled
from gonogo.detectors.backbones.backbone import LITE0, Backbone
from gonogo.detectors.options import DETECTOR_OPTIONS, BackboneOptions
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.errors import ConfigError, DataError
from gonogo.model.finetune import _LowRank, finetune, finetune_backbone
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import Finetune, FitParams
from gonogo.model.inspector import Inspector
from gonogo.params import Params, build

METHODS = ["last_layers", "low_rank"]
SMALL = Finetune(method="last_layers", n_layers=2, epochs=2, epoch_size=4, batch_size=2, patience=0)
SHARED = {
    key: value
    for key, value in Params(ROOT / "params.yaml").section("fit").items()
    if key in inspect.signature(FitParams).parameters
}
WITH_BACKBONE = [name for name in conftest.FROM_GOOD if issubclass(DETECTOR_OPTIONS[name], BackboneOptions)]


def small(method: str, **changes: object) -> Finetune:
    return replace(SMALL, method=method, **changes)


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """A held-out loss of fewer views, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gonogo.model.finetune, "HELD_OUT_DRAWS", 4)
        yield


@pytest.fixture(scope="module")
def images(digits):
    """8 batches of one digit each, (1, 3, 64, 64)."""
    square = conftest.made("padim", **OPTIONS["padim"] | {"image_size": 64})
    return list(FitImages(Inspector(square), digits, digits.with_role("fit")[:8]))


def made(name=LITE0, layers=(1, 2), weights="random"):
    backbone = Backbone(name, list(layers), 64)
    backbone.load(weights)
    return backbone


def tuned(images, options, *, seed=17, **made_of):
    backbone = made(**made_of)
    facts = finetune(backbone, images, options, seed=seed)
    return backbone, facts


def state(backbone):
    return {name: tensor.clone() for name, tensor in backbone.state_dict().items()}


def assert_equal(ours, theirs):
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [LITE0, "regnetx_002", "vit_tiny_patch16_224"])
def test_only_the_last_layers_change_and_the_architecture_stays(method, name, images):
    layers = (1, 2)
    before = made(name, layers)
    backbone, facts = tuned(images, small(method, epochs=1), name=name, layers=layers)
    assert list(backbone.state_dict()) == list(before.state_dict())
    changed = [key for key, old in before.state_dict().items() if not torch.equal(backbone.state_dict()[key], old)]
    assert changed
    assert not any("running" in key for key in changed)
    assert sum(backbone.state_dict()[key].ndim > 1 for key in changed) <= 2
    assert method == "last_layers" or all(backbone.state_dict()[key].ndim > 1 for key in changed)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    with torch.inference_mode():
        (shallow, deep), (shallow_before, deep_before) = backbone(images[0]), before(images[0])
    assert torch.equal(shallow, shallow_before)
    assert not torch.equal(deep, deep_before)
    assert facts["finetune"] == method
    trained = sum(backbone.state_dict()[key].numel() for key in changed)
    assert facts["finetune_parameters"] < trained if method == "low_rank" else facts["finetune_parameters"] >= trained


@pytest.mark.parametrize("method", METHODS)
def test_the_merged_backbone_gives_what_the_training_saw_bit_for_bit(method, images, monkeypatch):
    seen = []

    def remember(*args):
        seen.append((args[2][0].clone(), functional_call(*args)))
        return seen[-1][1]

    monkeypatch.setattr(gonogo.model.finetune, "functional_call", remember)
    backbone, _ = tuned(images, small(method))
    pixels, maps = seen[-1]
    assert all(torch.equal(*pair) for pair in zip(backbone(pixels), maps, strict=True))
    assert not torch.equal(made()(pixels)[1], maps[1])


def test_low_rank_adds_a_product_of_its_rank(images):
    before = made()
    backbone, facts = tuned(images, small("low_rank", n_layers=3, rank=3))
    ranks = []
    for name, old in before.named_parameters():
        added = backbone.get_parameter(name) - old
        if added.any():
            singular = torch.linalg.svdvals(added.flatten(1).double())
            ranks.append(int((singular > 1e-5 * singular[0]).sum()))
    assert ranks == [3, 3]
    assert facts["finetune_parameters"] == 2 * 3 * (40 + 240)


@pytest.mark.parametrize("method", METHODS)
def test_the_held_out_loss_falls_and_every_epoch_is_reported(method, images):
    curve = []
    finetune(
        made(weights="pretrained", layers=(2, 3)),
        images,
        small(method, n_layers=9, epochs=4, epoch_size=6, held_out_share=0.25),
        seed=17,
        progress=lambda *report: curve.append(report),
    )
    assert [(what, done, total) for what, done, total, _ in curve] == [("finetune", i + 1, 4) for i in range(4)]
    assert all(list(values) == ["finetune_loss", "finetune_held_out_loss"] for *_, values in curve)
    assert curve[-1][3]["finetune_held_out_loss"] < curve[0][3]["finetune_held_out_loss"] < np.log(3)


class Killed(Exception):
    """What a kill looks like to the code that it ends."""


@pytest.mark.parametrize(("method", "die_at"), [("last_layers", 7), ("low_rank", 11), ("low_rank", 13)])
def test_killed_within_any_image_and_taken_up_again_it_equals_one_that_was_not(
    method, die_at, images, tmp_path, monkeypatch
):
    options = small(method, epochs=3)
    expected, facts = tuned(images, options)
    backbone, checkpoints = made(), Checkpoints(tmp_path, {"options": "the same"})
    fresh, real, n_judged = state(backbone), gonogo.model.finetune._Tuned.loss_of, [0]

    def judge(self, batch, generator):
        n_judged[0] += torch.is_grad_enabled()
        if n_judged[0] == die_at:
            raise Killed
        return real(self, batch, generator)

    monkeypatch.setattr(gonogo.model.finetune._Tuned, "loss_of", judge)
    if die_at <= 12:  # 3 epochs of 4 images
        with pytest.raises(Killed):
            finetune(backbone, images, options, seed=17, checkpoints=checkpoints)
        assert_equal(state(backbone), fresh)  # half a training leaves nothing of itself
    else:  # killed later in the fit: the training is over
        finetune(backbone, images, options, seed=17, checkpoints=checkpoints)
    backbone, n_judged[0] = made(), -100
    assert finetune(backbone, images, options, seed=17, checkpoints=checkpoints) == facts
    assert_equal(state(backbone), state(expected))
    assert n_judged[0] == -100 + 12 - 4 * (die_at // 4)  # it went on from the last whole epoch


def test_the_seed_alone_decides_and_torchs_own_generator_does_not(images):
    options = small("low_rank", epochs=1)
    torch.manual_seed(1)
    one, _ = tuned(images, options)
    torch.manual_seed(2)
    same, _ = tuned(images, options)
    other, _ = tuned(images, options, seed=18)
    assert_equal(state(one), state(same))
    assert any(
        not torch.equal(ours, theirs) for ours, theirs in zip(state(one).values(), state(other).values(), strict=True)
    )


def test_the_held_out_loss_is_of_the_same_views_every_time_and_of_no_image_that_trains(monkeypatch):
    images = torch.rand(8, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    real, held_out, trained = gonogo.model.finetune._views, [], []

    def remember(batch, generator):
        views = real(batch, generator)
        (trained if torch.is_grad_enabled() else held_out).append(views)
        return views

    monkeypatch.setattr(gonogo.model.finetune, "_views", remember)
    finetune(made(), images, small("last_layers", held_out_share=0.25), seed=17)
    passes = torch.cat(held_out[4:]).chunk(3)  # after those that standardise: of both epochs, and of the best one
    assert torch.equal(passes[0], passes[1])
    assert torch.equal(passes[0], passes[2])
    assert len(passes[0].unique(dim=0)) == 2 + 2 * 4  # of two images: good, 2 patches and 2 scars each
    good = {tuple(views[0].flatten().tolist()) for views in trained}
    assert len(good) > 4
    assert not good & {tuple(view.flatten().tolist()) for view in passes[0]}


def test_no_more_images_than_an_epoch_has_are_read_for_it(images):
    class Counted(list):
        reads = 0

        def __getitem__(self, index):
            Counted.reads += 1
            return super().__getitem__(index)

    finetune(made(), Counted(images), small("last_layers", epochs=1, epoch_size=2, held_out_share=0.5), seed=17)
    assert Counted.reads == 2 + 2 + 2 * 2  # to standardise, to train, and those held out at and after the epoch


@pytest.mark.parametrize("name", WITH_BACKBONE)
def test_every_detector_with_a_backbone_learns_from_the_tuned_one(name, images):
    options = OPTIONS[name] | ({"features": "backbone", "image_size": 64} if "features" in OPTIONS[name] else {})
    detector = conftest.made(name, **options)
    detector.load_weights()
    (backbone,) = detector.backbones()
    before = state(backbone)
    [parameter for parameter in backbone.parameters() if parameter.ndim > 1][-1].detach().mul_(0.5)
    halved = state(backbone)
    assert any(not torch.equal(tensor, before[key]) for key, tensor in halved.items())
    detector.fit(images, seed=17)
    assert_equal(state(backbone), halved)  # the fit does not load the weights again
    plain = conftest.made(name, **options).fit(images, seed=17)
    (untouched,) = plain.backbones()
    assert_equal(state(untouched), before)
    assert any(not torch.equal(plain.state_dict()[key], value) for key, value in detector.named_buffers(recurse=False))


@pytest.fixture(scope="module")
def gauge(digits):
    """PaDiM on a finetuned backbone, as the fit stage makes it."""
    inspector = Inspector(conftest.made("padim", **OPTIONS["padim"]))
    batches = FitImages(inspector, digits, digits.with_role("fit")[:40])
    finetune_backbone(inspector.detector, batches, small("low_rank"), seed=17)
    inspector.detector.fit(batches, seed=17)
    return inspector


def test_a_finetuned_model_scores_otherwise_and_loaded_again_the_same_bit_for_bit(gauge, digits, pixels, tmp_path):
    plain = Inspector(conftest.made("padim", **OPTIONS["padim"]))
    plain.detector.fit(FitImages(plain, digits, digits.with_role("fit")[:40]), seed=17)
    scores, maps = gauge.inspect(pixels)
    assert not np.array_equal(plain.inspect(pixels)[0], scores)
    model = modelled(gauge, digits, tmp_path)
    for loaded, original in zip(model.inspector.inspect(pixels), (scores, maps), strict=True):
        np.testing.assert_array_equal(loaded, original)
    facts = json.loads((tmp_path / "manifest.json").read_text())["detector"]["facts"]
    assert (facts["finetune"], facts["finetune_epochs"], facts["n_features"]) == ("low_rank", 2, 20)
    assert 1 <= facts["finetune_best_epoch"] <= 2
    assert 0 <= facts["finetune_held_out_accuracy"] <= 1


def test_loading_the_weights_again_gives_the_untuned_ones(gauge):
    (backbone,) = copy.deepcopy(gauge.detector).backbones()
    tuned_state = state(backbone)
    backbone.load("random")
    assert_equal(state(backbone), state(made("test_resnet", backbone.layers)))
    assert any(not torch.equal(tensor, tuned_state[key]) for key, tensor in state(backbone).items())
    assert backbone.facts == {}


@pytest.mark.parametrize(
    ("name", "options"), [("pca", OPTIONS["pca"]), ("mahalanobis", {"features": "pixels", "image_size": 8})]
)
def test_a_detector_without_a_backbone_is_refused_with_those_that_have_one(name, options, images):
    with pytest.raises(ConfigError, match=r"set it to null for this category, or choose one of .*padim, patchcore"):
        finetune_backbone(conftest.made(name, **options), images, SMALL, seed=17)


@pytest.mark.parametrize(
    ("finetune", "message"),
    [
        (
            {"method": "low_rank", "ranks": 4},
            r"fit\.finetune: unknown key 'ranks' = 4; did you mean rank\? allowed: method",
        ),
        ({"rank": 4}, "'method' is missing"),
        ({"method": "all"}, "method is 'all'"),
        ({"method": "last_layers", "rank": 4}, "rank is 4, but method 'last_layers' has none"),
        ({"method": "low_rank", "lr": 0.0}, "lr is 0.0"),
    ],
)
def test_a_wrong_key_is_an_error_that_names_it(finetune, message):
    with pytest.raises(ConfigError, match=message):
        build(FitParams, SHARED | {"finetune": finetune}, where="params.yaml: fit")


def test_a_method_alone_is_enough():
    checked = build(FitParams, SHARED | {"finetune": {"method": "low_rank"}}, where="params.yaml: fit")
    assert checked.finetune == Finetune(method="low_rank")


def test_layers_that_take_no_adapter_are_refused():
    with pytest.raises(ConfigError, match=f"none of the last layers of {LITE0} .* raise n_layers"):
        _LowRank(made(), ["model.blocks.2.1.conv_dw", "model.blocks.2.1.bn2"], rank=4, seed=17)


def test_one_image_is_not_enough(images):
    with pytest.raises(DataError, match="at least 2 fit images"):
        finetune(made(), images[:1], SMALL, seed=17)
