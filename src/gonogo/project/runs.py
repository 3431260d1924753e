"""The runs of a project: fits and preparations that wait in a queue, one after another, whoever looks on.

A run is a folder in `.dvc/tmp/gonogo/runs`: `run.json` is what was asked for, `log.txt` what DVC and the stages print,
`started.json` the group of its processes, `ended.json` how it ended. A worker, a process of its own that outlives
whoever started it, takes one run after another, the oldest first.

A fit is an experiment of the last commit in a clone of it, so that the project's workspace stays as it is, and nothing
is left of one that is stopped; it is given to the project once it is whole, and `dvc exp show` lists it. A preparation
runs in the workspace; if it is stopped, what DVC had there before is checked out again.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from gonogo.errors import ConfigError, DataError
from gonogo.files import read_json, require_raw, write_json
from gonogo.params import Params, read_yaml
from gonogo.project.dvc import dvc_call
from gonogo.project.experiments import PipelineClone, logged, reason_in
from gonogo.project.git import git, place_in_repository
from gonogo.project.settings import experiment_option
from gonogo.text import ascii_name

ROOM = Path(".dvc", "tmp", "gonogo")
PARAMS = Path("params.yaml")
STAGES = ("prepare", "fit", "evaluate", "export", "parity", "robustness", "bench", "report", "headline")
TARGETS = ("robustness", "bench", "report")  # the ends of a category's stages, without those over all categories
OPEN_SECTIONS = ("fit", "calibrate", "regions")  # that a client may set; the others say which files are read
LOOK_SECONDS = 2.0  # that a worker waits for the lock, which whoever looks whether one works holds for a moment
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]{0,80}")

Kind = Literal["fit", "prepare"]
State = Literal["queued", "running", "done", "failed", "stopped", "interrupted"]


@dataclass(frozen=True)
class Run:
    """A run, as its files say.

    Attributes:
        id: of a fit also the name of its experiment.
        settings: KEY=VALUE, as `dvc exp run -S` takes them.
        at: seconds since 1970, when it was asked for.
        commit: of a fit, what it starts from.
        state: `interrupted` where its worker died; a run that was stopped ends as soon as its processes do.
        began, ended: seconds since 1970; None where it has not.
        reason: why it failed; otherwise empty.
    """

    id: str
    kind: Kind
    category: str
    settings: tuple[str, ...]
    by: str
    at: float
    commit: str
    state: State
    began: float | None = None
    ended: float | None = None
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it waits or goes on."""
        return self.state in ("queued", "running")


class Runs:
    """The runs of the project in a folder."""

    def __init__(self, project: Path) -> None:
        """`project`: the root of the checkout."""
        self.project = project
        self._folder = project / ROOM / "runs"
        self._lock = project / ROOM / "worker.lock"

    def all(self) -> list[Run]:
        """Every run, the newest first."""
        works = self._works()
        folders = sorted(self._folder.glob("*/run.json"), reverse=True) if self._folder.is_dir() else []
        return sorted((self._read(path.parent, works) for path in folders), key=lambda run: -run.at)

    def get(self, identifier: str) -> Run:
        """A run by its id.

        Raises:
            DataError: there is none.
        """
        folder = self.folder(identifier)
        if not (folder / "run.json").is_file():
            raise DataError(f"there is no run {identifier!r}; `gonogo runs` lists them")
        return self._read(folder, self._works())

    def folder(self, identifier: str) -> Path:
        """The folder of a run.

        Raises:
            DataError: no run can be called so.
        """
        if not IDENTIFIER.fullmatch(identifier):
            raise DataError(f"there is no run {identifier!r}; `gonogo runs` lists them")
        return self._folder / identifier

    def add(self, kind: Kind, category: str, settings: Sequence[str] = (), *, by: str) -> Run:
        """Put a run into the queue; `start_worker` has it begin.

        Raises:
            ConfigError: the category, a section or an option does not exist, or the raw folder is not there.
            PipelineError: the project is no git repository with a commit.
        """
        assert kind in get_args(Kind)
        content = read_yaml(self.project / PARAMS)
        params = Params(self.project / PARAMS, category, content=content)
        require_raw(self.project / params.raw)
        options = [experiment_option(setting, content) for setting in settings]
        now = time.time()
        name = ascii_name(category.lower(), "-")
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        identifier = f"{kind}-{name}-{stamp}-{int(now * 1000) % 1000:03d}"
        folder = self.folder(identifier)
        folder.mkdir(parents=True)
        facts = {"kind": kind, "category": category, "settings": options, "by": by, "at": now}
        write_json(folder / "run.json", facts | {"commit": git(self.project, "rev-parse", "HEAD").strip()})
        return self.get(identifier)

    def stop(self, identifier: str) -> Run:
        """Stop a run: its processes get SIGTERM, all at once; one that waits does not begin.

        Raises:
            DataError: there is no such run, or it has ended.
        """
        run, folder = self.get(identifier), self.folder(identifier)
        if not run.is_open:
            raise DataError(f"the run {identifier} has ended: {run.state}")
        (folder / "stop").touch()
        if run.state == "running":
            _terminate(int(read_json(folder / "started.json")["group"]))
        return self.get(identifier)

    def log(self, identifier: str, *, n_bytes: int = 64_000) -> str:
        """The end of what DVC and the stages have printed."""
        self.get(identifier)
        path = self.folder(identifier) / "log.txt"
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - n_bytes))
            return file.read().decode("utf-8", "replace")

    def series(self, identifier: str) -> dict[str, list[tuple[float, float]]]:
        """What the fit has reported so far, by name: steps (epochs, or patches of the coreset) with values."""
        run = self.get(identifier)
        found: dict[str, list[tuple[float, float]]] = {}
        for root in (self.folder(identifier), self.folder(identifier) / "clone" / self._place):
            for path in sorted((root / "plots" / "fit" / run.category).rglob("*.tsv")):
                rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
                head, *values = rows or [[]]
                if "step" in head:
                    at, value = head.index("step"), len(head) - 1
                    found[path.stem] = [(float(row[at]), float(row[value])) for row in values if len(row) == len(head)]
        return found

    @cached_property
    def _place(self) -> PurePosixPath:
        """Of the project in a clone; asked for once, since a page looks at a series all the time."""
        return place_in_repository(self.project)

    def start_worker(self) -> None:
        """Start a worker, which ends at once where one works already."""
        (self.project / ROOM).mkdir(parents=True, exist_ok=True)
        with (self.project / ROOM / "worker.log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "gonogo.cli", "runs", "work"],
                cwd=self.project, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def work(self) -> int:
        """Take one run after another until none waits; returns how many. At once, where another worker is at it."""
        n_done = 0
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                with FileLock(self._lock, timeout=LOOK_SECONDS):
                    self._end_interrupted()
                    while waiting := self._waiting():
                        self._carry_out(waiting[-1])
                        n_done += 1
            except Timeout:
                return n_done
            if not self._waiting():  # one may have come between the last look and the release of the lock
                return n_done

    def _waiting(self) -> list[Run]:
        """The newest first."""
        return [run for run in self.all() if run.state == "queued"]

    def _works(self) -> bool:
        """Whether a worker is alive."""
        try:
            with FileLock(self._lock, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # there is no folder for it yet
            return False

    def _end_interrupted(self) -> None:
        for run in self.all():
            folder = self.folder(run.id)
            if (folder / "started.json").is_file() and run.ended is None:
                shutil.rmtree(folder / "clone", ignore_errors=True)
                self._end(run, "interrupted", "its worker ended before it did")

    def _end(self, run: Run, state: State, reason: str = "") -> None:
        write_json(self.folder(run.id) / "ended.json", {"at": time.time(), "state": state, "reason": reason})

    def _carry_out(self, run: Run) -> None:
        folder = self.folder(run.id)

        def started(group: int) -> None:
            write_json(folder / "started.json", {"at": time.time(), "group": group})
            if (folder / "stop").exists():  # since before the group was known
                _terminate(group)

        write_json(folder / "started.json", {"at": time.time(), "group": 0})
        try:
            reason = self._fit(run, started) if run.kind == "fit" else self._prepare(run, started)
        except Exception as error:  # the queue goes on; the run's own record says why
            reason = f"{type(error).__name__}: {error}"
        stopped = (folder / "stop").exists() and reason != ""
        self._end(run, "stopped" if stopped else "failed" if reason else "done", "" if stopped else reason)

    def _fit(self, run: Run, started: Any) -> str:
        folder = self.folder(run.id)
        try:
            clone = PipelineClone(self.project, folder / "clone", commit=run.commit)
            reason = clone.run(
                run.id,
                run.settings,
                categories=[run.category],
                stages=STAGES,
                targets=[f"{stage}@{run.category}" for stage in TARGETS],
                log=folder / "log.txt",
                started=started,
            )
            curves = Path("plots", "fit", run.category)
            if (clone.folder / curves).is_dir():
                shutil.copytree(clone.folder / curves, folder / curves)
            if not reason:
                clone.publish(run.id)
            return reason
        finally:
            shutil.rmtree(folder / "clone", ignore_errors=True)

    def _prepare(self, run: Run, started: Any) -> str:
        log, target = self.folder(run.id) / "log.txt", f"prepare@{run.category}"
        command, environment = dvc_call("repro", target)
        status = logged(command, environment, self.project, log, started=started)
        if status == 0:
            return ""
        command, environment = dvc_call("checkout", "--force", "--quiet", target)
        subprocess.run(command, cwd=self.project, env=environment, capture_output=True, check=False)
        return reason_in(log) or f"exit status {status} of dvc repro"

    def _read(self, folder: Path, works: bool) -> Run:
        asked, began, ended = (_object(folder / f"{name}.json") for name in ("run", "started", "ended"))
        state: State
        if ended:
            state = ended["state"]
        elif began:
            state = "running" if works else "interrupted"
        else:
            state = "stopped" if (folder / "stop").exists() else "queued"
        return Run(
            id=folder.name,
            kind=asked["kind"],
            category=asked["category"],
            settings=tuple(asked["settings"]),
            by=asked["by"],
            at=asked["at"],
            commit=asked["commit"],
            state=state,
            began=began.get("at"),
            ended=ended.get("at"),
            reason=ended.get("reason", ""),
        )


def _terminate(group: int) -> None:
    """Send SIGTERM to a group of processes; 0 is that of a run whose processes have not begun."""
    if group:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)


def _object(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def require_inside(settings: Sequence[str], project: Path) -> None:
    """Refuse settings of a client that lead out of the project, or that say which files are read or run.

    Raises:
        ConfigError: a section is none of OPEN_SECTIONS, a value names a file outside of the project or a program, or is
            something that DVC would replace.
    """
    for setting in settings:
        key, _, value = setting.lstrip("+~").partition("=")
        path = key.split(".")
        section = path[2] if path[0] == "overrides" and len(path) > 2 else path[0]
        if section not in OPEN_SECTIONS or path[-1] == "python":
            raise ConfigError(f"{key} cannot be set here; it says which files are read or run: change params.yaml")
        if "$" in value or "\x00" in value:
            raise ConfigError(f"{key} is {value!r}; write the value itself")
        for word in re.findall(r"[^\s\[\]{},:'\"]+", value):
            inside = (project / word).resolve().is_relative_to(project.resolve())
            if not inside or PurePath(word).is_absolute() or ".." in PurePath(word.replace("\\", "/")).parts:
                raise ConfigError(f"{key} is {value!r}; a path must stay in the project")
