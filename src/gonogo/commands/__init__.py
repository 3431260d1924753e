"""The commands that need the pipeline's packages, one file each: `run(arguments)` does it and returns an `Answer`."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a command has to say: as JSON values, as text for people, and whether a check said no."""

    report: dict[str, Any]
    text: str
    passed: bool = True
