"""Experiments of the pipeline in a clone of the last commit: the checkout that it was cloned from stays as it is."""

import re
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from gonogo.errors import PipelineError
from gonogo.files import read_json
from gonogo.params import read_yaml
from gonogo.project.clone import clone_project
from gonogo.project.dvc import dvc_call
from gonogo.project.git import git

REASON = re.compile(r"^\S.*?\w*(?:Error|Exception)\b.*: .+|^ERROR: .+")


class PipelineClone:
    """A clone in which `dvc exp run` runs one experiment after another, with the checkout's cache of DVC.

    Each starts from the commit. The checkout's workspace is neither read nor touched, not even for a moment, as it is
    when DVC runs an experiment there or queues one; killing everything leaves nothing but the clone's folder. What was
    computed is in the cache: the same experiment in another clone takes its stages from there.
    """

    def __init__(self, checkout: Path, folder: Path) -> None:
        """Clone the last commit of `checkout` into `folder`, in place of what is there.

        Raises:
            PipelineError: git could not.
        """
        self.folder = folder
        clone_project(checkout, folder)
        self.params = read_yaml(folder / "params.yaml")
        self._raw = _raw_of(checkout, self.params.get("raw"))

    def run(
        self,
        name: str,
        settings: Sequence[str],
        *,
        categories: Collection[str],
        stages: Sequence[str],
        targets: Sequence[str] = (),
    ) -> str:
        """Run one experiment; return why it failed, or nothing.

        Metrics of other stages and categories are taken out of it, since they would be those of the commit.

        Args:
            name: of the experiment. What DVC prints goes to `log_of(name)`.
            settings: as `dvc exp run -S` takes them.
            categories: that run.
            stages: that run.
            targets: of DVC; none for the whole pipeline.
        """
        git(self.folder, "reset", "--hard", "--quiet")
        git(self.folder, "clean", "-d", "--force", "--quiet")
        for path in (self.folder / "metrics").rglob("*.json"):
            if path.parent.name not in stages or path.stem not in categories:
                path.unlink()
        options = [word for setting in [*settings, *self._raw] for word in ("-S", setting)]
        command, environment = dvc_call("exp", "run", "--name", name, *options, *targets)
        with self.log_of(name).open("w", encoding="utf-8") as log:
            result = subprocess.run(command, cwd=self.folder, env=environment, stdout=log, stderr=log, check=False)
        if result.returncode == 0:
            return ""
        return reason_in(self.log_of(name)) or f"dvc exp run: exit status {result.returncode}; see {self.log_of(name)}"

    def log_of(self, name: str) -> Path:
        """Where what DVC printed in the experiment lies, beside the clone."""
        return self.folder.with_name(f"{name}.log")

    def metrics(self, stage: str, category: str) -> dict[str, Any]:
        """The metrics file of a stage after the last experiment.

        Raises:
            IntegrityError: the experiment wrote none.
        """
        return read_json(self.folder / "metrics" / stage / f"{category}.json")

    def publish(self, name: str) -> None:
        """Give the experiment to the checkout, where `dvc exp show` lists it and `dvc exp apply` takes it over.

        Raises:
            PipelineError: there is no such experiment.
        """
        reference = git(self.folder, "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}").strip()
        if not reference:
            raise PipelineError(
                f"{self.folder}: DVC ran the experiment {name} and recorded none; see {self.log_of(name)}"
            )
        git(self.folder, "push", "--quiet", "origin", f"+{reference}:{reference}")


def reason_in(log: Path) -> str:
    """The first line of the log that names an error, which is the stage's own; DVC's follow from it."""
    if not log.is_file():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in lines if REASON.match(line)), "")


def _raw_of(checkout: Path, raw: Any) -> list[str]:
    """The setting that has a clone read the checkout's raw folder, where it holds images that git does not."""
    if not isinstance(raw, str) or Path(raw).is_absolute() or not (checkout / raw).is_dir():
        return []
    return [f"raw={(checkout / raw).resolve()}"] if git(checkout, "ls-files", "--others", "--", raw) else []
