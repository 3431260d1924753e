"""How a part leads to a remedy: places that differ, past cases like it, their causes, what helped; with distances."""

from collections.abc import Sequence
from typing import Any

from gonogo.knowledge.graph import Knowledge
from gonogo.line.explain import Explanation
from gonogo.service import schemas
from gonogo.service.security import Key
from gonogo.service.service import Service
from gonogo.store.schema import Row

N_PLACES = 4  # that differ most
N_CASES = 5


async def trace_of(service: Service, row: Row, key: Key, data: bytes) -> schemas.Trace:
    """The steps from a stored inspection to causes and remedies.

    Args:
        data: the image's file.

    Raises:
        Problem: the bundle that judged it is not the one in use.
    """
    with service.runner.reserve_slot(key):
        places = await service.runner.explain(data, key, bundle=row["bundle"], top=N_PLACES, render=_places)
    similar = await service.cases.like_inspection(row, key, k=N_CASES)
    return schemas.Trace(
        inspection=row["id"],
        verdict=row["verdict"],
        score=row["score"],
        threshold=row["threshold"],
        places=places,
        similar=similar,
        causes=causes_of(similar.cases),
        known=known_of(service.known_failures.knowledge(), similar.cases),
    )


def causes_of(cases: Sequence[schemas.SimilarCase]) -> list[schemas.TracedCause]:
    """The causes that cases have with what was done, by the nearest case of each; cases come the nearest first."""
    found: dict[tuple[str, str | None], list[schemas.SimilarCase]] = {}
    for case in cases:
        if case.cause:
            found.setdefault((case.cause, case.remedy), []).append(case)
    return [
        schemas.TracedCause(cause=cause, remedy=remedy, distance=of[0].distance, cases=[case.id for case in of])
        for (cause, remedy), of in found.items()
    ]


def known_of(knowledge: Knowledge, cases: Sequence[schemas.SimilarCase]) -> list[schemas.TracedMode]:
    """The failure modes that cases are of, with the causes and actions that people linked with them."""
    nearest: dict[tuple[str, str], float] = {}
    for case in cases:
        nearest.setdefault((case.category, case.defect_type), case.distance)
    found = []
    for mode in knowledge.of("mode"):
        distance = nearest.get((mode.values["category"], mode.values.get("defect_type", "")))
        if distance is None:
            continue
        causes: list[dict[str, Any]] = [
            {
                "id": cause.id,
                "name": cause.name,
                "actions": [item.name for item in knowledge.before(cause.id, "action")],
            }
            for cause in knowledge.before(mode.id, "cause")
        ]
        own = [item.name for item in knowledge.before(mode.id, "action")]
        told = {"mode": mode.id, "name": mode.name, "distance": distance, "actions": own, "causes": causes}
        found.append(schemas.TracedMode.model_validate(told))
    return sorted(found, key=lambda mode: (mode.distance, mode.mode))


def _places(_: Any, explanation: Explanation) -> list[schemas.TracedPlace]:
    return [
        schemas.TracedPlace(box=pair.box, distance=pair.peak, good_image=pair.good.image, good_box=pair.good.box)
        for pair in explanation.places
    ]
