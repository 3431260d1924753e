"""How commands end (every status, every code, one JSON object whatever happens), and what a start imports."""

import inspect
import json
import os
import subprocess
import sys

import pytest

from checkout import ROOT, SOURCE
from gonogo import errors
from gonogo.cli.answer import Answer
from gonogo.cli.exit_status import MEANINGS, failure
from gonogo.cli.main import COMMANDS, main

ENVIRONMENT = {"IntegrityError", "MissingExtraError", "PipelineError", "WorkerError"}


def gonogo(*words, **options):
    """The command in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": ""}
    return subprocess.Popen([sys.executable, "-m", "gonogo.cli", *words], env=env, text=True, **options)


def ends_with(monkeypatch, ending):
    """Make `gonogo version` raise an exception."""

    def command(_):
        raise ending

    monkeypatch.setattr("gonogo.cli.commands.version.run", command)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.DataError("no image"), 3, "DataError"),
        (errors.ConfigError("no key"), 3, "ConfigError"),
        (errors.PipelineError("dvc failed"), 4, "PipelineError"),
        (PermissionError(13, "Permission denied", "a.png"), 4, "OSError"),
        (ZeroDivisionError("by zero"), 5, "InternalError"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_is_one_json_object_with_code_message_and_hint(error, status, code, monkeypatch, capsys):
    ends_with(monkeypatch, error)
    assert main(["version", "--json"]) == status
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    report = json.loads(out)
    assert set(report) == {"ok", "error"}
    assert report["ok"] is False
    assert report["error"]["code"] == code
    assert str(error) in report["error"]["message"]
    assert set(report["error"]) == {"code", "message", "hint"}
    assert ("Traceback" in err) == (status == 5)
    assert main(["version"]) == status
    assert capsys.readouterr().out == ""


def test_every_error_of_the_library_has_its_own_name_as_code_and_the_status_of_its_kind():
    leaves = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.GonogoError)]
    ends = {kind.__name__: failure(kind("x")) for kind in leaves}
    assert {name: code for name, (_, code, _) in ends.items()} == {name: name for name in ends}
    assert {name for name, (status, _, _) in ends.items() if status == 4} == ENVIRONMENT
    assert {name for name, (status, _, _) in ends.items() if status == 2} == {"UsageError"}
    assert {name for name, (status, _, _) in ends.items() if status == 1} == {"GateError"}
    assert {status for status, _, _ in ends.values()} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("words", "message", "command"),
    [
        ([], "COMMAND", "gonogo"),
        (["scorn"], "there is no command 'scorn'; did you mean score?", "gonogo"),
        (["xyzzy"], "there is no command 'xyzzy'", "gonogo"),
        (["benchmark", "--dta", "x"], "unrecognized arguments: --dta; did you mean --data?", "gonogo benchmark"),
        (["retrain", "brick", "--store", "x"], "unrecognized arguments: --store", "gonogo retrain"),
        (["score", "b", "f", "--jsonll"], "unrecognized arguments: --jsonll; did you mean --jsonl?", "gonogo score"),
        (["bundle", "sign", "b", "--key", "k", "--jsen"], "--jsen; did you mean --json?", "gonogo bundle"),
        (["bundle", "sgn", "b"], "did you mean sign?", "gonogo bundle"),
        (["accept", "a", "--role", "calibrat"], "did you mean calibrate?", "gonogo accept"),
        (["score", "bundle"], "PATH", "gonogo score"),
        (["version", "--js"], "unrecognized arguments: --js; did you mean --json?", "gonogo version"),
        (["score", "b", "f", "--threads", "none"], "--threads", "gonogo score"),
        (["accept", "--category", "brick"], "expected IMAGE ...", "gonogo accept"),
        (["serve", "--bundle", "b", "--port", "99999"], "99999 is no port; expected 0 to 65535", "gonogo serve"),
        (["workbench", "--port", "-1"], "-1 is no port; expected 0 to 65535", "gonogo workbench"),
        (["bench", "--n", "0"], "0 is not at least 1", "gonogo bench"),
        (["recipes", "fast", "slow"], "expected NAME, or apply NAME", "gonogo recipes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_status_2_and_one_json_object_too(words, message, command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*words, "--json"])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert error["code"] == "UsageError"
    assert message in error["message"]
    assert error["hint"] == f"`{command} --help` lists its arguments"
    assert err == ""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{command}: ")


@pytest.mark.parametrize(
    "words",
    [
        ["score", "bundle", "-dash.png"],
        ["score", "bundle", "--strange.JPEG", "--json"],
        ["score", "bundle", "a.png", "-x"],
        ["explain", "bundle", "-1.tiff"],
        ["verify", "bundle", "-v.png"],
    ],
    ids=" ".join,
)
def test_a_file_that_begins_with_a_dash_gets_the_hint_that_helps(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-x").touch()
    with pytest.raises(SystemExit):
        main(words)
    out, err = capsys.readouterr()
    name = next(word for word in words if word.startswith("-") and word != "--json")
    assert f"is written as ./{name}, or stands with the others behind --" in out + err
    with pytest.raises(SystemExit):
        main(["score", "bundle", "a.png", "--thread", "3", "--threads", "1.5"])  # no file, and no such hint
    assert "behind --" not in capsys.readouterr().err


def test_a_file_that_begins_with_a_dash_is_taken_behind_two(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in (["--json", "bundle", "--", "-dash.png"], ["bundle", "./-dash.png", "--json"]):
        assert main(["score", *words]) == 4  # there is no such bundle
        assert "bundle" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_file_that_is_called_as_the_option_asks_for_no_json(capsys):
    with pytest.raises(SystemExit):
        main(["version", "--", "--json"])
    out, err = capsys.readouterr()
    assert out == ""
    assert "unrecognized arguments" in err


def test_help_is_readable_says_every_status_and_is_json_where_that_is_asked_for(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert not stop.value.code
    text = capsys.readouterr().out
    for status, meaning in MEANINGS.items():
        assert f"  {status:<4} {meaning}" in text
    assert max(map(len, text.splitlines())) <= 100
    with pytest.raises(SystemExit):
        main(["score", "--help", "--json"])
    assert json.loads(capsys.readouterr().out)["help"].startswith("usage: gonogo score")


def test_commands_have_the_names_that_other_tools_give_them_too(bundle, digits, capsys):
    part = str(digits.path_of(digits.with_role("fit")[0]))
    main(["score", str(bundle), part, "--jsonl"])
    row = capsys.readouterr().out
    for name in ("infer", "predict"):
        main([name, str(bundle), part, "--jsonl"])
        assert capsys.readouterr().out == row
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    assert capsys.readouterr().out.startswith("usage: gonogo train")
    assert main(["--version"]) == main(["version"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first == second


def test_what_a_library_prints_on_the_way_is_no_part_of_the_answer(monkeypatch, capsys):
    def chatty(_):
        print("a library says")
        return Answer({"ok": True}, "done")

    monkeypatch.setattr("gonogo.cli.commands.detectors.run", chatty)
    assert main(["detectors", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"ok": True}
    assert err == "a library says\n"


@pytest.mark.parametrize("words", [["detectors", "patchcore", "--json"], ["--help"]])
def test_a_pipe_that_nobody_reads_ends_the_command_quietly(words):
    read, write = os.pipe()
    os.close(read)
    with gonogo(*words, stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        _, err = process.communicate(timeout=300)
    assert err == ""
    assert process.returncode == 141


HEAVY = ("numpy", "torch", "PIL", "onnxruntime", "pydantic", "ruamel", "dvc", "rich", "jinja2", "fastapi", "packaging")


def in_process(program, **options):
    """What a program of Python prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", [["--help"], ["version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_of_every_command_imports_nothing_heavy_and_no_other_command(words):
    program = f"""
import sys
from gonogo.cli.main import main
try:
    main({words!r})
except SystemExit as stop:
    assert not stop.code
print()
print(*sorted(sys.modules))
"""
    loaded = set(in_process(program).splitlines()[-1].split())
    assert "gonogo.cli.main" in loaded
    assert {name.partition(".")[0] for name in loaded} & set(HEAVY) == set()
    commands = {name.rpartition(".")[2] for name in loaded if name.startswith("gonogo.cli.commands.")}
    expected = {word.replace("-", "_") for word in words if word in COMMANDS}
    assert commands - {"recipes" if expected == {"train"} else ""} == expected  # train can apply a recipe


def test_the_commands_are_the_modules_of_their_folder_and_each_is_described():
    files = {path.stem for path in (SOURCE / "gonogo/cli/commands").glob("*.py")} - {"__init__"}
    assert {name.replace("-", "_") for name in COMMANDS} == files
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])


BLOCKED = {  # what a command cannot import, by the extra that it then names
    "pip install gonogo": ("onnxruntime", ["score b f", "verify b", "explain b f", "bundle pack b f.gonogo"]),
    "pip install 'gonogo[serve]'": ("sqlalchemy", ["serve key Ada --role admin", "serve keys"]),
    "pip install 'gonogo[completion]'": ("shtab", ["completion bash"]),
    "pip install 'gonogo[pipeline]'": (
        "pydantic",
        ["train", "eval", "export", "bench", "compare HEAD", "thresholds brick", "accept --history", "init data/raw"],
    ),
}


@pytest.mark.parametrize("install", BLOCKED)
def test_a_package_that_is_missing_is_an_error_that_says_what_to_install(install):
    blocked, commands = BLOCKED[install]
    program = f"""
import sys
from contextlib import redirect_stdout
from io import StringIO
sys.modules[{blocked!r}] = None
from gonogo.cli.main import main
for words in {commands!r}:
    printed = StringIO()
    with redirect_stdout(printed):
        status = main([*words.split(), "--json"])
    print(status, printed.getvalue().strip())
"""
    lines = in_process(program, cwd=ROOT).splitlines()
    assert len(lines) == len(commands)
    for words, line in zip(commands, lines, strict=True):
        status, _, printed = line.partition(" ")
        error = json.loads(printed)["error"]
        assert (status, error["code"]) == ("4", "MissingExtraError"), words
        assert blocked in error["message"]
        assert install in error["message"]


def test_what_explain_knows_of_the_fitted_model_names_the_extra_that_fits(bundle, digits, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gonogo.model.attribution.cams", None)
    image = digits.path_of(digits.with_role("test")[0])
    assert main(["explain", str(bundle), str(image), "--model", "models/digit_0"]) == 4
    assert "pip install 'gonogo[pipeline]'" in capsys.readouterr().err


def test_a_module_of_gonogo_that_is_missing_is_a_bug_and_no_missing_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gonogo.line.verify", None)
    assert main(["verify", "bundle", "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "InternalError"
