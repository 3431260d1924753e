"""From a template to a response: the language, the navigation and the headers of every page."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from gonogo.service.pages.assets import address_of
from gonogo.service.pages.formats import Formats
from gonogo.service.pages.navigation import entries_for, entry_of, pages_of
from gonogo.service.pages.texts import LANGUAGES, Texts, preferred_language, texts_of
from gonogo.service.security import ROLES, Key

LANGUAGE_COOKIE = "gonogo-language"
OWN_CAMERA = "camera=(self), geolocation=(), microphone=()"  # of the page that has a camera
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",  # with none at all, a form's Origin would be null
    "Vary": "HX-Request, Cookie, Accept-Language",
}


@cache
def templates(others: Sequence[str] = ()) -> Environment:
    """The templates, here and in other packages; they escape every value and refuse a name that they are not given."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (__package__, *others)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def language_of(request: Request) -> str:
    """The language that the person chose or, without a choice, the browser's."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else preferred_language(request.headers.get("accept-language", ""))


def request_texts(request: Request) -> Texts:
    """The texts in the request's language."""
    return texts_of(language_of(request), pages_of(request).others)


def is_fragment(request: Request) -> bool:
    """Whether a script asks for a part of a page, to put it into the page that is open."""
    return request.headers.get("hx-request") == "true" and "hx-history-restore-request" not in request.headers


def render(
    request: Request, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """The response of a template, a page or a fragment; `fragment_text` says what a template has beside `values`."""
    return HTMLResponse(fragment_text(request, template, **values), status, headers=HEADERS | (headers or {}))


def fragment_text(request: Request, template: str, **values: Any) -> str:
    """The text of a template.

    Beside `values` it has `t`, the texts; `f`, formats of what inspections hold; `key`, of the session, None without
    one; `may(role)`; `asset(name)`, the address of a static file; and `entries` with `entry`, the navigation.
    """
    t, key, pages = request_texts(request), key_in(request), pages_of(request)
    return (
        templates(pages.others)
        .get_template(template)
        .render(
            t=t,
            f=Formats(t),
            key=key,
            may=lambda role: key is not None and ROLES.index(role) <= ROLES.index(key.role),
            asset=partial(address_of, others=pages.others),
            entries=[] if key is None else entries_for(key.role, pages.navigation),
            entry=entry_of(request.url.path, pages.navigation),
            languages=LANGUAGES,
            here=f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path,
            **values,
        )
    )


def key_in(request: Request) -> Key | None:
    """The key that `page_key` found for the request; None on pages that need none."""
    key: Key | None = getattr(request.state, "key", None)
    return key
