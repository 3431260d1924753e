"""Measure a fitted gauge on the test images: metrics, curves, and records of images and regions."""

import entry_point
from gonogo.compute.cluster import connect
from gonogo.compute.memory import keep_freed_memory
from gonogo.evaluation.accuracy.evaluate import EvaluateParams, Metrics, evaluate
from gonogo.evaluation.accuracy.records import per_image_rows, write_curves, write_regions
from gonogo.evaluation.accuracy.resampling import save_resampled
from gonogo.files import write_metrics, write_rows
from gonogo.images.dataset import read_dataset
from gonogo.model.saved import load_model
from gonogo.params import Params


def main(category: str, params: Params) -> None:
    keep_freed_memory()
    values = params.values("evaluate", EvaluateParams)
    cluster = connect(params.section("fit", shared=["cluster"]).get("cluster"))
    dataset = read_dataset(entry_point.path("prepared", category), params.raw, cluster=cluster)
    model = load_model(entry_point.path("models", category))
    evaluation = evaluate(model, dataset, values, seed=params.seed)
    write_metrics(entry_point.path("metrics", "evaluate", f"{category}.json"), evaluation.metrics)
    write_rows(entry_point.path("plots", "records", f"{category}.csv"), per_image_rows(evaluation))
    write_regions(entry_point.path("plots", "regions", f"{category}.csv"), evaluation)
    save_resampled(entry_point.path("resampled", f"{category}.npz"), evaluation.resampled)
    write_curves(
        evaluation,
        roc=entry_point.path("plots", "roc", f"{category}.csv"),
        pr=entry_point.path("plots", "pr", f"{category}.csv"),
    )
    entry_point.say(f"{category}: {sentence(evaluation.metrics)}")


def sentence(metrics: Metrics) -> str:
    """Image AUROC, false alarms and recall in a line, where they have a value."""
    parts = []
    if "image_auroc" in metrics:
        low, high = metrics["image_auroc_low"], metrics["image_auroc_high"]
        parts.append(f"image AUROC {metrics['image_auroc']:.3f} [{low:.3f}, {high:.3f}]")
    if "map_50" in metrics:
        parts.append(f"boxes mAP50 {metrics['map_50']:.3f} [{metrics['map_50_low']:.3f}, {metrics['map_50_high']:.3f}]")
    if "false_alarm_rate" in metrics:
        parts.append(f"false alarms {metrics['false_alarm_rate']:.1%}")
    parts.append(f"recall {metrics['recall']:.1%}" if "recall" in metrics else "no defective part to measure recall on")
    return ", ".join(parts)


if __name__ == "__main__":
    entry_point.run(main)
