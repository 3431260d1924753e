"""What a commit or an experiment has to tell a tracker: parameters, metrics, the series of its fits, and its files.

It is read from git after the fact, since a stage that DVC takes from its cache would report nothing.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from gonogo.errors import DataError
from gonogo.project.git import git
from gonogo.project.revision import Revisions

FILES = ("params.yaml", "dvc.yaml", "dvc.lock", "metrics", "plots")  # and all below those that are folders


@dataclass(frozen=True)
class Tracked:
    """A commit, or an experiment of DVC, as a run.

    Attributes:
        commit: its hash.
        experiment: its name; None of a commit.
        at: seconds since 1970.
        subject: of the commit.
        params: by dotted name, as text.
        metrics: by STAGE.CATEGORY.NAME.
        series: of the fits, by CATEGORY.NAME: steps with their values.
        files: the bytes of FILES, by path.
    """

    commit: str
    experiment: str | None
    at: float
    subject: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    series: Mapping[str, list[tuple[int, float]]]
    files: Mapping[str, bytes]

    @property
    def categories(self) -> list[str]:
        """The categories that are evaluated in it."""
        return sorted({PurePosixPath(path).stem for path in self.files if path.startswith("metrics/evaluate/")})

    def bundle_of(self, category: str) -> str | None:
        """DVC's hash of the category's bundle; None where dvc.lock has none."""
        content = YAML(typ="safe", pure=True).load(self.files.get("dvc.lock", b"").decode()) or {}
        stage = (content.get("stages") or {}).get(f"parity@{category}") or {}
        hashes = [out.get("md5") for out in stage.get("outs", ()) if PurePosixPath(out["path"]).name == category]
        return hashes[0] if hashes else None


def read_tracked(project: Path, revision: str) -> Tracked:
    """What a revision of git, or an experiment of DVC, has to tell.

    Raises:
        DataError: there is none of that name, or it has no metrics.
    """
    commit = Revisions(project, revision, None).commits[0]
    at, subject = git(project, "show", "--no-patch", "--format=%ct%x1f%s", commit).strip().split("\x1f")
    pointing = ("--format=%(refname:lstrip=4)", f"--points-at={commit}", "refs/exps/*/*/*")
    names = git(project, "for-each-ref", *pointing).split()
    listed = git(project, "ls-tree", "-r", "-z", "--name-only", commit, "--", *FILES).split("\0")[:-1]
    files = {path: git(project, "show", f"{commit}:./{path}").encode() for path in listed if _is_text(path)}
    metrics = dict(_metrics(files))
    if not metrics:
        raise DataError(f"{revision} has no metrics; `dvc repro` writes them, and a commit keeps them")
    return Tracked(
        commit=commit,
        experiment=names[0] if names else None,
        at=float(at),
        subject=subject,
        params=dict(_flat(YAML(typ="safe", pure=True).load(files.get("params.yaml", b"").decode()) or {})),
        metrics=metrics,
        series=dict(_series(files)),
        files=files,
    )


def _is_text(path: str) -> bool:
    return PurePosixPath(path).suffix in (".yaml", ".lock", ".json", ".csv", ".tsv", ".txt", ".md")


def _metrics(files: Mapping[str, bytes]) -> Iterator[tuple[str, float]]:
    for path, data in files.items():
        parts = PurePosixPath(path).with_suffix("").parts
        if parts[0] == "metrics" and path.endswith(".json") and parts[1] not in ("code", "headline"):
            for name, value in _numbers(json.loads(data)):
                yield ".".join((*parts[1:], name)), value


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float):
            yield f"{prefix}{name}", float(value)


def _series(files: Mapping[str, bytes]) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    for path, data in files.items():
        place = PurePosixPath(path)
        if path.startswith("plots/fit/") and place.suffix == ".tsv":
            rows = list(csv.DictReader(io.StringIO(data.decode()), delimiter="\t"))
            values = [(int(float(row["step"])), float(row[place.stem])) for row in rows if row.get(place.stem)]
            yield f"{place.parts[2]}.{place.stem}", values


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)
