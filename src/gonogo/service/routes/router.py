"""All routes with their paths, and with what the OpenAPI document says about them."""

from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response, StreamingResponse
from fastapi.security import HTTPBearer

from gonogo.service import schemas
from gonogo.service.routes.access import admin_key, inspector_key, known_query, reviewer_key
from gonogo.service.routes.analytics import analytics, analytics_csv
from gonogo.service.routes.attribution import attribution
from gonogo.service.routes.bundles import activate, bundles, reload_registry
from gonogo.service.routes.cases import cases, crop, describe, similar, trace
from gonogo.service.routes.certificate import certificate, drift, reinstate
from gonogo.service.routes.depth import depth, depth_view
from gonogo.service.routes.inspect_images import InspectQuery, inspect, inspect_stream
from gonogo.service.routes.inspections import (
    anomaly_map,
    crop_at_peak,
    image,
    inspection,
    inspections,
    overlay,
    review,
    undo,
)
from gonogo.service.routes.knowledge import change, graphml, history, json_ld, knowledge
from gonogo.service.routes.openapi import (
    CSV_RESPONSE,
    GRAPHML_RESPONSE,
    IMAGE_RESPONSE,
    IMAGES_BODY,
    JSON_LD_RESPONSE,
    LINES_RESPONSE,
    PNG_RESPONSE,
    ZIP_RESPONSE,
    Responses,
    problem_responses,
)
from gonogo.service.routes.predict import predict
from gonogo.service.routes.reports import correct, corrections, report, write_report
from gonogo.service.routes.reviewing import audit, defect_types, export, next_review, skip
from gonogo.service.routes.state import healthz, metrics, readyz

INSPECTION = "/v1/inspections/{id}"


def router() -> APIRouter:
    """A router with all routes."""
    made = APIRouter()
    bearer = HTTPBearer(auto_error=False)  # only for the OpenAPI document: `access` reads the header
    # The route's signature names the role.
    own_key_check: dict[str, Any] = {"dependencies": [Depends(bearer), Depends(known_query)]}
    any_key: dict[str, Any] = {"dependencies": [Depends(bearer), Depends(inspector_key), Depends(known_query)]}
    post, get = ["POST"], ["GET"]
    known = problem_responses("not-found")
    drawn = problem_responses("not-found", "other-bundle", "image-expired", "busy") | PNG_RESPONSE
    made.add_api_route(
        "/v1/inspect",
        inspect,
        methods=post,
        response_model=schemas.Inspections,
        responses=problem_responses("bad-request", "unsupported-media-type", "busy", "deadline", "unreadable-image"),
        openapi_extra=IMAGES_BODY | {"parameters": InspectQuery.parameters(), "security": [{bearer.scheme_name: []}]},
    )
    made.add_api_route(
        "/v1/predict",
        predict,
        methods=post,
        response_model=schemas.Predictions,
        responses=problem_responses("bad-request", "unsupported-media-type", "busy", "deadline", "unreadable-image"),
        openapi_extra=IMAGES_BODY | {"security": [{bearer.scheme_name: []}]},
        dependencies=[Depends(known_query)],
    )
    made.add_api_route(
        "/v1/inspect:stream",
        inspect_stream,
        methods=post,
        responses=problem_responses("unsupported-media-type", "unreadable-image") | LINES_RESPONSE,
        response_class=StreamingResponse,
        openapi_extra=IMAGES_BODY,
        **own_key_check,
    )
    made.add_api_route("/v1/inspections", inspections, methods=get, responses=problem_responses(), **any_key)
    made.add_api_route(INSPECTION, inspection, methods=get, responses=known, **any_key)
    stored = problem_responses("not-found", "image-expired") | IMAGE_RESPONSE
    for name, route, responses in (
        ("image", image, stored),
        ("map", anomaly_map, drawn),
        ("overlay", overlay, drawn),
        ("crop", crop_at_peak, drawn),
    ):
        made.add_api_route(
            f"{INSPECTION}/{name}", route, methods=get, responses=responses, response_class=Response, **any_key
        )
    computed = problem_responses("not-found", "other-bundle", "image-expired", "busy")
    made.add_api_route(f"{INSPECTION}/attribution", attribution, methods=get, responses=computed, **own_key_check)
    looked = problem_responses("not-found", "image-expired", "busy", "deadline", "network-failed")
    made.add_api_route(f"{INSPECTION}/depth", depth, methods=get, responses=looked, **own_key_check)
    looked = looked | PNG_RESPONSE
    made.add_api_route(
        f"{INSPECTION}/depth/view", depth_view, methods=get, responses=looked, response_class=Response, **own_key_check
    )
    made.add_api_route(
        f"{INSPECTION}/report",
        write_report,
        methods=post,
        status_code=202,
        response_model=schemas.Report,
        responses=known,
        **own_key_check,
    )
    made.add_api_route(f"{INSPECTION}/report", report, methods=get, responses=known, **any_key)
    made.add_api_route(f"{INSPECTION}/correct", correct, methods=post, responses=known, **own_key_check)
    made.add_api_route(f"{INSPECTION}/corrections", corrections, methods=get, responses=known, **any_key)
    made.add_api_route(f"{INSPECTION}/review", review, methods=post, responses=known, **own_key_check)
    made.add_api_route(f"{INSPECTION}/review:undo", undo, methods=post, responses=known, **own_key_check)
    made.add_api_route(
        f"{INSPECTION}/review:skip", skip, methods=post, status_code=204, responses=known, **own_key_check
    )
    made.add_api_route("/v1/reviews:next", next_review, methods=post, responses=problem_responses(), **own_key_check)
    made.add_api_route(
        "/v1/reviews:export",
        export,
        methods=get,
        responses=problem_responses() | ZIP_RESPONSE,
        response_class=StreamingResponse,
        dependencies=[Depends(bearer), Depends(reviewer_key), Depends(known_query)],
    )
    compared = problem_responses("not-found", "other-category", "image-expired", "busy", "deadline")
    made.add_api_route(f"{INSPECTION}/similar", similar, methods=get, responses=compared, **any_key)
    traced = problem_responses("not-found", "other-bundle", "other-category", "image-expired", "busy", "deadline")
    made.add_api_route(f"{INSPECTION}/trace", trace, methods=get, responses=traced, **own_key_check)
    found = problem_responses("network-failed", "deadline")
    made.add_api_route("/v1/cases", cases, methods=get, responses=found, **any_key)
    made.add_api_route(
        "/v1/cases/{id}/crop", crop, methods=get, responses=known | IMAGE_RESPONSE, response_class=Response, **any_key
    )
    made.add_api_route("/v1/cases/{id}/facts", describe, methods=post, responses=known, **own_key_check)
    made.add_api_route("/v1/knowledge", knowledge, methods=get, responses=problem_responses(), **any_key)
    written: dict[str, Any] = {"methods": get, "response_class": Response, **any_key}
    for name, told, response in (("jsonld", json_ld, JSON_LD_RESPONSE), ("graphml", graphml, GRAPHML_RESPONSE)):
        made.add_api_route(f"/v1/knowledge.{name}", told, responses=problem_responses() | response, **written)
    made.add_api_route("/v1/knowledge/{id}", history, methods=get, responses=known, **any_key)
    made.add_api_route(
        "/v1/knowledge/{id}",
        change,
        methods=post,
        responses=problem_responses("not-found", "changed-meanwhile"),
        **own_key_check,
    )
    made.add_api_route("/v1/defect_types", defect_types, methods=get, responses=problem_responses(), **any_key)
    made.add_api_route("/v1/audit", audit, methods=get, responses=problem_responses(), **any_key)
    made.add_api_route("/v1/analytics", analytics, methods=get, responses=problem_responses(), **any_key)
    made.add_api_route(
        "/v1/analytics.csv",
        analytics_csv,
        methods=get,
        responses=problem_responses() | CSV_RESPONSE,
        response_class=Response,
        **any_key,
    )
    made.add_api_route("/v1/bundles", bundles, methods=get, responses=problem_responses(), **any_key)
    refused = problem_responses("bundle-refused", "not-found", "other-category", "not-promoted")
    made.add_api_route("/v1/bundles:activate", activate, methods=post, responses=refused, **own_key_check)
    made.add_api_route("/v1/certificate", certificate, methods=get, responses=problem_responses(), **any_key)
    made.add_api_route("/v1/drift", drift, methods=get, responses=problem_responses(), **any_key)
    made.add_api_route(
        "/v1/certificate:reinstate",
        reinstate,
        methods=post,
        responses=problem_responses("other-bundle"),
        **own_key_check,
    )
    refused = problem_responses("bundle-refused", "not-found")
    made.add_api_route(
        "/v1/registry:reload",
        reload_registry,
        methods=post,
        responses=refused,
        dependencies=[Depends(bearer), Depends(admin_key), Depends(known_query)],
    )
    made.add_api_route("/healthz", healthz, methods=get)
    not_ready: Responses = {503: {"model": schemas.Readiness}}
    made.add_api_route("/readyz", readyz, methods=get, responses=not_ready, response_model=schemas.Readiness)
    made.add_api_route(
        "/metrics", metrics, methods=get, responses=problem_responses(), response_class=Response, **any_key
    )
    return made
