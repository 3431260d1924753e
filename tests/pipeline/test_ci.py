"""The parts of .ci/run are the jobs of the workflow, and neither leaves one out."""

import re
import subprocess

from checkout import ROOT
from gonogo.params import read_yaml

FILE = ROOT / ".github/workflows/ci.yml"
TEXT, WORKFLOW = FILE.read_text(), read_yaml(FILE)


def parts() -> set[str]:
    """What .ci/run says that it takes, when it is asked for a part that it has not."""
    asked = subprocess.run([str(ROOT / ".ci/run"), "nonsense"], capture_output=True, text=True)
    assert asked.returncode == 2
    return set(re.findall(r"^\s+\.ci/run (\w+)", asked.stdout, re.MULTILINE))


def commands() -> list[str]:
    return [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]


def test_every_part_is_a_step_of_the_workflow_and_the_workflow_asks_for_no_other():
    asked = {part for command in commands() for part in re.findall(r"\.ci/run (\w+)", command)}
    assert asked == parts() == {"tests", "pipeline", "readme", "line"}


def test_every_checkout_that_pushes_nothing_leaves_no_token_behind():
    for name, job in WORKFLOW["jobs"].items():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_every_action_is_pinned_by_its_commit_and_says_its_version():
    lines = [line for line in TEXT.splitlines() if "uses:" in line]
    assert len(lines) > 10
    for line in lines:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", line), line


def test_only_the_job_that_runs_no_code_of_the_pull_request_may_write():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    writing = {name for name, job in WORKFLOW["jobs"].items() if "write" in job.get("permissions", {}).values()}
    assert writing == {"comment"}
    assert not any(
        step.get("uses", "").startswith("actions/checkout@") for step in WORKFLOW["jobs"]["comment"]["steps"]
    )


def test_a_label_starts_the_gate_again_and_no_pushed_commit_goes_without_it():
    # `on` is a truth value in YAML 1.1, which some readers make of it
    triggers = WORKFLOW.get("on", WORKFLOW.get(True))
    assert {"labeled", "unlabeled", "synchronize"} <= set(triggers["pull_request"]["types"])
    assert "github.sha" in WORKFLOW["concurrency"]["group"]
