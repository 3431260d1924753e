"""The parts of the OpenAPI document that FastAPI cannot derive from the signatures of the routes."""

from typing import Any

from gonogo.service.problems import MEDIA_TYPE, STATUSES
from gonogo.service.uploads import MEDIA_TYPES

Responses = dict[int | str, dict[str, Any]]  # OpenAPI's responses by their HTTP status
PNG_RESPONSE: Responses = {200: {"content": {"image/png": {}}, "description": "PNG"}}
IMAGE_RESPONSE: Responses = {
    200: {"content": {media_type: {} for media_type in MEDIA_TYPES}, "description": "the file as it was sent"}
}
CSV_RESPONSE: Responses = {200: {"content": {"text/csv": {}}, "description": "a table"}}
JSON_LD_RESPONSE: Responses = {200: {"content": {"application/ld+json": {}}, "description": "JSON-LD"}}
GRAPHML_RESPONSE: Responses = {200: {"content": {"application/graphml+xml": {}}, "description": "GraphML"}}
ZIP_RESPONSE: Responses = {200: {"content": {"application/zip": {}}, "description": "manifest and images"}}
LINES_RESPONSE: Responses = {
    200: {"content": {"application/x-ndjson": {}}, "description": "a JSON line for each image"}
}
_BINARY: dict[str, Any] = {"type": "string", "format": "binary", "minLength": 1}
_FORM_FIELDS = {
    "type": "object",
    "properties": {"image": {"type": "array", "items": _BINARY, "minItems": 1}},
    "required": ["image"],
    "additionalProperties": False,
}
_FORM = {"schema": _FORM_FIELDS, "encoding": {"image": {"contentType": ", ".join(MEDIA_TYPES)}}}
_RAW_BODIES = {media_type: {"schema": _BINARY} for media_type in (*MEDIA_TYPES, "application/octet-stream")}
IMAGES_BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": _FORM} | _RAW_BODIES}}
# The kinds of problems that every route with a key may respond with.
_COMMON_PROBLEMS = (
    "bad-request",
    "unauthorized",
    "forbidden",
    "rate-limit",
    "invalid-request",
    "too-large",
    "body-timeout",
    "store-unavailable",
    "store-full",
)


def problem_responses(*kinds: str) -> Responses:
    """The responses for these kinds of problems, and for those that every route with a key has."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    responses: Responses = {}
    for kind in (*kinds, *_COMMON_PROBLEMS):
        responses.setdefault(STATUSES[kind], {"description": kind, "content": content})
    return responses
