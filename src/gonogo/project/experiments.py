"""Experiments of the pipeline in a clone of the last commit: the checkout that it was cloned from stays as it is."""

import re
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
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

    def __init__(self, checkout: Path, folder: Path, *, commit: str | None = None) -> None:
        """Clone a commit of `checkout`, by default the last one, into `folder`, in place of what is there.

        Raises:
            PipelineError: git could not.
        """
        self.clone = folder
        self.folder = clone_project(checkout, folder)  # of the project in it
        if commit is not None:
            git(folder, "reset", "--hard", "--quiet", commit)
        self.params = read_yaml(self.folder / "params.yaml")
        self._raw = _raw_of(checkout, self.params.get("raw"))

    def run(
        self,
        name: str,
        settings: Sequence[str],
        *,
        categories: Collection[str],
        stages: Sequence[str],
        targets: Sequence[str] = (),
        log: Path | None = None,
        started: Callable[[int], None] | None = None,
    ) -> str:
        """Run one experiment; return why it failed, or nothing.

        Metrics of other stages and categories are taken out of it, since they would be those of the commit.

        Args:
            name: of the experiment.
            settings: as `dvc exp run -S` takes them.
            categories: that run.
            stages: that run.
            targets: of DVC; none for the whole pipeline.
            log: where what DVC prints goes; None: `log_of(name)`.
            started: called with the process group of the experiment, all of whose processes a signal to it reaches;
                None: it is in the group of this process.
        """
        git(self.folder, "reset", "--hard", "--quiet")
        git(self.folder, "clean", "-d", "--force", "--quiet")
        for path in (self.folder / "metrics").rglob("*.json"):
            if path.parent.name not in stages or path.stem not in categories:
                path.unlink()
        options = [word for setting in [*settings, *self._raw] for word in ("-S", setting)]
        command, environment = dvc_call("exp", "run", "--name", name, *options, *targets)
        log = log or self.log_of(name)
        status = logged(command, environment, self.folder, log, started=started)
        return "" if status == 0 else reason_in(log) or f"dvc exp run: exit status {status}; see {log}"

    def log_of(self, name: str) -> Path:
        """Where what DVC printed in the experiment lies, beside the clone."""
        return self.clone.with_name(f"{name}.log")

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


def logged(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    *,
    started: Callable[[int], None] | None,
) -> int:
    """Run a command in a folder, with what it prints in the file `log`; its exit status.

    `started` is that of `PipelineClone.run`.
    """
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=started is not None
        )
        if started is not None:
            started(process.pid)
        return process.wait()


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
    place = (checkout / raw).resolve()
    outside = not place.is_relative_to(checkout.resolve())
    return [f"raw={place}"] if outside or git(checkout, "ls-files", "--others", "--", raw) else []
