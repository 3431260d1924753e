"""A clone of a project's last commit, with the project's cache of DVC, so that the project itself stays as it is."""

import shutil
from pathlib import Path

from gonogo.project.git import git, git_answer


def clone_project(checkout: Path, folder: Path) -> None:
    """Clone the last commit of `checkout` into `folder`, in place of what is there.

    Raises:
        PipelineError: git could not.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(checkout, "clone", "--quiet", str(checkout.resolve()), str(folder.resolve()))
    for key in ("user.name", "user.email"):  # a clone does not take the checkout's own
        known = git_answer(checkout, "config", key)
        if known:
            git(folder, "config", key, known)
    (folder / ".dvc" / "config.local").write_text(
        f"[cache]\n    dir = {(checkout / '.dvc' / 'cache').resolve()}\n", encoding="utf-8"
    )
