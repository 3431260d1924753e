"""The pages that the navigation leads to, in its order, each with the role that it needs."""

from typing import NamedTuple

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
    Entry("/analytics", "nav.analytics", "inspect"),
    Entry("/drift", "nav.drift", "inspect"),
    Entry("/arena", "nav.arena", "inspect"),
)


def entries_for(role: str) -> list[Entry]:
    """The entries that a key with this role may open."""
    return [entry for entry in NAVIGATION if ROLES.index(entry.role) <= ROLES.index(role)]


def entry_of(path: str) -> Entry | None:
    """The entry that a path belongs to."""
    return next((entry for entry in NAVIGATION if path == entry.path or path.startswith(f"{entry.path}/")), None)
