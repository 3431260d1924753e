"""The category that a page is about: the one in the address or, without it, the project's first."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request

from gonogo.params import Params
from gonogo.workbench.workbench import PARAMS, Workbench

Name = Annotated[str | None, Query(max_length=200)]


@dataclass(frozen=True)
class Chosen:
    """The category, and all categories of the project."""

    name: str
    all: list[str]


def chosen_category(category: Name = None) -> Chosen:
    """The category of a request.

    Raises:
        ConfigError: the project has no such category.
    """
    names = Params(PARAMS, category).categories
    return Chosen(category or names[0], names)


ChosenCategory = Annotated[Chosen, Depends(chosen_category)]


def workbench_of(request: Request) -> Workbench:
    """The workbench that the request is for."""
    workbench: Workbench = request.app.state.service
    return workbench
