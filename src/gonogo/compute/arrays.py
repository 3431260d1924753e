"""Arrays by name in files of which nothing is unpickled."""

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

# What reading raises of a file that is missing, damaged or something else, and what is raised by one that lacks a name.
UNREADABLE = (OSError, ValueError, KeyError, EOFError, BadZipFile)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed .npz file; the same arrays in the same order give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # its own keyword allow_pickle is not among the names


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote.

    Raises:
        OSError, ValueError, EOFError, BadZipFile: the file is missing, damaged or something else.
    """
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
