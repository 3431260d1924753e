"""A graph of knowledge as shapes of SVG, which the server lays out: causes on the left of what they lead to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gonogo.service.knowledge_schemas import KnowledgeItem, KnowledgeLink

WIDE, HIGH = 172, 44  # of a box
ACROSS, DOWN = 236, 58  # from a box to the next
MARGIN = 8
LINE, LINES = 24, 2  # letters of a line, and lines of a name
SWEEPS = 6
# The least column, from the right, of each kind, so that what has no link yet stands among its own.
LEAST_COLUMN = {"effect": 0, "mode": 1, "cause": 2, "control": 2, "action": 2}


def graph_chart(items: Sequence[KnowledgeItem], links: Sequence[KnowledgeLink]) -> dict[str, Any] | None:
    """The `boxes` as (x, y, lines, item) and the `arrows` as (path, link); None where there is no item.

    Columns are the longest ways to an end, and boxes stand in their column by the mean place of their neighbours, which
    leaves few crossings.

    Source: Sugiyama, Tagawa and Toda 1981.
    """
    if not items:
        return None
    column = _columns(items, links)
    n_columns = max(column.values()) + 1
    order: dict[int, list[str]] = defaultdict(list)
    for item in sorted(items, key=lambda item: (item.kind, item.name)):
        order[column[item.id]].append(item.id)
    neighbours: dict[str, list[str]] = defaultdict(list)
    for link in links:
        neighbours[link.source].append(link.target)
        neighbours[link.target].append(link.source)
    row = _rows(order, neighbours, n_columns)
    place = {
        item.id: (MARGIN + (n_columns - 1 - column[item.id]) * ACROSS, MARGIN + row[item.id] * DOWN) for item in items
    }
    return {
        "width": 2 * MARGIN + (n_columns - 1) * ACROSS + WIDE,
        "height": 2 * MARGIN + max(len(each) for each in order.values()) * DOWN - DOWN + HIGH,
        "wide": WIDE,
        "high": HIGH,
        "boxes": [(*place[item.id], lines_of(item.name), item) for item in items],
        "arrows": [(_arrow(place[link.source], place[link.target]), link) for link in links],
    }


def lines_of(name: str) -> list[str]:
    """A name in at most LINES lines of about LINE letters; what is too long ends in an ellipsis."""
    lines: list[str] = []
    for word in name.split():
        if lines and len(lines[-1]) + 1 + len(word) <= LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    cut = [line if len(line) <= LINE else f"{line[: LINE - 1]}…" for line in lines[:LINES]]
    if len(lines) > LINES and not cut[-1].endswith("…"):
        cut[-1] = f"{cut[-1][: LINE - 1]}…"
    return cut


def _columns(items: Sequence[KnowledgeItem], links: Sequence[KnowledgeLink]) -> dict[str, int]:
    """The column of each item from the right; the links make no circle, as `knowledge_of` has checked."""
    after: dict[str, list[str]] = defaultdict(list)
    waiting: dict[str, int] = defaultdict(int)
    for link in links:
        after[link.target].append(link.source)
        waiting[link.source] += 1
    column = {item.id: LEAST_COLUMN[item.kind] for item in items}
    ready = [item.id for item in items if not waiting[item.id]]
    while ready:
        at = ready.pop()
        for source in after[at]:
            column[source] = max(column[source], column[at] + 1)
            waiting[source] -= 1
            if not waiting[source]:
                ready.append(source)
    used = sorted(set(column.values()))
    return {identifier: used.index(number) for identifier, number in column.items()}


def _rows(order: dict[int, list[str]], neighbours: Mapping[str, list[str]], n_columns: int) -> dict[str, float]:
    """The row of each item; a column with fewer items than another is centred beside it."""
    tallest = max(len(each) for each in order.values())

    def placed() -> dict[str, float]:
        return {
            identifier: number + (tallest - len(column)) / 2
            for column in order.values()
            for number, identifier in enumerate(column)
        }

    for sweep in range(SWEEPS):
        for number in range(n_columns) if sweep % 2 else reversed(range(n_columns)):
            row = placed()

            def mean_row(identifier: str, row: Mapping[str, float] = row) -> float:
                rows = [row[each] for each in neighbours[identifier]]
                return sum(rows) / len(rows) if rows else row[identifier]

            order[number].sort(key=mean_row)
    return placed()


def _arrow(source: tuple[float, float], target: tuple[float, float]) -> str:
    begin, end = (source[0] + WIDE, source[1] + HIGH / 2), (target[0] - 6, target[1] + HIGH / 2)
    bend = max(24.0, (end[0] - begin[0]) / 2)
    return (
        f"M{begin[0]:.0f} {begin[1]:.0f}C{begin[0] + bend:.0f} {begin[1]:.0f} "
        f"{end[0] - bend:.0f} {end[1]:.0f} {end[0]:.0f} {end[1]:.0f}"
    )
