"""The entry point of every stage: this checkout's library, the paths of dvc.yaml, progress, and one place for errors.

The library is taken from the checkout that the script lies in, never from an installed copy: an experiment that
runs in a folder of its own must not compute with another folder's code.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

try:
    from gonogo.params import Params, project_path
except ModuleNotFoundError as missing:
    sys.exit(
        f"{sys.executable} has no {missing.name}: use `make run`, or activate the environment that it made "
        "(`source .venv/bin/activate`) before calling dvc"
    )
from gonogo.compute.progress import ProgressLine
from gonogo.errors import GonogoError

PARAMS = Path("params.yaml")

path = project_path  # stages run in the project's root

show_progress = ProgressLine()  # one line at a time


def run(main: Callable[[str, Params], None]) -> None:
    """Call `main(category, params)`; a GonogoError becomes one sentence on stderr and exit status 1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--category", required=True, help="one of the categories in params.yaml")
    category = parser.parse_args().category
    guard(lambda: main(category, Params(PARAMS, category)), label=f"{Path(sys.argv[0]).stem}@{category}")


def guard(body: Callable[[], None], *, label: str) -> None:
    """Run `body`; on a GonogoError print it with `label` and exit with status 1."""
    gc.freeze()  # what was imported stays to the end
    gc.enable()
    try:
        body()
    except GonogoError as error:
        print(f"{label}: {type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def say(sentence: str) -> None:
    """Tell the person who runs the pipeline, at once."""
    print(f"  {sentence}", flush=True)


os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
gc.disable()  # until `guard`, so that importing takes a fifth less: Python would look through all modules for garbage
