"""The parts of .ci/run are the jobs of the workflow, and neither leaves one out."""

import re
import subprocess
from itertools import product

import readme
from checkout import ROOT
from gonogo.params import read_yaml

FILE = ROOT / ".github/workflows/ci.yml"
FILES = sorted(FILE.parent.glob("*.yml"))
WORKFLOW = read_yaml(FILE)
JOBS = [(file.name, name, job) for file in FILES for name, job in read_yaml(file)["jobs"].items()]


def parts() -> set[str]:
    """What .ci/run says that it takes, when it is asked for a part that it has not."""
    asked = subprocess.run([str(ROOT / ".ci/run"), "nonsense"], capture_output=True, text=True)
    assert asked.returncode == 2
    return set(re.findall(r"^\s+\.ci/run (\w+)", asked.stdout, re.MULTILINE))


def commands() -> list[str]:
    """What the steps of all jobs run, once for each value of a matrix."""
    found = []
    for _, _, job in JOBS:
        for command in (step["run"] for step in job["steps"] if "run" in step):
            matrix = job.get("strategy", {}).get("matrix", {})
            named = re.findall(r"\$\{\{ matrix\.(\w+) \}\}", command)
            values = [dict(zip(named, of, strict=True)) for of in product(*(map(str, matrix[name]) for name in named))]
            found += [re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda one, v=value: v[one[1]], command) for value in values]
    return found


def test_every_part_is_a_step_of_the_workflow_and_the_workflow_asks_for_no_other():
    asked = {part for command in commands() for part in re.findall(r"\.ci/run (\w+)", command)}
    assert asked == parts() == {"tests", "pipeline", "readme", "line"}


def test_every_checkout_that_pushes_nothing_leaves_no_token_behind():
    for _, name, job in JOBS:
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_every_action_is_pinned_by_its_commit_and_says_its_version():
    lines = [line for file in FILES for line in file.read_text().splitlines() if "uses:" in line]
    assert len(lines) > 10
    for line in lines:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", line), line


def test_only_the_job_that_runs_no_code_of_the_pull_request_may_write():
    assert all(read_yaml(file)["permissions"] == {"contents": "read"} for file in FILES)
    writing = {name for _, name, job in JOBS if "write" in job.get("permissions", {}).values()}
    assert writing == {"comment"}
    assert not any(
        step.get("uses", "").startswith("actions/checkout@") for step in WORKFLOW["jobs"]["comment"]["steps"]
    )


def test_a_label_starts_the_gate_again_and_no_pushed_commit_goes_without_it():
    # `on` is a truth value in YAML 1.1, which some readers make of it
    triggers = WORKFLOW.get("on", WORKFLOW.get(True))
    assert {"labeled", "unlabeled", "synchronize"} <= set(triggers["pull_request"]["types"])
    assert "github.sha" in WORKFLOW["concurrency"]["group"]


def test_every_target_of_make_runs_in_a_part_of_ci_or_in_a_job():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    described = re.findall(r"^([a-z]+):.*  ## ", makefile, re.MULTILINE)
    assert targets == set(described)
    text = "\n".join([(ROOT / ".ci/run").read_text(), *commands(), *commands_that_ci_runs()])
    run = {word for call in re.findall(r"\bmake ((?:[^\n|&;#])*)", text) for word in call.split() if word in targets}
    run |= {"cluster"} if "/.installed-cluster" in text else set()  # what the target asks for
    assert targets - run == set()


def commands_that_ci_runs() -> list[str]:
    """The commands of the pages' blocks that .ci/run names."""
    names = " ".join(re.findall(r"readme\.py run (.*)", (ROOT / ".ci/run").read_text())).split()
    blocks = readme.blocks_of_pages(readme.pages())
    return [command for name in names for command in readme.commands_of(blocks[name][1])]
