"""The numbers of parts before and after a change as a report of Evidently, an optional package, in one HTML file."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gonogo.errors import DataError, MissingExtraError
from gonogo.files import write_text

FEWEST = 30  # parts on either side


def halves(n: int, since: int) -> int:
    """How many of `n` parts stand for before: those up to `since`, or half where that leaves too few on a side.

    Raises:
        DataError: there are too few parts.
    """
    if n < 2 * FEWEST:
        raise DataError(f"there are {n} parts with a score; a report of Evidently compares {FEWEST} with {FEWEST}")
    return since if FEWEST <= since <= n - FEWEST else n // 2


def write_evidently_page(path: Path, names: Sequence[str], before: np.ndarray, after: np.ndarray) -> None:
    """Write the page.

    Evidently tests each number by itself, by default with the two-sample test of Kolmogorov and Smirnov at 0.05: of
    ten numbers that have not changed, one test in two reports says that one has. That is no reason to withdraw a
    certificate; the page is for looking.

    Args:
        path: of the page.
        names: of the numbers.
        before, after: (n, numbers), those of the parts; nan where one is not known.

    Raises:
        MissingExtraError: Evidently is not installed.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")  # it would tell its makers of each report
    try:
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset
    except ImportError as error:
        raise MissingExtraError(
            f"--evidently needs gonogo[evidently] ({error}); `make evidently` sets up an environment for it, "
            "since what it needs does not go with the other extras"
        ) from error
    known = [place for place in range(len(names)) if all(np.isfinite(side[:, place]).any() for side in (before, after))]
    columns = [names[place] for place in known]
    definition = DataDefinition(numerical_columns=columns)
    sides = [
        Dataset.from_pandas(pd.DataFrame(side[:, known], columns=columns), data_definition=definition)
        for side in (after, before)
    ]
    write_text(path, Report([DataDriftPreset()]).run(*sides).get_html_str(as_iframe=False))
