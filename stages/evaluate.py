"""Measure a fitted gauge on the test images: metrics, curves, per-image records and a picture sheet."""

import entry_point
from gonogo.compute.cluster import connect
from gonogo.evaluation.accuracy.curves import write_curves
from gonogo.evaluation.accuracy.evaluate import (
    REGION_COLUMNS,
    EvaluateParams,
    Metrics,
    evaluate,
    per_image_rows,
    region_rows,
)
from gonogo.evaluation.accuracy.operating_points import ScoresByKind
from gonogo.files import write_metrics, write_rows
from gonogo.images.dataset import read_dataset
from gonogo.model.saved import load_model
from gonogo.params import Params
from gonogo.reports.operating_page import write_operating_page
from gonogo.reports.sheet import write_sheet


def main(category: str, params: Params) -> None:
    values = params.values("evaluate", EvaluateParams)
    cluster = connect(params.section("fit", shared=["cluster"]).get("cluster"))
    dataset = read_dataset(entry_point.path("prepared", category), params.raw, cluster=cluster)
    model = load_model(entry_point.path("models", category))
    evaluation = evaluate(model, dataset, values, seed=params.seed)
    write_metrics(entry_point.path("metrics", "evaluate", f"{category}.json"), evaluation.metrics)
    rows = per_image_rows(evaluation)
    write_rows(entry_point.path("plots", "records", f"{category}.csv"), rows)
    page = entry_point.path("plots", "operating_points", f"{category}.html")
    write_operating_page(page, ScoresByKind.of(rows), evaluation.record, category=category)
    write_rows(entry_point.path("plots", "regions", f"{category}.csv"), region_rows(evaluation), REGION_COLUMNS)
    write_curves(
        evaluation,
        roc=entry_point.path("plots", "roc", f"{category}.csv"),
        pr=entry_point.path("plots", "pr", f"{category}.csv"),
    )
    sheet = entry_point.path("plots", "sheets", f"{category}.png")
    write_sheet(sheet, evaluation, model, dataset, category=category, cases=values.sheet_cases)
    entry_point.say(f"{category}: {headline(evaluation.metrics)}")


def headline(metrics: Metrics) -> str:
    """What was measured, in a line."""
    said = []
    if "image_auroc" in metrics:
        low, high = metrics["image_auroc_low"], metrics["image_auroc_high"]
        said.append(f"image AUROC {metrics['image_auroc']:.3f} [{low:.3f}, {high:.3f}]")
    if "false_alarm_rate" in metrics:
        said.append(f"false alarms {metrics['false_alarm_rate']:.1%}")
    said.append(f"recall {metrics['recall']:.1%}" if "recall" in metrics else "no defective part to measure recall on")
    return ", ".join(said)


if __name__ == "__main__":
    entry_point.run(main)
