"""Search the parameters of the fit by a criterion that no test image enters: Optuna over `dvc exp run`.

    python tools/search.py searches/brick.yaml

The file says what is searched; searches/brick/ then holds the study, its table and its picture, which the report
shows. Each trial is an experiment of the last commit, up to evaluate, in a clone of it below .dvc/tmp: the workspace
is not touched, and `dvc exp show` lists the experiments. A search that was stopped, in whatever way, goes on when it is
called again; so does one whose n_trials has grown. Needs the extra gonogo[search].

Exit status 0: done; 1: no trial has a value; 2: nothing was run, and why.
"""

import argparse
import fcntl
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gonogo.errors import ConfigError, GonogoError, PipelineError
from gonogo.params import Section, read_yaml
from gonogo.project.experiments import PipelineClone
from gonogo.project.git import git
from gonogo.project.recipes import Change
from gonogo.reports.report import ranked
from search_space import Space, as_it_is, changes_of, read_space, require_valid
from search_study import TRIALS, decided, importance_of, kept, opened, sampler, suggested, tell, write_results

if TYPE_CHECKING:
    import optuna

PARAMS = Path("params.yaml")
CODE = ("src", "stages", "dvc.yaml", "params.yaml", "constraints.txt")  # what a value of the criterion depends on
STAGES = ("prepare", "fit", "evaluate")
N_SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    """What came of one experiment: the criterion and the data's fingerprint by category, or why there is none."""

    values: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


Runner = Callable[[str, Sequence[Change]], Outcome]  # of an experiment's name and what it changes


def search(space: Space, content: Section, folder: Path, run: Runner, code: Mapping[str, str]) -> dict[str, Any]:
    """Run what is missing of the study in `folder`, and return its results, which are written there after each trial.

    The trials are the same whether the search was stopped or not: what a trial tries depends on the outcomes before it
    and on the space's seed.

    Args:
        space: the search.
        content: of the params.yaml that experiments start from.
        folder: of the study.
        run: an experiment.
        code: hashes of what a value depends on.

    Raises:
        ConfigError: the study in the folder is another one.
        MissingExtraError: Optuna is not installed.
    """
    study = opened(space, folder, code)
    if not study.trials:
        standing = as_it_is(space, content)
        if standing is not None:
            study.enqueue_trial({key: kept(space, key, value) for key, value in standing.items()})
    while len(decided(study)) < space.n_trials:
        study.sampler = sampler(space, len(decided(study)))
        trial = study.ask()
        values = suggested(trial, space)
        started = time.perf_counter()
        same = next((old for old in decided(study) if old.params == trial.params), None)
        if same is None:
            outcome = asdict(_checked(study, run(f"{space.name}-{trial.number}", changes_of(space, content, values))))
        else:
            outcome = same.user_attrs["outcome"] | {"same_as": same.number}
        trial.set_user_attr("outcome", outcome | {"seconds": round(time.perf_counter() - started, 1)})
        tell(study, trial.number, outcome)
        print(f"{_said(space, trial.number, values)}: {_verdict(outcome)}", flush=True)
        write_results(space, study, folder, importance={})
    return write_results(space, study, folder, importance=importance_of(space, study))


def _checked(study: "optuna.Study", outcome: Outcome) -> Outcome:
    """The outcome, unless it is of other data than those before it."""
    if outcome.reason:
        return outcome
    before = study.user_attrs.get("data")
    if before is None:
        study.set_user_attr("data", dict(outcome.data))
    elif before != outcome.data:
        return Outcome(reason="the images are not those that the study began with; its values would not compare")
    return outcome


def _said(space: Space, number: int, values: Mapping[str, Any]) -> str:
    shown = (f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items())
    return f"{space.name}-{number}  {'  '.join(shown)}"


def _verdict(outcome: Mapping[str, Any]) -> str:
    if outcome["reason"]:
        return f"FAILED, {outcome['reason']}"
    same = f" (as {outcome['same_as']})" if "same_as" in outcome else ""
    return f"{np.mean(list(outcome['values'].values())):.4f}{same}"


def experiments(space: Space, clone: PipelineClone) -> Runner:
    """Runs the stages of an experiment up to evaluate, and gives it to the checkout."""

    def run(name: str, changes: Sequence[Change]) -> Outcome:
        settings = [change.option for change in changes]
        reason = clone.run(name, settings, categories=space.categories, stages=STAGES, targets=["evaluate"])
        if reason:
            return Outcome(reason=reason)
        metrics = {category: clone.metrics("evaluate", category) for category in space.categories}
        absent = [category for category, found in metrics.items() if space.criterion not in found]
        if absent:
            return Outcome(reason=f"{space.criterion} is absent from the metrics of {', '.join(absent)}")
        clone.publish(name)
        return Outcome(
            {category: found[space.criterion] for category, found in metrics.items()},
            {category: found["data_fingerprint"] for category, found in metrics.items()},
        )

    return run


def code_of(checkout: Path) -> dict[str, str]:
    """git's hashes of what the criterion depends on, in the last commit.

    Raises:
        ConfigError: there are uncommitted changes to it, which experiments would not see.
    """
    known = [name for name in CODE if (checkout / name).exists()]
    changed = git(checkout, "status", "--porcelain", "--", *known)
    if changed:
        raise ConfigError(
            f"experiments start from the last commit, which lacks these changes:\n{changed.rstrip()}\ncommit"
        )
    return {name: git(checkout, "rev-parse", f"HEAD:{name}").strip() for name in known}


def _summary(space: Space, results: Mapping[str, Any], content: Section) -> str:
    done = ranked(results)
    lines = [f"{row['value']:.4f}  {_said(space, row['number'], row['params'])}" for row in done[:N_SHOWN]]
    if results["importance"]:
        lines.append("share in the variance: " + ", ".join(f"{k} {v:.0%}" for k, v in results["importance"].items()))
    best = " ".join(f"-S {shlex.quote(one.option)}" for one in changes_of(space, content, done[0]["params"]))
    lines.append(f"the whole pipeline with the best: dvc exp run {best}")
    lines.append(
        f"it was chosen among {len(done)} by its calibrate images, so that a certificate from them is too good: "
        "calibrate on parts that the search did not see before you sign one"
    )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, search, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="what is searched, such as searches/brick.yaml")
    path = parser.parse_args(argv).file
    checkout = Path.cwd()
    try:
        content = read_yaml(PARAMS)
        space = read_space(path)
        require_valid(space, content, PARAMS)
        code = code_of(checkout)
        work = checkout / ".dvc" / "tmp" / "search" / space.name
        work.mkdir(parents=True, exist_ok=True)
        with (work / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PipelineError(f"another process searches {space.name}; wait for it, or end it") from error
            for left in work.glob("clone-*"):  # by a search that was killed; what it had begun may still run there
                shutil.rmtree(left, ignore_errors=True)
            clone = PipelineClone(checkout, work / f"clone-{os.getpid()}")
            results = search(space, content, path.with_suffix(""), experiments(space, clone), code)
            shutil.rmtree(clone.folder)
    except GonogoError as error:
        print(f"search: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130
    if results["best"] is None:
        print(
            f"no trial of {len(results['trials'])} has a value; {path.with_suffix('') / TRIALS} says why",
            file=sys.stderr,
        )
        return 1
    print("\n" + _summary(space, results, content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
