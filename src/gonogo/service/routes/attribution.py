"""The route about what the score of an inspection is made of."""

from fastapi import Request

from gonogo.line.explain import Explanation, why_whole
from gonogo.service import schemas
from gonogo.service.routes.abandoned import unless_abandoned
from gonogo.service.routes.access import InspectorKey, service_of
from gonogo.service.routes.inspections import Identifier, stored_row
from gonogo.service.stored_image import stored_image


async def attribution(request: Request, key: InspectorKey, identifier: Identifier) -> schemas.Attribution:
    """What the score is made of: contributions of the regions that sum to it, computed again by the bundle of then."""
    row, service = await stored_row(request, identifier), service_of(request)
    work = service.runner.explain(
        await stored_image(service.store, row),
        key,
        bundle=row["bundle"],
        top=1,
        render=lambda _, explanation: explanation,
    )
    with service.runner.reserve_slot(key):
        explanation: Explanation = await unless_abandoned(request, work, service.settings.deadline)
    found = explanation.attribution
    if found is None:
        return schemas.Attribution.model_validate(
            {"score": explanation.verdict.score, "whole": why_whole(service.gauge.scorer)}
        )
    return schemas.Attribution.model_validate(found.to_dict() | {"whole": None})
