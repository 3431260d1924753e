"""Processes that find what an extra of gonogo brings and nothing else, however much is installed beside it."""

from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REFUSING = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}: it is blocked", name=name)
sys.meta_path.insert(0, Refuse())
"""


def refusing(*extras: str) -> str:
    """Python that blocks, in the process that runs it, every installed package that `gonogo[extras]` does not need."""
    needed = set(_needed("gonogo", frozenset(extras), {}))
    blocked = {
        package
        for package, distributions in packages_distributions().items()
        if package.isidentifier() and needed.isdisjoint(map(canonicalize_name, distributions))
    }
    return REFUSING.format(blocked=blocked)


def refusing_folder(folder: Path, *extras: str) -> str:
    """A folder for PYTHONPATH that does so at the start of a process and of those that it starts."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(refusing(*extras))
    return str(folder)


@cache
def _requirements(name: str) -> tuple[Requirement, ...]:
    return tuple(map(Requirement, requires(name) or ()))


def _needed(name: str, extras: frozenset[str], seen: dict[str, set[str]]) -> Iterator[str]:
    """The names of the distributions that one needs, itself among them, with so many of its extras."""
    name = canonicalize_name(name)
    if name in seen and extras <= seen[name]:
        return
    seen.setdefault(name, set()).update(extras)
    yield name
    for one in _requirements(name):
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield from _needed(one.name, frozenset(one.extras), seen)
