"""Metrics, parameters and files of two revisions, as git and DVC have them."""

import csv
import io
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from gonogo.errors import DataError, PipelineError
from gonogo.project.changes import MetricChange, changes_in
from gonogo.project.dvc import dvc_call
from gonogo.project.git import git

Row = dict[str, str]

# Below the metrics folder: those of each category by stage, and those over all categories. The headline files, which
# repeat a few of them for `dvc metrics show`, are not among them.
STAGES = ("prepare", "fit", "evaluate", "parity", "robustness", "bench")
OVERALL = ("router.json", "retrieve.json", "summary.json")


@dataclass(frozen=True)
class Revisions:
    """Two sides of a comparison in one project.

    Attributes:
        project: the folder of dvc.yaml.
        old: a git revision, or the name of a DVC experiment.
        new: a later one; None: the files in the project's folder as they are.
        metrics: the folder of metrics files, relative to the project.
    """

    project: Path
    old: str
    new: str | None
    metrics: str = "metrics"

    @property
    def names(self) -> tuple[str, str]:
        """Both sides for people."""
        return self.old, self.new or "workspace"

    def metric_changes(self) -> list[MetricChange]:
        """Every metric that the stages wrote, on both sides, unchanged ones too.

        Raises:
            DataError: a revision does not exist, a metrics file is not JSON, or neither side has a metric.
        """
        import pandas as pd  # where it is used: the workbench starts without it

        old, new = (
            pd.DataFrame(self._metrics(commit), columns=["file", "name", side], dtype=object)
            for commit, side in zip(self.commits, ("old", "new"), strict=True)
        )
        both = old.merge(new, how="outer", on=["file", "name"], sort=True)
        changes = [MetricChange(*row) for row in both.where(both.notna(), None).itertuples(index=False)]
        if not changes:
            raise DataError(f"no metrics at {' or '.join(self.names)}; `dvc repro` writes them, git keeps them")
        return changes

    def param_changes(self) -> list[MetricChange]:
        """The parameters that differ."""
        sides = [self.old] if self.new is None else [self.old, self.new]
        command, environment = dvc_call("params", "diff", *sides, "--json")
        result = subprocess.run(command, cwd=self.project, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise DataError(f"dvc params diff {' '.join(sides)}: {result.stderr.strip()}{self._why_missing()}")
        answer: dict[str, dict[str, dict[str, object]]] = json.loads(result.stdout or "{}")
        return changes_in(answer)

    def rows(self, path: str) -> tuple[list[Row], list[Row]]:
        """The rows of a CSV file on both sides; none where the file is not there."""
        old, new = (list(csv.DictReader(io.StringIO(self._text(commit, path) or ""))) for commit in self.commits)
        return old, new

    @cached_property
    def commits(self) -> tuple[str, str | None]:
        """The commits of both sides.

        Raises:
            DataError: a revision does not exist.
        """
        return self._commit(self.old), None if self.new is None else self._commit(self.new)

    def _commit(self, revision: str) -> str:
        """The commit of a git revision or, where git has none of that name, of a DVC experiment.

        Raises:
            DataError: there is no such revision, no commit at all, or no git repository.
        """
        self._require_history()
        try:
            return git(self.project, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
        except PipelineError:
            listed = git(self.project, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
            found = [commit for commit, _, name in (line.partition(" ") for line in listed) if _last(name) == revision]
            if len(found) == 1:
                return found[0]
            raise DataError(
                f"{self.project.resolve()}: expected a git revision or the name of one DVC experiment, got "
                f"{revision!r}{self._why_missing()}"
            ) from None

    def _require_history(self) -> None:
        where = self.project.resolve()
        if not self._git_says("rev-parse", "--git-dir"):
            raise DataError(
                f"{where} lies in no git repository, and a revision is a commit of one; `gonogo init` makes one with a "
                "project, and `git init` and a commit make one here"
            )
        if not self._git_says("rev-parse", "--verify", "HEAD"):
            raise DataError(f"{where}: git has no commit yet; commit params.yaml, dvc.lock, metrics/ and plots/ first")

    def _why_missing(self) -> str:
        """What may be the cause where git lacks a revision."""
        if self._git_says("rev-parse", "--is-shallow-repository") == "true":
            return "; this clone is shallow, so that it may be missing: fetch the whole history (fetch-depth: 0)"
        return "; `git log --oneline` and `dvc exp show` list what there is"

    def _git_says(self, *words: str) -> str:
        """The answer of git, empty where it has none. A git that is not installed is an error of its own."""
        try:
            return git(self.project, *words).strip()
        except PipelineError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise
            return ""

    def _metrics(self, commit: str | None) -> Iterator[tuple[str, str, Any]]:
        """The file, the name and the value of each metric of a side."""
        for path in self._files(commit):
            below = PurePosixPath(path).relative_to(self.metrics).parts
            if path.endswith(".json") and (below[0] in STAGES or (len(below) == 1 and below[0] in OVERALL)):
                try:
                    values = _flat(json.loads(self._text(commit, path) or "{}"))
                except json.JSONDecodeError as error:
                    where = "the workspace" if commit is None else commit[:12]
                    raise DataError(f"{path} at {where}: expected JSON, {error}; `dvc repro` writes it") from error
                yield from ((path, name, value) for name, value in values.items())

    def _files(self, commit: str | None) -> list[str]:
        """Paths of the files below the metrics folder, relative to the project."""
        if commit is None:
            files = (self.project / self.metrics).rglob("*")
            return sorted(file.relative_to(self.project).as_posix() for file in files if file.is_file())
        return git(self.project, "ls-tree", "-r", "-z", "--name-only", commit, f"{self.metrics}/").split("\0")[:-1]

    def _text(self, commit: str | None, path: str) -> str | None:
        """The file's text on a side, None where it is not there."""
        if commit is None:
            file = self.project / path
            return file.read_text(encoding="utf-8") if file.is_file() else None
        command = ["git", "show", f"{commit}:./{path}"]
        shown = subprocess.run(command, cwd=self.project, capture_output=True, check=False)
        return None if shown.returncode else shown.stdout.decode("utf-8")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Numbers, texts and truth values by name, those of a nested object as OUTER.INNER, as DVC names them."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            flat[f"{prefix}{name}"] = value
    return flat
