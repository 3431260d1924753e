"""A clone of a project's last commit, with the project's cache of DVC, so that the project itself stays as it is."""

import shutil
from pathlib import Path

from gonogo.errors import PipelineError
from gonogo.project.git import git, git_answer, place_in_repository


def clone_project(checkout: Path, folder: Path) -> Path:
    """Clone the last commit of a project's repository into `folder`, in place of what is there.

    Returns:
        The project in the clone: `folder`, or below it where the project lies in a subfolder of its repository.

    Raises:
        PipelineError: git could not, or the last commit does not have the project.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    top = git(checkout, "rev-parse", "--show-toplevel").removesuffix("\n")
    git(checkout, "clone", "--quiet", top, str(folder.resolve()))
    for key in ("user.name", "user.email"):  # a clone does not take the checkout's own
        known = git_answer(checkout, "config", key)
        if known:
            git(folder, "config", key, known)
    project = folder / place_in_repository(checkout)
    if not (project / ".dvc").is_dir():
        raise PipelineError(
            f"the last commit of {top} does not have the project {checkout.resolve()}, and this works on a commit; run "
            "git add --all . && git commit there, and this again"
        )
    (project / ".dvc" / "config.local").write_text(
        f"[cache]\n    dir = {(checkout / '.dvc' / 'cache').resolve()}\n", encoding="utf-8"
    )
    return project
