"""Run a grid of experiments through DVC's queue and report failures as failures.

    python tools/run_experiments.py -S fit.coreset_ratio=0.005,0.01,0.02 -S fit.image_size=128,256 --name grid

DVC itself exits 0 when a queued experiment failed, and lists the failed one with the metrics of its baseline. Here a
failed experiment has a reason in place of metrics, and the exit status is 1. Status 2: nothing was run.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.cli.columns import in_columns
from gonogo.errors import PipelineError
from gonogo.project.dvc import dvc_call
from gonogo.project.experiments import reason_in
from gonogo.project.git import git

HEADLINE = ["image_auroc", "aupro_30", "recall", "false_alarm_rate", "certified_rate"]
MEAN = "metrics/mean.json"

DONE, FAILED, LOST = "done", "FAILED", "LOST"
STATES = {"success": DONE, "failed": FAILED, "queued": "queued", "running": "running"}

POLL_SECONDS = 10.0  # a look takes DVC more than a second of a core that the experiments need
POLLS_WITHOUT_WORKER = 3  # a worker needs some seconds to appear, and a moment between two experiments

TASK = re.compile(r"^([0-9a-f]{7})\s.*\b(Queued|Running|Success|Failed)\s*$", re.MULTILINE)
WORKERS = re.compile(r"^Worker status: (\d+) active", re.MULTILINE)


@dataclass(frozen=True)
class Experiment:
    """One experiment of the grid. `metrics` is empty unless it is done; `reason` tells why it failed."""

    name: str
    state: str
    params: Mapping[str, Any]
    metrics: Mapping[str, Any]
    reason: str = ""


@dataclass(frozen=True)
class Queue:
    """What `dvc queue status` shows: the state of each task by its id, and how many workers are busy.

    Names do not identify a task: the queue keeps finished ones and takes the same name again.
    """

    states: Mapping[str, str]
    n_active: int

    @classmethod
    def parse(cls, text: str) -> "Queue":
        """Read the table that `dvc queue status` prints; it has no JSON."""
        workers = WORKERS.search(text)
        if workers is None:
            raise PipelineError(f"dvc queue status: expected a line 'Worker status', got {text!r}")
        return cls({task: STATES[state.lower()] for task, state in TASK.findall(text)}, int(workers.group(1)))

    def with_state(self, state: str) -> list[str]:
        """Ids of the tasks in this state."""
        return [task for task, found in self.states.items() if found == state]


def read_experiments(shown: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> list[Experiment]:
    """The experiments of `tasks` out of what `dvc exp show --json` printed, sorted by name.

    Metrics are kept of finished experiments only: DVC gives every other one those of its baseline.
    A task that is not there has the state LOST.
    """
    found = {}
    for entry in _entries(shown):
        executor = entry["executor"]
        found[executor["local"]["task_id"][:7]] = _experiment(entry["revs"][0], executor)
    lost = {task: Experiment(task, LOST, {}, {}, "dvc exp show does not list it") for task in tasks}
    return sorted((found.get(task, lost[task]) for task in tasks), key=lambda one: natural(one.name))


def _entries(shown: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The entries that belong to a task of the queue."""
    for baseline in shown:
        for entry in baseline.get("experiments") or []:
            if ((entry.get("executor") or {}).get("local") or {}).get("task_id"):
                yield entry


def _experiment(revision: Mapping[str, Any], executor: Mapping[str, Any]) -> Experiment:
    data = revision.get("data") or {}
    state = STATES.get(executor["state"], LOST)
    error, reason = revision.get("error"), ""
    if error or state == FAILED:
        log = executor["local"].get("log")
        state = FAILED
        reason = reason_in(Path(log)) if log else ""
        reason = reason or (error or {}).get("msg", "")
    params = {
        key: value for file in (data.get("params") or {}).values() for key, value in _flat(file.get("data") or {})
    }
    metrics = (data.get("metrics") or {}).get(MEAN, {}).get("data") or {}
    name = revision.get("name") or revision["rev"][:7]
    return Experiment(name, state, params, metrics if state == DONE else {}, reason)


def natural(name: str) -> list[tuple[bool, int | str]]:
    """A sorting key that puts grid-2 before grid-10."""
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", name)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def varied_params(experiments: Sequence[Experiment]) -> list[str]:
    """Names of the parameters that are not the same in all experiments, sorted."""
    known = [experiment.params for experiment in experiments if experiment.params]
    names = sorted({name for params in known for name in params})
    return [name for name in names if any(params.get(name) != known[0].get(name) for params in known)]


def render(experiments: Sequence[Experiment], ended_early: str = "") -> str:
    """A table of all experiments, why each other than the done ones is not done, and a closing sentence."""
    params = varied_params(experiments)
    rows = [["experiment", "state", *params, *HEADLINE]]
    for one in experiments:
        values = [one.params.get(name, "-") for name in params] + [one.metrics.get(name, "-") for name in HEADLINE]
        rows.append([one.name, one.state, *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)])
    lines = [in_columns(rows, head=True)]
    not_done = [one for one in experiments if one.state != DONE]
    if not_done:
        lines += [
            "",
            *(f"{one.name} {one.state}: {one.reason or ended_early or 'no reason was recorded'}" for one in not_done),
        ]
    lines += ["", f"{len(experiments) - len(not_done)} of {len(experiments)} experiments done, {len(not_done)} not"]
    return "\n".join(lines)


def dvc(*arguments: str) -> str:
    """What `dvc ARGUMENTS` prints, run by this interpreter; its stages find the same `python` first on PATH.

    Raises:
        PipelineError: the command failed; the message is dvc's own.
    """
    command, environment = dvc_call(*arguments)
    # Files, not pipes: the worker that `queue start` leaves behind would keep a pipe open until its last experiment.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        result = subprocess.run(command, env=environment, stdout=output, stderr=errors, check=False)
        output.seek(0)
        errors.seek(0)
        printed, complaint = output.read(), errors.read()
    if result.returncode:
        raise PipelineError(f"dvc {' '.join(arguments)}: {(complaint or printed).strip()}")
    return printed


def enqueue(settings: Sequence[str], name: str | None) -> list[str]:
    """Queue one experiment per combination of `settings` and return the ids of their tasks.

    Raises:
        PipelineError: others' experiments wait in the queue, which a worker would run too, or DVC refused the settings.
    """
    waiting = read_queue().with_state("queued")
    if waiting:
        raise PipelineError(
            f"{len(waiting)} experiments wait in the queue already, and a worker would run them too; "
            "finish them with `dvc queue start` or drop them with `dvc queue remove --queued`"
        )
    options = [word for setting in settings for word in ("--set-param", setting)]
    try:
        dvc("exp", "run", "--queue", *options, *(["--name", name] if name else []))
    except PipelineError:
        half = read_queue().with_state("queued")
        if half:
            dvc("queue", "remove", *half)
        raise
    return read_queue().with_state("queued")


def read_queue() -> Queue:
    """The queue as it is now."""
    return Queue.parse(dvc("queue", "status"))


def wait(tasks: Sequence[str], *, deadline: float) -> str:
    """Wait until none of `tasks` is queued or running; return why the wait ended early, or nothing.

    Args:
        tasks: ids of tasks in the queue.
        deadline: seconds from now after which waiting ends; the experiments go on.
    """
    started, without_worker, before = time.monotonic(), 0, ""
    while True:
        queue = read_queue()
        states = [queue.states.get(task, LOST) for task in tasks]
        progress = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        if progress != before:
            print(f"  {time.monotonic() - started:5.0f} s  {progress}", flush=True)
        before = progress
        if not {"queued", "running"} & set(states):
            return ""
        without_worker = 0 if queue.n_active else without_worker + 1
        if without_worker >= POLLS_WITHOUT_WORKER:
            return "no worker is alive; `dvc queue start` starts one"
        if time.monotonic() - started > deadline:
            return f"not finished within {deadline / 60:.0f} min; it goes on until `dvc queue stop --kill`"
        time.sleep(POLL_SECONDS)


def main() -> int:
    """Read the command line, run the grid and print its table."""
    parser = argparse.ArgumentParser(description="Run a grid of experiments and report failures as failures.")
    parser.add_argument(
        "-S", "--set-param", action="append", required=True, metavar="NAME=A,B", help="as in dvc exp run; commas sweep"
    )
    parser.add_argument("--name", help="experiments are called NAME-1, NAME-2, ...")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at a time (default 1)")
    parser.add_argument("--deadline", type=float, default=720.0, metavar="MINUTES", help="stop waiting (default 720)")
    arguments = parser.parse_args()
    try:
        revision = git(Path(), "rev-parse", "HEAD").strip()
        tasks = enqueue(arguments.set_param, arguments.name)
        dvc("queue", "start", "--jobs", str(arguments.jobs))
        ended_early = wait(tasks, deadline=60 * arguments.deadline)
        experiments = read_experiments(json.loads(dvc("exp", "show", "--json", "--rev", revision)), tasks)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nthe experiments go on; `dvc queue stop --kill` ends them", file=sys.stderr)
        return 130
    print("\n" + render(experiments, ended_early))
    return 0 if all(one.state == DONE for one in experiments) else 1


if __name__ == "__main__":
    sys.exit(main())
