"""What git and DVC hold of a revision: metrics, parameters, and files as they were."""

import csv
import io
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from gonogo.errors import DataError
from gonogo.project.changes import Change, changes_in
from gonogo.project.dvc import dvc_call

Row = dict[str, str]


@dataclass(frozen=True)
class Revisions:
    """Two sides of a comparison in one project: a revision, and a later one or the working tree where it is None."""

    project: Path
    old: str
    new: str | None

    @property
    def names(self) -> tuple[str, str]:
        """Both sides for people."""
        return self.old, self.new or "workspace"

    def metric_changes(self) -> list[Change]:
        """Every metric of both sides, unchanged ones too.

        Raises:
            DataError: a revision does not exist, or neither has a metric.
        """
        changes = changes_in(self._dvc_diff("metrics", "--all"))
        if not changes:
            raise DataError(f"no metrics at {' or '.join(self.names)}; `dvc repro` writes them, git keeps them")
        return changes

    def param_changes(self) -> list[Change]:
        """The parameters that differ."""
        return changes_in(self._dvc_diff("params"))

    def rows(self, path: str) -> tuple[list[Row], list[Row]]:
        """The rows of a CSV file on both sides; none where the file is not there."""
        old, new = (_rows_of(self._text(revision, path)) for revision in (self.old, self.new))
        return old, new

    def _text(self, revision: str | None, path: str) -> str:
        if revision is None:
            file = self.project / path
            return file.read_text(encoding="utf-8") if file.is_file() else ""
        command = ["git", "show", f"{revision}:./{path}"]
        shown = subprocess.run(command, cwd=self.project, capture_output=True, check=False)
        return "" if shown.returncode else shown.stdout.decode("utf-8")

    def _dvc_diff(self, what: str, *options: str) -> dict[str, dict[str, dict[str, object]]]:
        sides = [self.old] if self.new is None else [self.old, self.new]
        command, environment = dvc_call(what, "diff", *sides, "--json", *options)
        result = subprocess.run(command, cwd=self.project, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise DataError(
                f"dvc {what} diff {' '.join(sides)}: {result.stderr.strip()}\n"
                "In a shallow clone the revision may be missing: fetch the whole history (fetch-depth: 0)."
            )
        answer: dict[str, dict[str, dict[str, object]]] = json.loads(result.stdout or "{}")
        return answer


def _rows_of(text: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(text)))
