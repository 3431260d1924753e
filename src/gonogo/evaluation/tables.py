"""Values and differences as text, and tables of them in Markdown."""

from collections.abc import Sequence
from typing import Any


def readable(value: Any) -> str:
    """The value in at most six significant digits, so that a small one stays visible; nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value).replace("|", "\\|")
    return text if len(text) <= 40 else f"{text[:39]}…"


def difference(old: Any, new: Any) -> str:
    """How far a number moved, with its sign; nothing for equal ones and for what is no number."""
    if old == new or any(isinstance(value, bool) or not isinstance(value, int | float) for value in (old, new)):
        return ""
    return f"{new - old:+d}" if isinstance(new - old, int) else f"{new - old:+.3g}"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, numbers to the right under every head but the first; none without a row."""
    rule = ["---", *("---:" if head else "---" for head in heads[1:])]
    return [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)] if rows else []
