"""How commands end: every status, every code, one JSON object whatever happens, and a start that loads little."""

import inspect
import json
import os
import subprocess
import sys

import pytest

from gonogo import errors
from gonogo.cli import main as cli
from gonogo.cli.answer import Answer
from gonogo.cli.exit_status import MEANINGS, failure
from gonogo.cli.main import main
from import_closure import SOURCE

ENVIRONMENT = {"IntegrityError", "MissingExtraError", "PipelineError", "WorkerError"}


def gonogo(*words, **options):
    """The command in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": ""}
    return subprocess.Popen([sys.executable, "-m", "gonogo.cli.main", *words], env=env, text=True, **options)


def ends_with(monkeypatch, ending):
    """Make `gonogo version` end so: an exception is raised, anything else is its status."""

    def command(_):
        if isinstance(ending, BaseException):
            raise ending
        return ending

    monkeypatch.setattr(cli, "_version", command)


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


def test_every_error_of_the_library_has_its_own_name_as_code_and_one_of_two_statuses():
    leaves = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.GonogoError)]
    ends = {kind.__name__: failure(kind("x")) for kind in leaves}
    assert {name: code for name, (_, code, _) in ends.items()} == {name: name for name in ends}
    assert {name for name, (status, _, _) in ends.items() if status == 4} == ENVIRONMENT
    assert {name for name, (status, _, _) in ends.items() if status == 2} == {"UsageError"}
    assert {status for status, _, _ in ends.values()} == {2, 3, 4}


@pytest.mark.parametrize(
    ("words", "message", "command"),
    [
        ([], "COMMAND", "gonogo"),
        (["scorn"], "invalid choice: 'scorn'", "gonogo"),
        (["score", "bundle"], "PATH", "gonogo score"),
        (["version", "--js"], "unrecognized arguments: --js", "gonogo"),
        (["score", "b", "f", "--threads", "none"], "--threads", "gonogo score"),
        (["accept", "--category", "brick"], "name IMAGE ...", "gonogo accept"),
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
    assert error["hint"] == f"`{command} --help` says what it takes"
    assert err == ""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{command}: ")


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


@pytest.mark.parametrize("words", [["--help"], ["score", "--help"], ["version"]], ids=" ".join)
def test_help_and_version_load_nothing_of_what_takes_time_to_import(words):
    script = f"""
import sys
from gonogo.cli.main import main
try:
    main({words!r})
except SystemExit as stop:
    assert not stop.code
print()
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "gonogo" in loaded
    heavy = {"numpy", "torch", "PIL", "onnxruntime", "onnx", "scipy", "sklearn", "pydantic", "ruamel", "dvc", "rich"}
    assert loaded & heavy == set()
