"""Who looks at a page: the session of a browser's cookie, its key and role, and the check that a form is our own."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.responses import Response

from gonogo.service.problems import Problem
from gonogo.service.routes.access import service_of
from gonogo.service.security import ROLES, Key, require_role

COOKIE, SECURE_COOKIE = "gonogo", "__Host-gonogo"  # the latter with TLS, which browsers require for this prefix
SIGN_IN = "/sign-in"


class SignInRequired(Exception):
    """The request has no session, or one that has ended."""


def page_key(role: str) -> Callable[[Request], Awaitable[Key]]:
    """A dependency of FastAPI: the key of the session, which has at least this role and pays for one request.

    A request that changes something must come from one of our own pages.
    """

    async def key_of(request: Request) -> Key:
        require_own_form(request)
        key = await session_key(request)
        if key is None:
            raise SignInRequired
        require_role(key, role)
        service_of(request).keys.charge(key, 1)
        request.state.key = key
        return key

    return key_of


inspector_page_key, reviewer_page_key, admin_page_key = (page_key(role) for role in ROLES)
InspectorPageKey = Annotated[Key, Depends(inspector_page_key)]
ReviewerPageKey = Annotated[Key, Depends(reviewer_page_key)]
AdminPageKey = Annotated[Key, Depends(admin_page_key)]


async def session_key(request: Request, *, in_use: bool = True) -> Key | None:
    """The key of the request's session; None without a session in force. `in_use` is that of `Sessions.key_of`."""
    secret = secret_of(request)
    return None if secret is None else await service_of(request).sessions.key_of(secret, in_use=in_use)


def secret_of(request: Request) -> str | None:
    """The secret in the request's cookie; with TLS only the cookie counts that no other host can have set."""
    secure = request.cookies.get(SECURE_COOKIE)
    return secure if secure or service_of(request).settings.tls else request.cookies.get(COOKIE)


def set_session(request: Request, response: Response, secret: str) -> None:
    """Give the browser the cookie of a session."""
    secure = _by_tls(request)
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE, secret, path="/", secure=secure, httponly=True, samesite="strict"
    )


def remove_session(response: Response) -> None:
    """Take the cookie of the session from the browser."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    response.delete_cookie(SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="strict")


def require_own_form(request: Request) -> None:
    """Refuse a request that changes something, unless one of our own pages sent it.

    Browsers say so in Sec-Fetch-Site or, without TLS, in Origin alone; no page can forge either. The cookie itself is
    SameSite=Strict; this is the second lock.

    Raises:
        Problem: another site sent it, or nobody says who did.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    site, host = request.headers.get("sec-fetch-site"), request.headers.get("host", "")
    if site is None:
        own = host != "" and urlsplit(request.headers.get("origin", "")).netloc == host
    else:
        own = site == "same-origin"
    if not own:
        raise Problem("forbidden", "this form was not sent by a page of this service; open the page anew and try again")


def local_path(text: str) -> str:
    """`text` where it is a path on this service, otherwise that of the first page: a redirect leads nowhere else."""
    parts = urlsplit(text)
    local = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return text if local and text.isprintable() else "/"


def _by_tls(request: Request) -> bool:
    """Whether the browser talks TLS, to this service or to a proxy before it: its page's own origin says so."""
    return service_of(request).settings.tls or request.headers.get("origin", "").startswith("https://")
