"""git, called as a person calls it."""

import subprocess
from pathlib import Path, PurePosixPath

from gonogo.errors import PipelineError


def git(folder: Path, *words: str) -> str:
    """What `git WORDS` prints in `folder`.

    Raises:
        PipelineError: it failed, and the message is git's own, or git is not installed.
    """
    try:
        result = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S607 - the git of PATH
    except FileNotFoundError as error:
        raise PipelineError(f"git {words[0]} in {folder}: {error.strerror}: {error.filename}; DVC needs git") from error
    if result.returncode:
        raise PipelineError(f"git {' '.join(words)} in {folder}: {result.stderr.strip()}")
    return result.stdout


def git_answer(folder: Path, *words: str) -> str | None:
    """What git answers in the folder, without the blanks around it; None where it does not know."""
    try:
        return git(folder, *words).strip()
    except (OSError, PipelineError):
        return None


def place_in_repository(project: Path) -> PurePosixPath:
    """The folder of a project, relative to the top of its repository; `.` where it is the top.

    Raises:
        PipelineError: it lies in no repository.
    """
    return PurePosixPath(git(project, "rev-parse", "--show-prefix").strip())
