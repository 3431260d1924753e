"""A gauge made anew with reviewed parts, in a clone of the project, and held against the one in use by the gate.

The project stays as it is until the gauge has passed: then it gets a branch with the commit of the new gauge, and the
copies of the accepted images in its raw folder. To promote it, or not, is for a person.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.errors import GateError, PipelineError
from gonogo.files import require_raw
from gonogo.params import Params
from gonogo.project.clone import clone_project
from gonogo.project.dvc import dvc_call
from gonogo.project.git import git
from gonogo.project.registry import in_use, read_registry


@dataclass(frozen=True)
class Proposal:
    """A gauge that passed the gate.

    Attributes:
        category: of it.
        branch: of the project, whose commit has its bundle, metrics and records.
        commit: see there.
        bundle: its fingerprint.
        gate: SHA-256 of the comparison with the gauge in use.
        against: the commit of the gauge that it was compared with.
        accepted: id of the acceptance; `n_accepted` images are new.
        threshold: before and after.
    """

    category: str
    branch: str
    commit: str
    bundle: str
    gate: str
    against: str
    accepted: str
    n_accepted: int
    threshold: tuple[float | None, float | None]


def retrained(category: str, archive: Path, *, role: str, by: str, reason: str, work: Path) -> Proposal:
    """Make a gauge of the current folder's project anew with the good parts of an archive, and hold it to the gate.

    It is compared with the one in production or, where the registry has none, with that of the last commit.

    Args:
        category: of the gauge.
        archive: of reviewed images; the rules are those of `gonogo accept --reviewed`.
        role: fit or calibrate.
        by: who retrains.
        reason: why.
        work: the folder of a clone of the project's repository, which is made anew.

    Raises:
        GateError: a metric is beyond its tolerance; the project is as it was.
        PipelineError: git, DVC or a stage failed; the project is as it was.
    """
    project, archive = Path().resolve(), archive.resolve()
    raw = Params(Path("params.yaml")).raw
    require_raw(raw)
    clone = clone_project(project, work)
    if not raw.is_absolute():
        _link_files(raw, clone / raw)
    words = ["--category", category, "--role", role, "--by", by, "--reason", reason]
    made = _gonogo(clone, "accept", "--reviewed", str(archive), *words)
    git(clone, "add", "--update")
    git(clone, "add", "--force", "--", *_new_files(clone, raw))
    git(clone, "commit", "--quiet", "--message", f"Retrain {category}: {reason}")
    commit = git(clone, "rev-parse", "HEAD").strip()
    current = in_use(read_registry(), category, "production")
    against = git(clone, "rev-parse", "HEAD~1").strip() if current is None else current.commit
    trial = ["promote", category, "--no-tag", "--by", by, "--reason", reason]
    if current is None:  # a trial in the clone: what it writes there is not committed, and goes with the clone
        _gonogo(clone, *trial, "--rev", against)
    entry = _gonogo(clone, *trial, "--rev", commit)["entry"]
    if not raw.is_absolute():
        _link_files(clone / raw, raw)
    branch = f"retrain/{category}/{commit[:12]}"
    git(project, "fetch", "--quiet", str(work.resolve()), f"{commit}:refs/heads/{branch}")
    shutil.rmtree(work, ignore_errors=True)
    before, after = (None if made[side] is None else made[side]["threshold"] for side in ("before", "after"))
    return Proposal(
        category=category,
        branch=branch,
        commit=commit,
        bundle=entry["bundle"],
        gate=entry["gate"],
        against=against,
        accepted=made["acceptance"]["id"],
        n_accepted=len(made["acceptance"]["images"]),
        threshold=(before, after),
    )


def _gonogo(folder: Path, *words: str) -> dict[str, Any]:
    """The answer of a command of gonogo in a folder; what it and the stages say goes to standard error.

    Raises:
        GateError: it ended with the status of a gate that does not pass.
        PipelineError: it failed otherwise.
    """
    command = [sys.executable, "-m", "gonogo.cli", *words, "--json"]
    _, environment = dvc_call()
    result = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    try:
        answer: dict[str, Any] = json.loads(result.stdout)
    except ValueError as error:
        raise PipelineError(f"gonogo {words[0]} ended with exit status {result.returncode}; see above") from error
    if result.returncode:
        failure = answer.get("error", {})
        kind = GateError if failure.get("code") == "GateError" else PipelineError
        raise kind(f"gonogo {words[0]}: {failure.get('message', f'exit status {result.returncode}')}")
    return answer


def _new_files(work: Path, raw: Path) -> list[str]:
    """What the commit of a retrained gauge has beside files that git knows: new images, where git has those of raw."""
    listed = git(work, "ls-files", "--", raw.as_posix()) if not raw.is_absolute() else ""
    images = [name for name in listed.splitlines() if not name.endswith(".md")]
    if not images:
        return ["data/accepted.jsonl"] if (work / "data/accepted.jsonl").is_file() else []
    others = git(work, "ls-files", "--others", "-z", "--", raw.as_posix()).split("\0")
    return [name for name in others if name]


def _link_files(source: Path, target: Path) -> None:
    """Give the folder `target` the files of `source` that it lacks, as links where the file system has them."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:  # another file system, or one without links
                shutil.copy2(path, place)
