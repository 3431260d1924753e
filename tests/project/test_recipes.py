"""Recipes: each is valid, shows what it changes, and changes that alone, by hand or through DVC."""

import json
import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from checkout import ROOT
from gonogo.cli.main import main
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.errors import ConfigError
from gonogo.model.fit_params import FitParams
from gonogo.params import Params, read_yaml
from gonogo.project.recipes import SHARED, changes, read_recipe, recipe_names, write_changes

RECIPES = ROOT / "recipes"


@pytest.fixture
def params(tmp_path):
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path))


@pytest.mark.parametrize("name", recipe_names(RECIPES))
@pytest.mark.parametrize("category", [None, "washer", "digit_0"])
def test_a_recipe_changes_params_yaml_as_it_says_and_dvc_changes_it_alike(name, category, params, tmp_path):
    made = changes(params, read_recipe(RECIPES, name), category)
    by_dvc = Path(shutil.copy(params, tmp_path / "dvc.yaml"))
    write_changes(params, made)
    apply_overrides(by_dvc, [change.option for change in made])
    assert read_yaml(by_dvc) == read_yaml(params)
    assert changes(params, read_recipe(RECIPES, name), category) == []
    recipe = read_recipe(RECIPES, name)
    overrides = read_yaml(params)["overrides"]
    for section, values in recipe.sections.items():
        known = category or next(name for name in overrides if section not in overrides[name])
        assert values.items() <= Params(params, known).section(section).items()


def test_a_recipe_for_one_category_leaves_the_others_as_they_were(params):
    before = {name: Params(params, name).section("fit") for name in ("brick", "digit_0")}
    write_changes(params, changes(params, read_recipe(RECIPES, "digits-pca"), "washer"))
    assert {name: Params(params, name).section("fit") for name in before} == before
    assert type(Params(params, "washer").variant("fit", DETECTOR_OPTIONS, FitParams).made).__name__ == "PCAOptions"


def test_a_recipes_square_stands_for_its_area_where_a_category_has_a_shape(params):
    content = params.read_text().replace("overrides:\n", "overrides:\n  none: {fit: {image_size: 64}}\n")
    params.write_text(content.replace("  washer:\n", "  washer:\n    fit: {image_size: [160, 416]}\n"))
    accurate, dino = read_recipe(RECIPES, "accurate"), read_recipe(RECIPES, "anomalydino")
    made = {".".join(change.path): change.new for change in changes(params, accurate)}
    assert made["fit.image_size"] == 384
    assert made["overrides.washer.fit.image_size"] == [224, 608]
    assert "overrides.none.fit.image_size" not in made
    (alone,) = [change for change in changes(params, dino, "washer") if change.path[-1] == "image_size"]
    assert alone.new == [280, 728]  # whole patches of 14 pixels
    write_changes(params, changes(params, accurate))
    assert changes(params, accurate) == []


def test_what_stays_keeps_its_comments(params):
    before = params.read_text().splitlines()
    write_changes(params, changes(params, read_recipe(RECIPES, "low-false-alarm")))
    after = params.read_text().splitlines()
    gone = [line for line in before if line not in after]
    assert len(gone) == 2
    assert sum("#" in line for line in after) >= sum("#" in line for line in before) - 1


def write_recipe(folder, text):
    folder.mkdir()
    (folder / "mine.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("description: x\nfit: {detector: patchcore, coreset_ration: 0.1}\n", "unknown key 'coreset_ration'"),
        ("description: x\nfit: {detector: patchcor}\n", "'patchcor'; did you mean patchcore"),
        ("description: x\ncalibrate: {false_alarm: 0.1}\n", "unknown key 'false_alarm'"),
        ("description: x\nbench: {runs: 3}\n", "bench is no section that a recipe changes; allowed: fit"),
        ("fit: {image_size: 64}\n", "description is None"),
    ],
)
def test_a_mistake_in_a_recipe_is_named_before_anything_is_written(text, message, params, tmp_path):
    folder = write_recipe(tmp_path / "recipes", text)
    before = params.read_bytes()
    with pytest.raises(ConfigError, match=message):
        changes(params, read_recipe(folder, "mine"))
    assert params.read_bytes() == before


@pytest.fixture
def project(params, tmp_path, monkeypatch):
    """A project in the current folder with a recipe of its own."""
    write_recipe(tmp_path / "recipes", "description: my own\nfit: {image_size: 64}\n")
    monkeypatch.chdir(tmp_path)
    return params


def test_a_file_that_a_user_adds_is_a_recipe(project, capsys):
    assert main(["recipes"]) == 0
    assert capsys.readouterr().out == "mine  my own\n"
    assert main(["recipes", "mine"]) == 0
    assert capsys.readouterr().out == "mine: my own\n  fit.image_size: 64\n"
    assert main(["recipes", "apply", "mine"]) == 0
    assert capsys.readouterr().out == "fit.image_size: 256 -> 64\n"
    assert read_yaml(project)["fit"]["image_size"] == 256
    assert main(["recipes", "apply", "mine", "--write"]) == 0
    assert read_yaml(project)["fit"]["image_size"] == 64
    capsys.readouterr()
    assert main(["recipes", "apply", "mine"]) == 0
    assert capsys.readouterr().out == "params.yaml has these values already\n"
    with pytest.raises(SystemExit) as stop:
        main(["recipes", "apply", "mine", "--category", "washers"])
    assert stop.value.code == 2
    assert "no category 'washers'; did you mean washer?" in capsys.readouterr().err


def test_a_program_reads_what_a_recipe_changes_and_whether_it_is_written(project, capsys):
    assert main(["recipes", "apply", "mine", "--category", "washer", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["changes"] == [{"path": "overrides.washer.fit.image_size", "new": 64}]
    assert report["written"] is False
    assert main(["recipes", "apply", "mine", "--category", "washer", "--write", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] is True
    assert Params(project, "washer").section("fit")["image_size"] == 64


def test_a_recipe_that_is_run_is_an_experiment_of_dvc_and_writes_nothing_itself(project, monkeypatch):
    ran = []
    monkeypatch.setattr("gonogo.project.dvc.run_dvc", lambda *words: ran.append(words))
    assert main(["recipes", "apply", "mine", "--run", "--name", "small"]) == 0
    assert ran == [("exp", "run", "--name", "small", "-S", "fit.image_size=64")]
    assert read_yaml(project)["fit"]["image_size"] == 256


@pytest.mark.parametrize(
    "words",
    [["mine", "--write"], ["apply"], ["apply", "mine", "yours"], ["apply", "mine", "--name", "x"], ["mine", "apply"]],
    ids=" ".join,
)
def test_a_recipe_is_written_and_run_by_apply_alone(words, project):
    before = project.read_bytes()
    with pytest.raises(SystemExit) as stop:
        main(["recipes", *words])
    assert stop.value.code == 2
    assert project.read_bytes() == before


def test_a_recipe_with_a_detector_keeps_what_holds_for_every_detector(params):
    params.write_text(params.read_text().replace("device: auto", "device: cpu"))
    kept = {key: value for key, value in read_yaml(params)["fit"].items() if key in SHARED}
    assert kept["device"] == "cpu"
    write_changes(params, changes(params, read_recipe(RECIPES, "digits-pca")))
    assert read_yaml(params)["fit"] == {**kept, **read_recipe(RECIPES, "digits-pca").sections["fit"]}
