"""The pages that the navigation leads to, in its order, each with the role that it needs."""

from typing import NamedTuple

from fastapi import Request

from gonogo.service.security import ROLES


class Entry(NamedTuple):
    """A page of the navigation: its path, the key of its title in the catalogues, and the lowest role that sees it."""

    path: str
    title: str
    role: str


NAVIGATION = (
    Entry("/", "nav.inspector", "inspect"),
    Entry("/review", "nav.review", "review"),
    Entry("/cases", "nav.cases", "inspect"),
    Entry("/knowledge", "nav.knowledge", "inspect"),
    Entry("/analytics", "nav.analytics", "inspect"),
    Entry("/drift", "nav.drift", "inspect"),
    Entry("/arena", "nav.arena", "inspect"),
)


class PageSet(NamedTuple):
    """What the pages of an application are made of.

    navigation: its entries.
    others: packages with folders `templates`, `static` and `texts` beside those of `gonogo.service.pages`.
    """

    navigation: tuple[Entry, ...]
    others: tuple[str, ...] = ()


SERVICE = PageSet(NAVIGATION)


def pages_of(request: Request) -> PageSet:
    """The pages of the application that the request is for."""
    found: PageSet = getattr(request.app.state, "pages", SERVICE)
    return found


def entries_for(role: str, navigation: tuple[Entry, ...] = NAVIGATION) -> list[Entry]:
    """The entries that a key with this role may open."""
    return [entry for entry in navigation if ROLES.index(entry.role) <= ROLES.index(role)]


def entry_of(path: str, navigation: tuple[Entry, ...] = NAVIGATION) -> Entry | None:
    """The entry that a path belongs to."""
    return next((entry for entry in navigation if path == entry.path or path.startswith(f"{entry.path}/")), None)
