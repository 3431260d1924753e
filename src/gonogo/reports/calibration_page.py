"""The calibration page: the good scores, the threshold, and what may be said of it, for who has to sign it."""

from pathlib import Path

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.reports.histogram import histogram
from gonogo.reports.pages import render


def write_calibration_page(path: Path, record: ThresholdRecord, *, category: str) -> None:
    """Write the page, which holds everything it shows."""
    render(
        path,
        "calibration.html.j2",
        category=category,
        record=record,
        chart=histogram(record.good_scores, [], record.threshold, band=(record.band_low, record.band_high)),
        n_above=sum(score >= record.threshold for score in record.good_scores),
    )
