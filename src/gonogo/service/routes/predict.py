"""The route that says which defects an image has and where, of a gauge that finds boxes. It stores nothing."""

from dataclasses import asdict

from fastapi import Request
from fastapi.responses import Response

from gonogo.service import schemas
from gonogo.service.inspecting import Judgement, certificate_fields
from gonogo.service.problems import Problem
from gonogo.service.routes.access import inspector_key, service_of
from gonogo.service.routes.inspect_images import PixelsQuery, as_image, of_body, raise_problems
from gonogo.service.uploads import Upload


async def predict(request: Request, pixels: PixelsQuery = None) -> Response:
    """The boxes of one image or of a batch, at or above the certified threshold, best first; no inspection is kept.

    Where a box model stands beside a gauge, its verdict is told, and not that of the gauge.
    """
    key, service = await inspector_key(request), service_of(request)
    if service.gauge.scorer.bundles[-1].box_classes is None:
        raise Problem("invalid-request", "the bundle in use finds no boxes; send the image to /v1/inspect")

    async def work(upload: Upload) -> Judgement:
        return await service.runner.judge_boxes(await as_image(upload, pixels, service.settings), key)

    outcomes = await of_body(
        request,
        key,
        work,
        name=None,
        seconds=service.settings.deadline,
    )
    raise_problems(outcomes)
    predictions = [_prediction(outcome) for outcome in outcomes if isinstance(outcome, Judgement)]
    return Response(schemas.Predictions(predictions=predictions).model_dump_json(), media_type="application/json")


def _prediction(judgement: Judgement) -> schemas.Prediction:
    verdict, scorer = judgement.verdict, judgement.scorer
    classes = scorer.box_classes
    if verdict.boxes is None or classes is None:  # another bundle was activated meanwhile
        raise Problem("invalid-request", "the bundle in use finds no boxes any more; send the image to /v1/inspect")
    return schemas.Prediction(
        verdict=verdict.label,
        score=verdict.score,
        threshold=verdict.threshold,
        confidences=classes.confidences(verdict.threshold),
        boxes=[schemas.PredictedBox(**asdict(box)) for box in verdict.boxes],
        category=scorer.category,
        bundle=scorer.fingerprint,
        certificate=schemas.Certificate(**certificate_fields(scorer.record)),
    )
