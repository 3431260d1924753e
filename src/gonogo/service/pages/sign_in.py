"""Signing in with a key, signing out, and the choice of a language."""

from typing import Annotated

from fastapi import Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from gonogo.service.pages.access import (
    SIGN_IN,
    local_path,
    remove_session,
    require_own_form,
    secret_of,
    session_key,
    set_session,
)
from gonogo.service.pages.rendering import LANGUAGE_COOKIE, render
from gonogo.service.pages.texts import LANGUAGES
from gonogo.service.problems import Problem
from gonogo.service.routes.access import service_of

YEAR = 365 * 86_400  # seconds


async def sign_in_page(request: Request, next_page: Annotated[str, Query(alias="next")] = "/") -> Response:
    """The page for signing in; whoever is signed in is led on."""
    if await session_key(request) is not None:
        return RedirectResponse(local_path(next_page), 303)
    return render(request, "sign_in.html.j2", next_page=local_path(next_page), error=None)


async def sign_in(
    request: Request,
    key: Annotated[str, Form(max_length=1000)] = "",
    next_page: Annotated[str, Form(alias="next", max_length=2000)] = "/",
) -> Response:
    """Begin a session with a key, and go on to the page that was wanted."""
    require_own_form(request)
    address = request.client.host if request.client else ""
    try:
        secret = await service_of(request).sessions.begin(key.strip(), address=address)
    except Problem as problem:
        if problem.kind not in ("unauthorized", "rate-limit"):
            raise
        return render(
            request,
            "sign_in.html.j2",
            status=problem.status,
            headers={name: value for name, value in problem.headers.items() if name == "Retry-After"},
            next_page=local_path(next_page),
            error=problem,
        )
    response = RedirectResponse(local_path(next_page), 303)
    set_session(request, response, secret)
    return response


async def sign_out(request: Request) -> Response:
    """End the session. Pictures of parts leave the browser's cache too."""
    require_own_form(request)
    secret = secret_of(request)
    if secret is not None:
        await service_of(request).sessions.end(secret)
    response = RedirectResponse(SIGN_IN, 303, headers={"Clear-Site-Data": '"cache"'})
    remove_session(response)
    return response


async def choose_language(
    request: Request,
    language: Annotated[str, Form(max_length=10)],
    next_page: Annotated[str, Form(alias="next", max_length=2000)] = "/",
) -> Response:
    """Remember the language in a cookie."""
    require_own_form(request)
    if language not in LANGUAGES:
        raise Problem("invalid-request", f"the language is one of {', '.join(LANGUAGES)}")
    response = RedirectResponse(local_path(next_page), 303)
    response.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR, path="/", httponly=True, samesite="strict")
    return response
