"""Values and differences as text, and tables of them in Markdown."""

import re
from collections.abc import Sequence
from typing import Any

BARE_BAR = re.compile(r"(?<!\\)\|")


def readable(value: Any) -> str:
    """The value in at most six significant digits, so that a small one stays visible; nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def difference(old: Any, new: Any) -> str:
    """How far a number moved, with its sign; nothing for equal ones and for what is no number."""
    if old == new or any(isinstance(value, bool) or not isinstance(value, int | float) for value in (old, new)):
        return ""
    return f"{new - old:+d}" if isinstance(new - old, int) else f"{new - old:+.3g}"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, n_names: int = 1) -> list[str]:
    """The lines of a Markdown table; none without a row.

    A bar in a cell is written so that it ends no column, and a line end as a blank.

    Args:
        n_names: so many columns at the left are names; the others are numbers, and stand to the right, unless their
            head is empty.
    """
    rule = ["---"] * n_names + ["---:" if head else "---" for head in heads[n_names:]]
    lines = (heads, rule, *rows)
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines] if rows else []


def _cell(text: str) -> str:
    return BARE_BAR.sub(r"\\|", " ".join(text.splitlines()))
