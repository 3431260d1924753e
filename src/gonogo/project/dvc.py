"""DVC, as a process of its own."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gonogo.errors import MissingExtraError, PipelineError
from gonogo.files import require_raw
from gonogo.params import Params

RUNS = ("repro", "exp")  # commands of DVC that run stages


def dvc_call(*words: str) -> tuple[list[str], dict[str, str]]:
    """The command `dvc WORDS` of this interpreter, and the environment in which stages find the same `python` first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return [sys.executable, "-m", "dvc", *words], os.environ | {"PATH": path}


def get_artifact(path: Path, commit: str, into: Path) -> None:
    """Bring what a commit of this project has at a path, which DVC tracks, from its cache or remote to `into`.

    Raises:
        PipelineError: the commit has none, or neither cache nor remote has it.
    """
    command, environment = dvc_call("get", ".", path.as_posix(), "--rev", commit, "--out", str(into))
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        # Not by --quiet, which leaves the reason out and keeps a line that says where DVC's own help is.
        reason = " ".join(re.findall(r"^ERROR: (.*)$", result.stderr, re.MULTILINE)) or "it gave no reason"
        raise PipelineError(
            f"dvc has no {path} of the commit {commit[:12]}: {reason}; `dvc pull --all-commits` brings what "
            "a remote has"
        )


def run_dvc(*arguments: str) -> None:
    """Run dvc with this interpreter; what it and the stages say goes to standard error.

    Raises:
        MissingExtraError: it is not installed.
        PipelineError: it failed; what it said stands above.
        ConfigError: stages would run, and the folder of the images is not there.
    """
    if find_spec("dvc") is None:
        raise MissingExtraError("this needs dvc, which is missing; pip install 'gonogo[pipeline]'")
    params, name = Path("params.yaml"), arguments[2 if arguments[0] == "--cd" else 0]
    if arguments[0] in RUNS and params.is_file():
        require_raw(Params(params).raw)  # DVC would say no more than errno 2
    command, environment = dvc_call(*arguments)
    print(f"== dvc {' '.join(arguments)}", file=sys.stderr, flush=True)
    status = subprocess.run(command, env=environment, stdout=2, check=False).returncode
    if status:
        raise PipelineError(f"dvc {name} failed with exit status {status}; what it said stands above")
