"""DVC, mostly as a process of its own."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gonogo.errors import MissingExtraError, PipelineError
from gonogo.files import require_raw
from gonogo.params import Params
from gonogo.project.git import place_in_repository

RUNS = ("repro", "exp")  # commands of DVC that run stages


def dvc_call(*words: str) -> tuple[list[str], dict[str, str]]:
    """The command `dvc WORDS` of this interpreter, and the environment in which stages find the same `python` first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return [sys.executable, "-m", "dvc", *words], os.environ | {"PATH": path}


def get_artifact(path: Path, commit: str, into: Path) -> None:
    """Bring what a commit of this project has at a path, which DVC tracks, from its cache or remote to `into`.

    In this process, where it takes a tenth of a second; the command `dvc get` takes half a second, and finds nothing in
    a project that lies in a subfolder of its git repository.

    Raises:
        MissingExtraError: DVC is not installed.
        PipelineError: the commit has none, neither cache nor remote has it, or `into` is there already.
    """
    _require_dvc()
    if into.exists():
        raise PipelineError(f"{into} is there already, and what a commit has is not mixed with it; remove it first")
    from dvc.api import DVCFileSystem  # where it is used: it takes a quarter of a second to import

    of_repository = place_in_repository(Path()) / path.as_posix()
    try:
        DVCFileSystem(os.fspath(Path.cwd()), rev=commit, subrepos=True).get(
            of_repository.as_posix(), os.fspath(into), recursive=True
        )
    except Exception as error:  # whatever the library of a remote raises, too
        if into.is_dir():
            shutil.rmtree(into)
        unknown = isinstance(error, FileNotFoundError) and error.errno is None
        reason = "DVC tracks nothing there" if unknown else str(error.__cause__ or error)
        raise PipelineError(
            f"dvc has no {path} of the commit {commit[:12]}: {reason}; `dvc pull --all-commits` brings what "
            "a remote has"
        ) from error


def run_dvc(*arguments: str) -> None:
    """Run dvc with this interpreter; what it and the stages say goes to standard error.

    Raises:
        MissingExtraError: it is not installed.
        PipelineError: it failed; what it said stands above.
        ConfigError: stages would run, and the folder of the images is not there.
    """
    _require_dvc()
    params, name = Path("params.yaml"), arguments[2 if arguments[0] == "--cd" else 0]
    if arguments[0] in RUNS and params.is_file():
        require_raw(Params(params).raw)  # DVC would say no more than errno 2
    command, environment = dvc_call(*arguments)
    print(f"== dvc {' '.join(arguments)}", file=sys.stderr, flush=True)
    status = subprocess.run(command, env=environment, stdout=2, check=False).returncode
    if status:
        raise PipelineError(f"dvc {name} failed with exit status {status}; what it said stands above")


def _require_dvc() -> None:
    if find_spec("dvc") is None:
        raise MissingExtraError("this needs dvc, which is missing; pip install 'gonogo[pipeline]'")
