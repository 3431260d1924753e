"""Two pipelines for Airflow 3, which call the commands of gonogo and DVC and hold no state of their own.

    training_pipeline    validate -> repro -> gate -> promote or skip
    monitoring_pipeline  drift -> branch -> retrain or end

What was computed is DVC's, what is in use the registry's, when it was last retrained the store's: a run that is started
twice finds nothing to do. Airflow needs an environment of its own (`make airflow`); the commands are those of the
project's. Put this file into Airflow's folder of DAGs, and set the paths below to yours, or with `--conf` for one run.
docs/drift.md says when a certificate is withdrawn, docs/registry.md what the gate is.
"""

import os
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, task

PARAMS = {
    "category": Param("brick", type="string", description="of params.yaml"),
    "project": Param("/srv/gauges", type="string", description="the checkout; promote and repro commit nothing else"),
    "bin": Param("/srv/gauges/.venv/bin", type="string", description="folder of the commands gonogo and dvc"),
    "data": Param("/var/lib/gonogo", type="string", description="where the service keeps its inspections"),
    "by": Param("airflow", type="string", description="in whose name it is promoted and retrained"),
}
DONE, REJECTED = 0, 1  # exit statuses of gonogo: what is more went wrong
ABOUT = {"params": PARAMS, "start_date": datetime(2026, 1, 1), "max_active_runs": 1, "tags": ["gonogo"]}


def command(params: Mapping[str, Any], *words: str, ends: tuple[int, ...] = (DONE,)) -> int:
    """Run a command in the project and return its exit status; what it prints is in the log of the task.

    Raises:
        RuntimeError: it ended with another status than `ends`.
    """
    environment = os.environ | {"PATH": os.pathsep.join([params["bin"], os.environ.get("PATH", os.defpath)])}
    program = str(Path(params["bin"], words[0])) if Path(params["bin"], words[0]).is_file() else words[0]
    running = subprocess.Popen(
        [program, *words[1:]],
        cwd=params["project"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with running:
        for line in running.stdout or ():
            print(line, end="", flush=True)
    if running.returncode not in ends:
        raise RuntimeError(f"{' '.join(words)} ended with exit status {running.returncode}; see above")
    return running.returncode


def promotion(params: Mapping[str, Any], *more: str) -> tuple[str, ...]:
    """The words of a promotion of the last commit's gauge."""
    return ("gonogo", "promote", params["category"], "--by", params["by"], "--reason", "training_pipeline", *more)


@dag(dag_id="training_pipeline", schedule=None, description="A gauge anew, promoted if the gate passes", **ABOUT)
def training_pipeline() -> None:
    """Check the data, run the pipeline, commit its results, and promote the gauge or leave the one in use."""

    @task
    def validate(params: Mapping[str, Any] | None = None) -> None:
        """Check every image of the category, and assign its role."""
        assert params is not None
        command(params, "dvc", "repro", f"prepare@{params['category']}")

    @task
    def repro(params: Mapping[str, Any] | None = None) -> None:
        """Compute what the code, the parameters or the data have changed, and commit it."""
        assert params is not None
        command(params, "dvc", "repro")
        command(params, "git", "add", "--update")
        if command(params, "git", "diff", "--cached", "--quiet", ends=(0, 1)):
            command(params, "git", "commit", "--quiet", "--message", f"Reproduce {params['category']}")

    @task.branch
    def gate(params: Mapping[str, Any] | None = None) -> str:
        """Whether the gauge would be promoted: it is another one than that in use, and holds the tolerances."""
        assert params is not None
        status = command(params, *promotion(params, "--dry-run"), ends=(DONE, REJECTED))
        return "promote" if status == DONE else "skip"

    @task
    def promote(params: Mapping[str, Any] | None = None) -> None:
        """Write it into the registry, through the same gate, and commit the line."""
        assert params is not None
        command(params, *promotion(params))
        command(params, "git", "add", "registry.jsonl")
        command(params, "git", "commit", "--quiet", "--message", f"Promote {params['category']}")

    @task
    def skip() -> None:
        """Leave the gauge in use as it is."""

    validate() >> repro() >> gate() >> [promote(), skip()]


@dag(dag_id="monitoring_pipeline", schedule="@hourly", description="A gauge anew once its certificate lapses", **ABOUT)
def monitoring_pipeline() -> None:
    """Ask whether the certificate in use still holds, and propose a new gauge where it does not."""

    @task
    def drift(params: Mapping[str, Any] | None = None) -> int:
        """1 where the certificate is withdrawn by what the service has inspected, otherwise 0."""
        assert params is not None
        words = ("gonogo", "serve", "certificate", params["category"], "--data", params["data"])
        return command(params, *words, ends=(DONE, REJECTED))

    @task.branch
    def branch(status: int) -> str:
        """What follows."""
        return "retrain" if status == REJECTED else "end"

    @task
    def retrain(params: Mapping[str, Any] | None = None) -> None:
        """Propose a gauge, if enough parts were reviewed since; it fails where the gate does not pass."""
        assert params is not None
        command(params, "gonogo", "retrain", params["category"], "--data", params["data"], "--by", params["by"])

    @task
    def end() -> None:
        """Do nothing."""

    branch(drift()) >> [retrain(), end()]


training_pipeline()
monitoring_pipeline()
