"""Text in columns, for people: drawn by rich on a terminal, where it is installed, and plain everywhere else."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from gonogo.text import printable


def in_columns(rows: Sequence[Sequence[str]], *, head: bool = False) -> str:
    """Rows of one length as text, each column as wide as its widest cell; with `head` the first row names the columns.

    Cells are printed as `printable` writes them. On a terminal, what is wider than it is folded within its column.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.__stdout__ is not None and sys.__stdout__.isatty() and find_spec("rich"):
        return _drawn(rows, head=head)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _drawn(rows: Sequence[Sequence[str]], *, head: bool) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD if head else None, show_header=head, show_edge=False, pad_edge=False)
    for number, name in enumerate(rows[0]):
        table.add_column(Text(name, "bold") if head else "", overflow="fold", no_wrap=number == 0)
    for row in rows[1:] if head else rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(file=sys.__stdout__)
    with console.capture() as captured:
        console.print(table)
    return captured.get().strip("\n")
