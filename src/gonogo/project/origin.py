"""Where the installed gonogo came from, so that a project can say what its results are made with and how to get it."""

import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from gonogo.project.git import git_answer


@dataclass(frozen=True)
class Origin:
    """Where a gonogo came from.

    Attributes:
        phrase: to follow `gonogo 0.1.0`.
        steps: shell commands that install the same one with the pipeline; a line beginning with # is for people.
    """

    phrase: str
    steps: tuple[str, ...]


def installed_origin() -> Origin:
    """The origin of the gonogo that is installed here, by what pip recorded of it (PEP 610)."""
    try:
        record = metadata.distribution("gonogo").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        record = None
    return origin_of(json.loads(record) if record else {})


def origin_of(record: dict[str, Any]) -> Origin:
    """The origin that a direct_url.json describes; an empty one is that of an installation from a package index."""
    place = urlsplit(str(record.get("url", "")))
    if "archive_info" in record:
        name = unquote(place.path).rsplit("/", 1)[-1]
        sha256 = record["archive_info"].get("hashes", {}).get("sha256")
        phrase = f"from {name}" + (f", SHA-256 {sha256}" if sha256 else "")
        return Origin(phrase, (f"pip install -c constraints.txt './{name}[pipeline]'",))
    if "vcs_info" in record:
        return _of_repository(urlunsplit(place), str(record["vcs_info"].get("commit_id")))
    if "dir_info" in record:
        folder = Path(url2pathname(place.path))
        commit, remote = git_answer(folder, "rev-parse", "HEAD"), git_answer(folder, "remote", "get-url", "origin")
        if commit and remote:
            return _of_repository(remote, commit)
        at = f", commit {commit}" if commit else ""
        steps = (
            "# in a checkout of gonogo beside this project",
            "pip install -c constraints.txt '../gonogo[pipeline]'",
        )
        return Origin(f"from a folder that nothing else is known of{at}", steps)
    return Origin("from a package index", ("pip install -c constraints.txt 'gonogo[pipeline]'",))


def _of_repository(url: str, commit: str) -> Origin:
    url = _without_credentials(url)
    steps = (
        f"git clone {url} ../gonogo && git -C ../gonogo checkout {commit}",
        "pip install -c constraints.txt '../gonogo[pipeline]'",
    )
    return Origin(f"from {url}, commit {commit}", steps)


def _without_credentials(url: str) -> str:
    """The URL as anyone may read it. What is no URL with a host, such as a path or git@host:name, stays as it is."""
    place = urlsplit(url)
    return (
        urlunsplit(place._replace(netloc=place.netloc.rpartition("@")[2])) if place.scheme in ("http", "https") else url
    )
