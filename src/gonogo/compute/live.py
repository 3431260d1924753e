"""The record of a training's curves, by DVCLive."""

import sys
from pathlib import Path
from typing import Any


def open_live(folder: Path) -> Any:
    """DVCLive's record in a folder, as a context; nothing but the curves is written, and no experiment is saved.

    DVCLive loads pandas wherever it is installed, and pandas loads pyarrow. Nobody hands it a data frame here, and the
    two would take half a second and a sixth of the memory of a fit, which is measured and forecast.
    """
    unknown = "pandas" not in sys.modules
    if unknown:
        sys.modules["pandas"] = None  # type: ignore[assignment]  # an import fails, as where it is not installed
    try:
        from dvclive.live import Live
    finally:
        if unknown:
            del sys.modules["pandas"]
    return Live(str(folder), dvcyaml=None, save_dvc_exp=False, report=None)
