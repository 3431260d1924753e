"""train, eval, export and bench: what they ask of DVC, and what they print of what it made."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from checkout import ROOT
from gonogo.cli.main import main
from gonogo.errors import ConfigError, PipelineError
from gonogo.files import read_json, write_metrics
from gonogo.params import read_yaml
from gonogo.project.preflight import SECTIONS, check_values

METRICS = ROOT / "metrics"


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """What dvc was asked for, in a project with the committed metrics of two categories and no results else."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(METRICS, tmp_path / "metrics")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    params = tmp_path / "params.yaml"
    text = params.read_text()
    params.write_text(re.sub(r"categories:\n(- .*\n)+", "categories: [brick, digit_0]\n", text))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "raw").mkdir(parents=True)
    asked = []
    monkeypatch.setattr("gonogo.project.dvc.run_dvc", lambda *words: asked.append(" ".join(words)))
    return asked


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("train", ["repro fit"]),
        ("train brick digit_0", ["repro fit@brick fit@digit_0"]),
        ("eval brick", ["repro evaluate@brick"]),
        ("export brick", ["repro parity@brick"]),
        ("bench brick", ["repro parity@brick", "repro --single-item --force bench@brick"]),
        ("bench --n 7", ["repro parity", "exp run --single-item --force -S bench.runs=7 bench"]),
        ("eval -S evaluate.n_resamples=900 brick", ["exp run -S evaluate.n_resamples=900 evaluate@brick"]),
        (
            "train --recipe low-false-alarm -S fit.coreset_ratio=0.02",
            [
                "exp run -S calibrate.false_alarm_rate=0.02 -S regions.pixel_false_positive_rate=0.0001 "
                "-S fit.coreset_ratio=0.02 fit"
            ],
        ),
        (
            "train digit_0 --recipe low-false-alarm",
            [
                "exp run -S +overrides.digit_0.calibrate.false_alarm_rate=0.02 "
                "-S +overrides.digit_0.regions.pixel_false_positive_rate=0.0001 fit@digit_0"
            ],
        ),
    ],
)
def test_a_stage_goes_through_dvc_and_settings_make_it_an_experiment(words, asked, ran, capsys):
    assert main(words.split()) == 0
    assert ran == asked
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["train", "fit", "eval", "export", "bench"])
def test_one_wrong_value_of_one_category_is_told_before_any_stage_runs(command, ran, tmp_path, capsys):
    params = tmp_path / "params.yaml"
    params.write_text(params.read_text() + "  brick2: {}\n")  # an override of a category that is not run
    assert main([command, "digit_0", "-S", "overrides.brick.fit.image_size=0", "-S", "bench.runs=many"]) == 3
    err = capsys.readouterr().err
    assert "brick: params.yaml: fit (patchcore): image_size is 0" in err
    assert "params.yaml: bench: runs is 'many'" in err
    assert err.count("runs is 'many'") == 1
    assert ran == []


def test_every_section_of_params_yaml_is_one_that_is_checked_before_a_run():
    content = read_yaml(ROOT / "params.yaml")
    sections = {name for name, value in content.items() if isinstance(value, dict)} - {"overrides"}
    assert sections == SECTIONS.keys()


@pytest.mark.usefixtures("ran")
def test_no_number_of_params_yaml_may_be_below_its_range(tmp_path):
    params = tmp_path / "params.yaml"
    numbers = [
        f"{section}.{key}"
        for section in SECTIONS
        for key, value in read_yaml(params)[section].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    assert len(numbers) > 30
    for name in numbers:
        with pytest.raises(ConfigError, match=name.partition(".")[2]):
            check_values(params, ["categories=[part]", f"{name}=-1"])  # a category that overrides nothing


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("fit.weights=nowhere.pth", r"^fit\.weights is 'nowhere\.pth', and there is no such file"),
        ("fit.backbone=resnet_18", r"timm does not know; did you mean resnet18 .*`gonogo backbones"),
        ("fit.layers=[9]", "has no such layers"),
        ("fit.preprocess={flat_field: {flat.png: null}}", r"fit\.preprocess\.flat_field is 'flat\.png'"),
        ("overrides.part.fit={detector: efficientad}", "^part: fit.teacher is not set"),
        ("overrides.part.fit={detector: efficientad, teacher: t.pth}", r"^part: fit\.teacher is 't\.pth', and there"),
        ("overrides.part.fit={detector: anomalib, model: Padim, checkpoint: c}", r"^part: fit\.checkpoint is 'c', and"),
        (
            "overrides.part.fit={detector: onnx_boxes, model: m, contract: yolo, classes: [a]}",
            "^part: fit.model is 'm'",
        ),
        ("overrides.part.fit={detector: centre_boxes, start_from: s}", "^part: fit.start_from is 's': expected"),
    ],
)
@pytest.mark.usefixtures("ran")
def test_what_a_fit_would_read_is_looked_at_before_the_first_stage(setting, says, tmp_path):
    params = tmp_path / "params.yaml"
    with pytest.raises(ConfigError, match=says):
        check_values(params, ["categories=[part, other]", setting])
    # Not where the model is there already and keeps what it read, or where the run is about another category.
    if setting.startswith("overrides"):
        check_values(params, ["categories=[part, other]", setting], wanted=["other"])


@pytest.mark.usefixtures("ran")
def test_a_file_that_a_finished_fit_has_read_is_not_asked_for_again(tmp_path):
    params = tmp_path / "params.yaml"
    content = YAML().load(params)
    content["overrides"]["digit_0"]["fit"] = {"detector": "efficientad", "teacher": "gone.pth"}
    YAML().dump(content, params)
    with pytest.raises(ConfigError, match=r"^digit_0: fit\.teacher is 'gone\.pth'"):
        check_values(params)
    models = tmp_path / "models" / "fitted" / "digit_0"
    models.mkdir(parents=True)
    (models / "manifest.json").write_text("{}")
    check_values(params)


@pytest.mark.usefixtures("ran")
def test_a_detector_is_found_by_its_other_names_before_a_run_too(tmp_path):
    assert check_values(tmp_path / "params.yaml", ["categories=[part]", "fit.detector=PatchCore"]) == ["part"]
    with pytest.raises(ConfigError, match="the nearest detector is mahalanobis"):
        check_values(tmp_path / "params.yaml", ["categories=[part]", "fit.detector=Dfm"])


@pytest.mark.parametrize("setting", ["fit.detector", "fit", "=3", ""])
def test_a_setting_without_a_value_is_an_error_that_says_so(setting, ran, capsys):
    assert main(["train", "-S", setting, "--dry-run"]) == 3
    assert f"{setting!r} is no setting; expected KEY=VALUE" in capsys.readouterr().err
    assert ran == []


def test_a_dry_run_checks_all_and_says_what_would_run(ran, capsys):
    assert main(["bench", "brick", "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["would_run"] == ["dvc repro parity@brick", "dvc repro --single-item --force bench@brick"]
    assert report["checked"] == ["brick", "digit_0"]
    assert main(["fit", "--dry-run", "-S", "fit.image_sise=64"]) == 3
    assert "did you mean image_size" in capsys.readouterr().err
    assert ran == []


def test_values_of_a_file_come_first_and_a_flag_wins(ran, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(
        "seed: 17\nfit: {coreset_ratio: 0.03, image_size: 64}\noverrides: {brick: {bench: {runs: 5}}}\n"
    )
    assert main(["eval", "--config", "mine.yaml", "-S", "fit.coreset_ratio=0.02", "brick"]) == 0
    shape = "-S fit.image_size=64 -S fit.coreset_ratio=0.02 -S +overrides.brick.bench.runs=5"
    assert ran == [f"exp run {shape} evaluate@brick"]  # the seed is that of params.yaml
    for text, says in (("fit: {coreset_rati: 1}", "did you mean coreset_ratio"), ("ft: {}\nx: 1", "section 'x'")):
        (tmp_path / "mine.yaml").write_text(text)
        assert main(["eval", "--config", "mine.yaml"]) == 3
        assert says in capsys.readouterr().err
    assert main(["eval", "--config", "none.yaml"]) == 3
    assert "none.yaml: no such file" in capsys.readouterr().err


@pytest.mark.usefixtures("ran")
def test_eval_shows_each_category_beside_its_baseline_with_the_lift(capsys):
    assert main(["eval"]) == 0
    text = capsys.readouterr().out
    for category in ("brick", "digit_0"):
        metrics = read_json(METRICS / "evaluate" / f"{category}.json")
        block = text[text.index(f"{category} ({metrics['detector']})") :]
        row = next(line for line in block.splitlines() if line.split()[:1] == ["image_auroc"])
        values = [metrics[f"image_auroc{end}"] for end in ("", "_low", "_high", "_baseline", "_lift")]
        gauge, low, high, theirs = (f"{value:.3f}" for value in values[:4])
        assert row.split() == ["image_auroc", gauge, low, "to", high, theirs, f"{values[4]:+.3f}", "0.500"]
    assert "aupro_30" not in text[text.index("digit_0") :]  # no masks, no such metric
    assert main(["eval", "brick", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["stage"] == "evaluate"
    assert report["categories"] == {"brick": read_json(METRICS / "evaluate" / "brick.json")}


@pytest.mark.parametrize(
    ("command", "stage", "key"),
    [("train", "fit", "fit_s"), ("export", "parity", "n_flips"), ("bench", "bench", "p50_ms")],
)
@pytest.mark.usefixtures("ran")
def test_each_stage_gives_its_own_metrics(command, stage, key, capsys):
    assert main([command, "brick", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["categories"]["brick"]
    assert metrics[key] == read_json(METRICS / stage / "brick.json")[key]
    assert main([command, "brick"]) == 0
    assert capsys.readouterr().out.startswith("brick: ")


@pytest.mark.usefixtures("ran")
def test_train_says_what_the_threshold_claims(bundle, tmp_path, capsys):
    shutil.copytree(bundle, tmp_path / "models" / "fitted" / "digit_0")
    write_metrics(tmp_path / "metrics" / "fit" / "digit_0.json", {"fit_s": 12.0, "peak_memory_mb": 345.0})
    assert main(["train", "digit_0"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("digit_0: the fit took 12 s and 345 MB; threshold ")
    assert "of good parts are rejected" in text


@pytest.mark.usefixtures("ran")
def test_the_categories_are_those_after_the_experiment_changed_them(tmp_path, monkeypatch, capsys):
    def dvc(*_):
        params = tmp_path / "params.yaml"
        params.write_text(params.read_text().replace("categories: [brick, digit_0]", "categories: [digit_0]"))

    monkeypatch.setattr("gonogo.project.dvc.run_dvc", dvc)
    assert main(["eval", "-S", "categories=[digit_0]", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["categories"]) == ["digit_0"]


@pytest.mark.usefixtures("ran")
def test_what_dvc_does_not_do_is_status_4_and_shows_no_old_metrics(monkeypatch, capsys):
    def dvc(*_):
        raise PipelineError("dvc repro failed with exit status 255; what it said stands above")

    monkeypatch.setattr("gonogo.project.dvc.run_dvc", dvc)
    assert main(["eval", "brick", "--json"]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "PipelineError"
    assert error["hint"] == "the messages of git or DVC are on standard error"


@pytest.mark.usefixtures("ran")
def test_a_stage_that_leaves_no_metrics_is_a_failure(tmp_path, capsys):
    (tmp_path / "metrics" / "evaluate" / "brick.json").unlink()
    assert main(["eval", "brick"]) == 4
    assert "wrote no metrics of brick" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "train NAME", "eval NAME", "export NAME", "bench brick NAME", "thresholds NAME", "tune NAME", "categories NAME",
        "promote NAME --reason x", "retrain NAME", "gpu-train NAME",
        "runs start NAME", "runs forecast NAME", "accept x.png --category NAME --role fit",
        "recipes apply fast --category NAME", "train --recipe NAME", "recipes NAME", "recipes apply NAME",
    ],
)  # fmt: skip
def test_a_name_that_is_not_there_is_wrong_usage_with_the_one_that_is_like_it(words, ran, capsys):
    category = "recipe" not in words or "--category" in words
    with pytest.raises(SystemExit) as stop:
        main(words.replace("NAME", "brik" if category else "fats").split())
    assert stop.value.code == 2
    err = capsys.readouterr().err
    says = "no category 'brik'; did you mean brick? choose one of brick, digit_0" if category else "did you mean fast? "
    assert says in err
    assert f"`gonogo {words.split()[0]}" in err
    assert ran == []


@pytest.mark.parametrize("words", ["train", "eval", "bench", "categories", "recipes", "recipes apply fast"])
def test_outside_of_a_project_its_commands_say_where_to_run_them(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words.split(), "--json"]) == 3
    assert "run this in the project's root" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_category_is_described_with_the_parameters_that_its_stages_read(capsys):
    assert main(["categories", "digit_0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    written = read_yaml(ROOT / "params.yaml")
    fit = report["parameters"]["fit"]
    assert fit["detector"] == "pca"
    assert "coreset_ratio" not in fit  # an option of the detector that the override replaced
    assert fit["left_out"] == written["fit"]["left_out"]
    assert report["parameters"]["prepare"]["calibrate_share"] == written["prepare"]["calibrate_share"]
    assert report["images"] == read_json(METRICS / "prepare" / "digit_0.json")


@pytest.mark.usefixtures("ran")
def test_a_category_that_nothing_was_run_for_says_what_runs_it(tmp_path, capsys):
    shutil.rmtree(tmp_path / "metrics")
    assert main(["categories"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["brick", "surfaces", "patchcore", "-", "-", "-"]
    assert main(["categories", "brick"]) == 0
    assert capsys.readouterr().out.endswith("not evaluated yet; gonogo eval brick evaluates it\n")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_the_commands_and_a_shell_can_read_it(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("score", "recipes", "--tolerances", "--roll-back"))
    if shell == "bash":
        ask = 'COMP_WORDS=(gonogo trai); COMP_CWORD=1; _shtab_gonogo; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["train"]


def test_without_shtab_completion_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 4
    assert "pip install 'gonogo[completion]'" in capsys.readouterr().err
