"""The result of a command."""

from dataclasses import dataclass
from typing import Any

from gonogo.cli.exit_status import DONE


@dataclass(frozen=True)
class Answer:
    """What a command prints, and its exit status.

    Attributes:
        report: JSON values, printed with `--json`.
        text: printed without `--json`; nothing is printed if it is empty.
        status: one of `gonogo.cli.exit_status`.
    """

    report: dict[str, Any]
    text: str
    status: int = DONE
