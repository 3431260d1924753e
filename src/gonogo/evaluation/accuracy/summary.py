"""The few numbers that a person compares between runs: of each category, and of all categories together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.errors import DataError
from gonogo.evaluation.accuracy.resampling import bootstrap_values, percentile_interval, resampled_metrics
from gonogo.evaluation.metric_table import HEADLINES, METRICS, SUMMARISED
from gonogo.files import combined_sha256

if TYPE_CHECKING:
    import pandas as pd

N_RESAMPLES = 1000  # of the parts of all categories
DATA = "data"  # column of a headline file: the first digits of the fingerprint of the data, which fit a column


def headline(evaluate: Mapping[str, Any], record: ThresholdRecord) -> dict[str, float | str]:
    """The headline metrics of one category, by column, and `DATA`; one without a value on its test images is absent.

    Args:
        evaluate: metrics of the evaluate stage.
        record: threshold record of the bundle, which has the certified bound; for a gauge in eight bits it differs from
            the bound of the evaluate stage. A bound that is only an estimate is left out.
    """
    values = {name: evaluate.get(name) for name in HEADLINES}
    values["certified_false_alarm_rate"] = record.certified_false_alarm_rate if record.method == "holdout" else None
    found = {METRICS[name].column or name: float(value) for name, value in values.items() if value is not None}
    return found | {DATA: _first_digits(evaluate["data_fingerprint"])}


def mean_headline(headlines: Mapping[str, Mapping[str, Any]]) -> dict[str, float | str]:
    """The mean of each headline metric over the categories that have it, by column, and `DATA` of all of them.

    Args:
        headlines: `headline` by category.

    Raises:
        DataError: there is no category.
    """
    table = _by_category(headlines)
    columns = [metric.column or name for name, metric in HEADLINES.items()]
    means: dict[str, float | str] = table.reindex(columns=columns).astype(float).mean().dropna().to_dict()
    return means | {DATA: _first_digits(combined_sha256(table[DATA].to_dict()))}


def _first_digits(fingerprint: str) -> str:
    return fingerprint[:8]


def summarise(
    evaluated: Mapping[str, Mapping[str, Any]], parity: Mapping[str, Mapping[str, Any]]
) -> dict[str, float | int | str]:
    """Mean, standard deviation and worst value, with its category, of each accuracy and of the bound.

    They are over the categories that have the metric; a single one has no standard deviation.

    Args:
        evaluated: metrics of the evaluate stage by category.
        parity: metrics of the parity stage by category.

    Raises:
        DataError: there is no category, one lacks its parity, or the two stages saw different data.
    """
    table = _by_category(evaluated)
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
        "data_fingerprint": combined_sha256({name: metrics["data_fingerprint"] for name, metrics in evaluated.items()}),
    }
    for name, values in table.reindex(columns=SUMMARISED).astype(float).dropna(axis="columns", how="all").items():
        worst = values.idxmin() if METRICS[name].better == "more" else values.idxmax()
        found = {"mean": values.mean(), "std": values.std(), "worst": values[worst]}
        summary |= {f"{name}.{what}": float(value) for what, value in found.items() if not np.isnan(value)}
        summary[f"{name}.worst_category"] = worst
    return summary


@dataclass(frozen=True)
class Scored:
    """The test images of a category: scores (n,), labels (n,) bool, n ids of their parts, and the threshold."""

    scores: np.ndarray
    labels: np.ndarray
    groups: Sequence[str]
    threshold: float

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, str]]) -> Self:
        """Those of the records that the evaluate stage writes."""
        test = [row for row in rows if row["role"] == "test"]
        return cls(
            np.array([float(row["score"]) for row in test]),
            np.array([row["label"] == "1" for row in test], dtype=bool),
            [row["group_id"] for row in test],
            float(test[0]["threshold"]),
        )


def summary_intervals(
    evaluated: Mapping[str, Mapping[str, Any]],
    scored: Mapping[str, Scored],
    resampled: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> dict[str, float]:
    """Intervals of the mean and of the worst value over the categories, of each metric that has one of its own.

    In each resample the parts of every category are drawn anew, and its mean and its worst category are taken; which
    one is the worst may differ from resample to resample. Their confidence is that of the categories' own intervals.

    Args:
        evaluated: metrics of the evaluate stage by category.
        scored: its test images.
        resampled: the values of its metrics of maps on resamples, as `Evaluation` has them; None: only metrics of
            images get an interval.
    """
    drawn: dict[str, dict[str, np.ndarray]] = {}
    for number, (category, one) in enumerate(scored.items()):
        statistics = resampled_metrics(one.scores, one.labels, one.threshold)
        drawn[category] = bootstrap_values(statistics, one.groups, n_resamples=N_RESAMPLES, seed=number)
        of_maps = {} if resampled is None else resampled[category]
        if of_maps:
            # The seed of all categories was one: in an order of its own, each is independent of the others.
            n_drawn = len(next(iter(of_maps.values())))
            order = np.random.default_rng(number).choice(n_drawn, N_RESAMPLES, replace=n_drawn < N_RESAMPLES)
            drawn[category] |= {name: values[order] for name, values in of_maps.items()}
    confidence = min(float(metrics["interval_confidence"]) for metrics in evaluated.values())
    intervals: dict[str, float] = {}
    for name in SUMMARISED:
        known = [category for category in drawn if f"{name}_low" in evaluated[category]]
        if not known or not all(name in drawn[category] for category in known):
            continue
        values = np.stack([drawn[category][name] for category in known])  # (categories, resamples)
        worst = values.min(axis=0) if METRICS[name].better == "more" else values.max(axis=0)
        for what, of_all in (("mean", values.mean(axis=0)), ("worst", worst)):
            low, high = percentile_interval(name, of_all, confidence)
            intervals |= {f"{name}.{what}_low": low, f"{name}.{what}_high": high}
    return intervals


def _by_category(metrics: Mapping[str, Mapping[str, Any]]) -> "pd.DataFrame":
    """A row of metrics for each category, by its name; nan where it lacks one."""
    import pandas as pd  # where it is used: the stages of a single category take their headline alone from here

    if not metrics:
        raise DataError("categories is empty; there is nothing to summarise")
    return pd.DataFrame(list(metrics.values()), index=list(metrics))
