"""The versions of a category's gauge: commits with results, and DVC experiments, each with its metrics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.errors import DataError, GonogoError
from gonogo.params import project_path
from gonogo.project.compare import Comparison, compare
from gonogo.project.git import git, git_answer
from gonogo.project.registry import TOLERANCES, Entry, in_use, read_registry
from gonogo.project.revision import Revisions

MOST_COMMITS, MOST_EXPERIMENTS = 20, 40
SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Version:
    """A commit or an experiment with a gauge of the category.

    Attributes:
        revision: what `gonogo promote --rev` takes: the commit's hash, or the experiment's name.
        at: seconds since 1970.
        title: the commit's subject, or the experiment's name.
        metrics: of the evaluation.
        aliases: under which its gauge is in use.
    """

    revision: str
    commit: str
    is_experiment: bool
    at: float
    by: str
    title: str
    metrics: Mapping[str, Any]
    aliases: tuple[str, ...]


def versions_of(category: str) -> list[Version]:
    """The commits that changed results, and the experiments, the newest first."""
    commits = _listed("log", f"--max-count={MOST_COMMITS}", "--format=%H%x1f%at%x1f%an%x1f%s", "--", "dvc.lock")
    names = "--format=%(objectname)\x1f%(committerdate:unix)\x1f%(authorname)\x1f%(refname:lstrip=4)"
    newest = (f"--count={MOST_EXPERIMENTS}", "--sort=-committerdate")
    experiments = _listed("for-each-ref", names, *newest, "refs/exps/*/*/*")
    used = {alias: in_use(read_registry(), category, alias) for alias in ("staging", "production")}
    found = []
    for is_experiment, rows in ((False, commits), (True, experiments)):
        for commit, at, by, title in rows:
            metrics = metrics_at(commit, category)
            if metrics:
                aliases = tuple(alias for alias, entry in used.items() if entry is not None and entry.commit == commit)
                revision = title if is_experiment else commit
                found.append(Version(revision, commit, is_experiment, float(at), by, title, metrics, aliases))
    return sorted(found, key=lambda version: -version.at)


def metrics_at(commit: str, category: str) -> dict[str, Any]:
    """The metrics of the evaluation that a commit has; none where it has none."""
    path = project_path("metrics", "evaluate", f"{category}.json").as_posix()
    text = git_answer(Path(), "show", f"{commit}:./{path}")
    return json.loads(text) if text else {}


def comparison(category: str, old: str, new: str | None) -> Comparison:
    """The comparison of a category between two revisions, as `gonogo compare` and the gate make it.

    Raises:
        DataError: a revision does not exist, or their images differ.
        ConfigError: a tolerance cannot be read, or neither side has its metric.
    """
    return compare(
        Revisions(Path(), old, new),
        records=project_path("plots", "records").as_posix(),
        tolerances=TOLERANCES if TOLERANCES.is_file() else None,
        other_data=False,
        category=category,
    )


def compared(category: str, old: str, new: str | None) -> tuple[Comparison | None, str]:
    """As `comparison`; None and the reason where there is none."""
    try:
        return comparison(category, old, new), ""
    except GonogoError as error:
        return None, str(error)


def history(category: str) -> tuple[list[Entry], str]:
    """The lines of the registry for a category, the newest first, and what is wrong with the registry, if anything."""
    try:
        return [entry for entry in reversed(read_registry()) if entry.category == category], ""
    except DataError as error:
        return [], str(error)


def _listed(*words: str) -> list[list[str]]:
    return [line.split(SEPARATOR) for line in git(Path(), *words).splitlines()]
