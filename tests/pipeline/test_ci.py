"""The parts of .ci/run are the jobs of the workflow, and neither leaves one out."""

import re
import subprocess

from checkout import ROOT
from gonogo.params import read_yaml

WORKFLOW = read_yaml(ROOT / ".github/workflows/ci.yml")


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
