"""Measure how often the past defect that is most like a part is of its type, within the category and among all."""

from typing import Any

import entry_point
from gonogo.errors import DataError
from gonogo.evaluation.retrieval import (
    COLUMNS,
    RetrieveParams,
    defects_of,
    parts_of,
    ranked_rows,
    retrieval_metrics,
    why_not_measured,
)
from gonogo.files import combined_sha256, write_metrics, write_rows
from gonogo.images.dataset import Dataset, read_dataset
from gonogo.inference.scorer import Scorer
from gonogo.params import Params


def main(params: Params) -> None:
    values = params.values("retrieve", RetrieveParams)
    datasets = {name: read_dataset(entry_point.path("prepared", name), params.raw) for name in params.categories}
    metrics: dict[str, float | int | str | bool] = {}
    rows: list[dict[str, Any]] = []
    for category in params.categories:
        of_category = measured(category, datasets, values, params.seed, rows)
        metrics |= {f"{name}.{category}": value for name, value in of_category.items()}
        if "not_measured" in of_category:
            entry_point.say(f"{category}: similar cases cannot be measured: {of_category['not_measured']}")
        else:
            within, flat = of_category["p_at_1"], of_category["flat_p_at_1"]
            entry_point.say(f"{category}: the most similar case is of the same type {within:.1%}, flat {flat:.1%}")
    metrics["data_fingerprint"] = combined_sha256({name: dataset.fingerprint for name, dataset in datasets.items()})
    write_metrics(entry_point.path("metrics", "retrieve.json"), metrics)
    write_rows(entry_point.path("plots", "retrieve.csv"), rows, COLUMNS)


def measured(
    category: str, datasets: dict[str, Dataset], values: RetrieveParams, seed: int, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """The metrics of one category, or why there are none; its rows are added to `rows`."""
    scorer = Scorer(entry_point.path("bundles", category))
    try:
        own = defects_of(scorer, datasets[category], category)
    except DataError as error:
        return {"not_measured": str(error)}
    if (reason := why_not_measured(own)) is not None:
        return {"not_measured": reason}
    others = [
        defect for name, dataset in datasets.items() if name != category for defect in defects_of(scorer, dataset, name)
    ]
    found = ranked_rows(own, others)
    rows += found
    return dict(retrieval_metrics(found, parts_of(found, own), values, seed=seed))


if __name__ == "__main__":
    entry_point.guard(lambda: main(Params(entry_point.PARAMS)), label="retrieve")
