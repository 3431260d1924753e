"""How often the past defect that is most like a part is of the same type, on the defective test images.

Each image is the query once, and the defects of all other parts are the cases: leave one part out. A case is compared
as the service compares it (`gonogo.cases`): by the features of the bundle's own network, region against region where
both have one. Within the category, the cases are those of its own gauge's parts. Flat, they are joined by the defects
of all other categories, seen by the same network, as where a store is searched without asking for the category; a case
of another category is never of the same type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from gonogo.evaluation.accuracy.resampling import bootstrap_intervals
from gonogo.images.dataset import Dataset
from gonogo.inference.scorer import Scorer
from gonogo.inference.vectors import Vectors

RANKS = (1, 5)
NAMES = ("p_at_1", "p_at_5", "mrr")
MEASURED = tuple(f"{prefix}{name}" for prefix in ("", "flat_") for name in NAMES)
COLUMNS = ("category", "image", "defect_type", "compared", "nearest", "nearest_type", *MEASURED)


@dataclass(frozen=True)
class RetrieveParams:
    """The `retrieve` section.

    Attributes:
        n_resamples: of the bootstrap, over parts.
        interval_confidence: of the intervals.
    """

    n_resamples: Annotated[int, Field(ge=1)]
    interval_confidence: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Defect:
    """A defective test image as one network sees it."""

    image: str
    category: str
    defect_type: str
    part: str
    vectors: Vectors


def defects_of(scorer: Scorer, dataset: Dataset, category: str) -> list[Defect]:
    """The defective test images of a dataset, by the network of a bundle, which may be another category's.

    Raises:
        DataError: the bundle gives no features.
    """
    scorer.require_space()
    found = []
    for record in dataset.with_role("test"):
        if record.label == 1:
            (verdict,) = scorer.score_pixels(dataset.pixels_of(record)[None], features=True)
            assert verdict.vectors is not None
            part = f"{category}/{record.group_id}"
            found.append(Defect(record.path, category, record.defect_type, part, verdict.vectors))
    return found


def why_not_measured(own: Sequence[Defect]) -> str | None:
    """Why nothing can be said of a category; None: it can be measured."""
    if not own:
        return "the test set has no defective image"
    types = {one.defect_type for one in own}
    if len(types) == 1:
        return f"all {len(own)} defective test images are of one type, {own[0].defect_type}: any case would be a hit"
    if not _queries(own):
        return "no type of defect has images of two parts"
    return None


def ranked_rows(own: Sequence[Defect], others: Sequence[Defect]) -> list[dict[str, Any]]:
    """A row of COLUMNS for each query, whose type other parts have too.

    Args:
        own: the defects of the category.
        others: those of the other categories, by the same network.
    """
    rows = []
    for query in _queries(own):
        compared, nearest, within = _hits(query, own)
        _, _, flat = _hits(query, [*own, *others])
        row: dict[str, Any] = {"category": query.category, "image": query.image, "defect_type": query.defect_type}
        row |= {"compared": compared, "nearest": nearest.image, "nearest_type": nearest.defect_type}
        rows.append(row | _values(within, "") | _values(flat, "flat_"))
    return rows


def retrieval_metrics(
    rows: Sequence[Mapping[str, Any]], parts: Sequence[str], params: RetrieveParams, *, seed: int
) -> dict[str, float | int]:
    """The means of the queries' values, with bootstrap intervals over parts, and the number of queries.

    Args:
        rows: of `ranked_rows`.
        parts: the part of each row's query.
        params: of the bootstrap.
        seed: of the bootstrap.
    """
    values = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in MEASURED}
    intervals = bootstrap_intervals(
        {name: lambda counts, of=of: counts @ of / counts.sum(axis=1) for name, of in values.items()},  # type: ignore[misc]
        parts,
        n_resamples=params.n_resamples,
        confidence=params.interval_confidence,
        seed=seed,
    )
    metrics: dict[str, float | int] = {"n_queries": len(rows)}
    for name in MEASURED:
        low, high = intervals[name]
        metrics |= {name: float(values[name].mean()), f"{name}_low": low, f"{name}_high": high}
    return metrics


def parts_of(rows: Sequence[Mapping[str, Any]], own: Sequence[Defect]) -> list[str]:
    """The part of each row's query."""
    by_image = {one.image: one.part for one in own}
    return [by_image[row["image"]] for row in rows]


def _queries(own: Sequence[Defect]) -> list[Defect]:
    """The defects whose type another part has too: of the others, no case could be a hit."""
    return [
        query for query in own if any(one.defect_type == query.defect_type and one.part != query.part for one in own)
    ]


def _hits(query: Defect, pool: Sequence[Defect]) -> tuple[str, Defect, np.ndarray]:
    """What was compared, the nearest case, and (n,) bool: whether each case is of the query's type, nearest first.

    Cases at the same distance come in the order of their categories and images.
    """
    cases = sorted((one for one in pool if one.part != query.part), key=lambda one: (one.category, one.image))
    with_region = [one for one in cases if one.vectors.region is not None]
    compared = "region" if query.vectors.region is not None and with_region else "image"
    if compared == "region":
        cases = with_region
    vectors = np.array([getattr(one.vectors, compared) for one in cases], dtype=np.float64)
    order = np.argsort(np.linalg.norm(vectors - getattr(query.vectors, compared), axis=1), kind="stable")
    kind = query.category, query.defect_type
    return (
        compared,
        cases[order[0]],
        np.array([(cases[number].category, cases[number].defect_type) == kind for number in order]),
    )


def _values(hits: np.ndarray, prefix: str) -> dict[str, float]:
    """Precision at RANKS, and the reciprocal rank of the first hit, 0 where there is none."""
    at = {f"{prefix}p_at_{rank}": float(hits[:rank].mean()) for rank in RANKS}
    return at | {f"{prefix}mrr": 1 / (1 + int(hits.argmax())) if hits.any() else 0.0}
