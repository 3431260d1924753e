"""The commands with a file each, most of which need the pipeline's packages: `run(arguments)` returns an `Answer`."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a command has to say: as JSON values, as text for people, and whether a check said no."""

    report: dict[str, Any]
    text: str
    passed: bool = True
