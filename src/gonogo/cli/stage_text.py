"""What the stages measured, as text."""

from typing import Any

from gonogo.cli.columns import in_columns
from gonogo.params import project_path

SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "aupro_30", "seg_f1", "f1", "recall", "false_alarm_rate")


def summary_text(stage: str, category: str, metrics: dict[str, Any]) -> str:
    """The headline of a stage's metrics for people."""
    if stage == "fit":
        text = f"{category}: the fit took {metrics['fit_s']:,.0f} s and {metrics['peak_memory_mb']:,.0f} MB"
        text += f" of {metrics['forecast_mb']:,.0f} MB forecast" if "forecast_mb" in metrics else ""
        return text + (f"; threshold {metrics['threshold']:.4g}, {metrics['claim']}" if "claim" in metrics else "")
    if stage == "parity":
        return (
            f"{category}: {project_path('bundles', category)} is written; {metrics['n_comparisons']} comparisons, "
            f"{metrics['n_flips']} verdicts flip, scores within {metrics['score_max_diff_e6']:.3g} millionths"
        )
    if stage == "bench":
        return (
            f"{category}: p50 {metrics['p50_ms']:.1f} ms, p95 {metrics['p95_ms']:.1f} ms from file to verdict, "
            f"{metrics['runs']} runs on {metrics['threads']} threads; the bundle has {metrics['bundle_mb']:.1f} MB"
        )
    return f"{category} ({metrics['detector']})\n{_beside_baseline(metrics)}"


def _beside_baseline(metrics: dict[str, Any]) -> str:
    """Each metric of the gauge with its interval, the trivial baseline's, and the lift, above 0 where it is better;
    then what scores and maps drawn at random would give.

    Where there were fits with several seeds, their lowest and highest values come last.
    """
    several = [f"{metrics['n_seeds']} seeds"] if "n_seeds" in metrics else []
    rows = [["", "gauge", "interval", "mean image", "lift", "chance", *several]]
    for name in SHOWN:
        if name in metrics:
            theirs, lift = metrics.get(f"{name}_baseline"), metrics.get(f"{name}_lift")
            rows.append(
                [
                    f"  {name}",
                    f"{metrics[name]:.3f}",
                    _between(metrics, name),
                    "-" if theirs is None else f"{theirs:.3f}",
                    "-" if lift is None else f"{lift:+.3f}",
                    f"{metrics[f'{name}_random']:.3f}" if f"{name}_random" in metrics else "-",
                    *(_between(metrics, f"{name}_seeds") for _ in several),
                ]
            )
    return in_columns(rows, head=True)


def _between(metrics: dict[str, Any], name: str) -> str:
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
