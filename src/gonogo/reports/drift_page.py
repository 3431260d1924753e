"""The page of a certificate under watch: whether it holds, what speaks against it, and what moved."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.reports.drawing import image_tile, jpeg_uri
from gonogo.reports.pages import render

SIDE = 320  # pixels of a typical part's picture


def write_drift_page(
    path: Path, report: Mapping[str, Any], typical: Mapping[str, np.ndarray], *, words: Mapping[str, str]
) -> None:
    """Write the page as one HTML file.

    Args:
        path: of the file.
        report: what `gonogo drift --json` prints.
        words: the names of claims and numbers as a person reads them.
        typical: pixels (h, w, 3) uint8 of a typical part `before` and `after`, where they can be read.
    """
    rows = []
    for name, claim in report["claims"].items():
        rows.append((words[name], claim))
        rows += [(f"– {words[one]}", told) for one, told in claim.get("statistics", {}).items()]
    render(
        path,
        "drift.html.j2",
        report=report,
        claims=[(name, _odds(claim["log_evidence"]), claim) for name, claim in rows],
        evidence=_odds(report["log_evidence"]),
        needed=_odds(report["needed"]),
        moved=[(words[one["name"]], one) for one in report["moved"]],
        claim=words[report["claim"]],
        pictures={side: jpeg_uri(image_tile(pixels, (SIDE, SIDE))) for side, pixels in typical.items()},
    )


def _odds(log_evidence: float) -> str:
    """Evidence, whose natural logarithm this is, as a number; one beyond reading as a power of ten."""
    if abs(log_evidence) >= math.log(1e6):
        return f"10^{log_evidence / math.log(10):.0f}"
    return f"{math.exp(log_evidence):,.0f}" if log_evidence > math.log(100) else f"{math.exp(log_evidence):.3g}"
