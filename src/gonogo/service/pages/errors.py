"""Refusals as pages, for whoever asks for a page; programs get problem documents."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from gonogo.service.pages.access import SIGN_IN
from gonogo.service.pages.rendering import is_fragment, render, request_texts
from gonogo.service.problems import URN, Problem

Handler = Callable[[Request, Any], Awaitable[Response]]
API = ("/v1/", "/metrics", "/healthz", "/readyz", "/openapi.json")  # paths whose refusals are for programs alone


def wants_page(request: Request) -> bool:
    """Whether whoever sent the request reads pages."""
    return not request.url.path.startswith(API) and "text/html" in request.headers.get("accept", "")


def with_pages(handler: Handler) -> Handler:
    """A handler of exceptions whose problem document becomes a page where a page is wanted."""

    async def handle(request: Request, error: Any) -> Response:
        response = await handler(request, error)
        return as_page(request, response) if wants_page(request) or is_fragment(request) else response

    return handle


def refuse(request: Request, problem: Problem) -> Response:
    """The response for a problem that no route has seen."""
    response = problem.response(request.url.path)
    return as_page(request, response) if wants_page(request) or is_fragment(request) else response


def as_page(request: Request, response: Response) -> Response:
    """The page, or the fragment of one, that says what a problem document says."""
    document = json.loads(bytes(response.body))
    headers = {name: response.headers[name] for name in ("retry-after", "connection") if name in response.headers}
    kind, t = str(document["type"]).removeprefix(URN), request_texts(request)
    title = t(f"problem.{kind}") if t.known(f"problem.{kind}") else t("problem.other")
    values = {"title": title, "document": document, "errors": document.get("errors", [])}
    if is_fragment(request):  # into the place for messages, whatever the request was for
        headers |= {"HX-Retarget": "#messages", "HX-Reswap": "innerHTML", "HX-Push-Url": "false"}
        return render(request, "problem_message.html.j2", status=response.status_code, headers=headers, **values)
    return render(request, "problem.html.j2", status=response.status_code, headers=headers, **values)


async def sign_in_response(request: Request, _: Any) -> Response:
    """The response for a request without a session: it leads to the page for signing in, and from there back."""
    if is_fragment(request):
        return Response(status_code=401, headers={"HX-Redirect": SIGN_IN})
    if request.method != "GET" or not wants_page(request):
        return refuse(request, Problem("unauthorized", "you are not signed in, or your session has ended"))
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(SIGN_IN if here == "/" else f"{SIGN_IN}?next={quote(here, safe='/')}", 303)
