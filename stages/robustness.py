"""Measure false alarms and recall of a gauge on test images with simulated disturbances."""

import entry_point
from gonogo.evaluation.robustness.robustness import (
    CELL_COLUMNS,
    RobustnessParams,
    cell_rows,
    robustness_card,
    robustness_metrics,
)
from gonogo.files import write_metrics, write_rows
from gonogo.images.dataset import read_dataset
from gonogo.inference.scorer import Scorer
from gonogo.params import Params


def main(category: str, params: Params) -> None:
    values = params.values("robustness", RobustnessParams)
    dataset = read_dataset(entry_point.path("prepared", category), params.raw)
    scorer = Scorer(entry_point.path("bundles", category))
    cells = robustness_card(
        lambda pixels: scorer.score_pixels(pixels[None])[0].score,
        dataset,
        values,
        threshold=scorer.threshold,
        seed=params.seed,
        progress=entry_point.show_progress,
    )
    metrics = robustness_metrics(cells)
    fingerprint = {"data_fingerprint": dataset.fingerprint}
    write_metrics(entry_point.path("metrics", "robustness", f"{category}.json"), metrics | fingerprint)
    write_rows(entry_point.path("plots", "robustness", f"{category}.csv"), cell_rows(cells), CELL_COLUMNS)
    if "worst_false_alarm_rate" in metrics:
        worst, unchanged = metrics["worst_false_alarm_rate"], metrics["false_alarm_rate.none"]
        corruption = f", with {metrics['worst_false_alarm_rate_corruption']}" if float(worst) > float(unchanged) else ""
        entry_point.say(
            f"{category}: {unchanged:.1%} of good test parts are rejected unchanged, and at severity 3 of 5 at most "
            f"{worst:.1%}{corruption}"
        )


if __name__ == "__main__":
    entry_point.run(main)
