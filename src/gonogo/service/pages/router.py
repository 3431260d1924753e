"""All routes of the pages. None of them is in the OpenAPI document, which is for programs."""

from fastapi import APIRouter

from gonogo.service.pages import analytics, arena, cases, drift, inspector, knowledge, parts, reports, review
from gonogo.service.pages.assets import PREFIX, asset
from gonogo.service.pages.sign_in import choose_language, sign_in, sign_in_page, sign_out


def pages_router() -> APIRouter:
    """A router with the routes of all pages."""
    made = common_router()
    for each in (inspector, cases, reports, parts, review, knowledge, analytics, drift, arena):
        made.include_router(each.router)
    made.include_router(parts.past)
    return made


def common_router() -> APIRouter:
    """A router with the routes that every set of pages has: static files, signing in and out, and the language."""
    made = APIRouter(include_in_schema=False)
    made.add_api_route(f"{PREFIX}/{{digest}}/{{name:path}}", asset, methods=["GET"])
    made.add_api_route("/sign-in", sign_in_page, methods=["GET"])
    made.add_api_route("/sign-in", sign_in, methods=["POST"])
    made.add_api_route("/sign-out", sign_out, methods=["POST"])
    made.add_api_route("/language", choose_language, methods=["POST"])
    return made
