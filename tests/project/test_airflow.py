"""The pipelines for Airflow: each calls commands that exist, and goes on, ends or fails as these say."""

import ast
import os
import subprocess

import pytest

from checkout import ROOT

# isort: split
from gonogo.cli.main import parse_arguments

PIPELINES = ROOT / "ops/airflow/pipelines.py"
AIRFLOW = ROOT / ".venv-airflow/bin/airflow"
REASON = ("--by", "airflow", "--reason", "training_pipeline")
PROMOTE = ["gonogo", "promote", "brick", *REASON]
VALIDATED = ["dvc repro prepare@brick"]
REPRODUCED = [*VALIDATED, "dvc repro", "git add --update", "git diff --cached --quiet"]
JUDGED = [*REPRODUCED, " ".join([*PROMOTE, "--dry-run"])]
CERTIFICATE = "gonogo serve certificate brick --data inspections"

# In place of each command: it writes down how it was called, and ends with the status that the test names for that.
STAND_IN = """#!/bin/sh
called="$(basename "$0") $*"
echo "$called" >> calls
if [ "$called" = "$ENDS_OTHERWISE" ]; then exit "$STATUS"; fi
"""


def calls_of_gonogo():
    """The words of each command of gonogo in the file; `x` in place of what a parameter says."""
    for node in ast.walk(ast.parse(PIPELINES.read_text())):
        words = node.args[1:] if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else []
        if words and isinstance(words[0], ast.Constant) and words[0].value == "gonogo":
            yield [word.value if isinstance(word, ast.Constant) else "x" for word in words[1:] if not_starred(word)]


def not_starred(word):
    return not isinstance(word, ast.Starred)


def test_each_command_that_they_call_exists():
    called = [parse_arguments(words).command for words in calls_of_gonogo()]
    assert sorted(called) == ["promote", "retrain", "serve"]
    assert parse_arguments([*PROMOTE[1:], "--dry-run"]).dry_run


needs_airflow = pytest.mark.skipif(not AIRFLOW.exists(), reason="no .venv-airflow: `make airflow` makes it")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Airflow's own folder, with its database."""
    home = tmp_path_factory.mktemp("airflow")
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PIPELINES.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    }
    subprocess.run([AIRFLOW, "db", "migrate"], env=environment, check=True, capture_output=True)
    return environment


@needs_airflow
@pytest.mark.parametrize(
    ("pipeline", "otherwise", "status", "calls", "succeeds"),
    [
        (
            "training_pipeline",
            "git diff --cached --quiet",
            1,
            [
                *REPRODUCED,
                "git commit --quiet --message Reproduce brick",
                *JUDGED[-1:],
                " ".join(PROMOTE),
                "git add registry.jsonl",
                "git commit --quiet --message Promote brick",
            ],
            True,
        ),
        ("training_pipeline", JUDGED[-1], 1, JUDGED, True),
        ("training_pipeline", JUDGED[-1], 4, JUDGED, False),
        ("training_pipeline", "dvc repro prepare@brick", 1, VALIDATED, False),
        ("monitoring_pipeline", CERTIFICATE, 0, [CERTIFICATE], True),
        (
            "monitoring_pipeline",
            CERTIFICATE,
            1,
            [CERTIFICATE, "gonogo retrain brick --data inspections --by airflow"],
            True,
        ),
    ],
    ids=["promote", "skip", "gate fails", "data fail", "end", "retrain"],
)
def test_each_branch_is_taken_as_the_commands_end(pipeline, otherwise, status, calls, succeeds, home, tmp_path):
    for name in ("bin", "project"):
        (tmp_path / name).mkdir()
    for name in ("dvc", "git", "gonogo"):
        (tmp_path / "bin" / name).write_text(STAND_IN)
        (tmp_path / "bin" / name).chmod(0o755)
    given = f'{{"project": "{tmp_path}/project", "bin": "{tmp_path}/bin", "data": "inspections"}}'
    ran = subprocess.run(
        [AIRFLOW, "dags", "test", pipeline, "--conf", given],
        env=home | {"ENDS_OTHERWISE": otherwise, "STATUS": str(status)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tmp_path / "project/calls").read_text().splitlines() == calls, ran.stdout + ran.stderr
    assert (ran.returncode == 0) == succeeds, ran.stdout + ran.stderr
