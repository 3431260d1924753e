"""Charts as shapes of SVG, which the server makes: they need no script, and are there at the first paint."""

from typing import Any

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.reports.histogram import histogram

SHOWN_SPANS = 2.0  # how far beyond the threshold the axis goes, in distances from the lowest good score to it


def score_chart(record: ThresholdRecord, score: float) -> dict[str, Any]:
    """The histogram of good scores with the threshold and a score, as `histogram` has it, with `at`, the score's x.

    A score beyond the axis is shown at its end, and `beyond` is true.
    """
    low = min(*record.good_scores, record.threshold)
    end = record.threshold + SHOWN_SPANS * max(record.threshold - low, 1e-12)
    shown = min(max(score, low), end)
    chart = histogram(record.good_scores, [shown], record.threshold, band=(record.band_low, record.band_high))
    left, _, width, _, _ = next(bar for bar in chart["bars"] if bar[4] == "defective")
    good = [bar for bar in chart["bars"] if bar[4] == "good"]
    return chart | {"bars": good, "at": left + width / 2, "beyond": score > end}
