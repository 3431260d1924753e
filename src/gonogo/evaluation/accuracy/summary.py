"""The headline of a run: mean and worst category, by name."""

from collections.abc import Mapping
from typing import Any

from gonogo.errors import DataError

# Each headline metric, and whether more of it is better.
HEADLINES = {
    "image_auroc": True,
    "image_ap": True,
    "pixel_auroc": True,
    "pixel_ap": True,
    "aupro_30": True,
    "aupro_05": True,
    "seg_f1": True,
    "pixel_false_positive_rate": False,
    "false_alarm_rate": False,
    "certified_false_alarm_rate": False,
    "recall": True,
    "precision": True,
    "f1": True,
    "f1_oracle": True,
}


def summarise(
    evaluated: Mapping[str, Mapping[str, Any]], parity: Mapping[str, Mapping[str, Any]]
) -> dict[str, float | int | str]:
    """Mean, worst value and worst category of each headline metric, over the categories that have it.

    Args:
        evaluated: metrics of the evaluate stage by category.
        parity: metrics of the parity stage by category.

    Raises:
        DataError: there is no category, one lacks its parity, or the two stages saw different data.
    """
    if not evaluated:
        raise DataError("categories is empty; there is nothing to summarise")
    for category in evaluated:
        if category not in parity:
            raise DataError(f"{category}: evaluated, but its parity is missing; run dvc repro")
        ours, theirs = evaluated[category]["data_fingerprint"], parity[category]["data_fingerprint"]
        if ours != theirs:
            raise DataError(f"{category}: evaluate saw data {ours[:12]}, parity {theirs[:12]}; run dvc repro")
    summary: dict[str, float | int | str] = {
        "n_categories": len(evaluated),
        "n_with_pixel_metrics": sum("aupro_30" in metrics for metrics in evaluated.values()),
        "n_certified": sum(bool(metrics["certified"]) for metrics in evaluated.values()),
        "n_parity_passed": sum(bool(parity[category]["passed"]) for category in evaluated),
    }
    for name, more_is_better in HEADLINES.items():
        values = {category: float(metrics[name]) for category, metrics in evaluated.items() if name in metrics}
        if not values:
            continue
        worst = (min if more_is_better else max)(values, key=lambda category: values[category])
        summary[f"{name}.mean"] = sum(values.values()) / len(values)
        summary[f"{name}.worst"] = values[worst]
        summary[f"{name}.worst_category"] = worst
    return summary
