"""Tables of the documentation that tests hold: between `<!-- table: NAME -->` and `<!-- end -->` stand their rows.

Such a test file writes its table when it is run: `PYTHONPATH=tests python tests/data/test_found_layouts.py`.
"""

import re
from collections.abc import Iterable, Sequence

from checkout import ROOT


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The rows as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def documented(page: str, name: str) -> str:
    """The table called `name` in docs/`page`, as it stands there."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"<!-- table: {name} -->\n\n(.*?)\n<!-- end -->", text, flags=re.S)
    assert found, f"docs/{page} has no table {name!r}"
    return found[1]


def write(page: str, name: str, text: str) -> None:
    """Put the table in the place of the one called `name` in docs/`page`."""
    path = ROOT / "docs" / page
    path.write_text(path.read_text(encoding="utf-8").replace(documented(page, name), text), encoding="utf-8")
