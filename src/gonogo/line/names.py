"""Names of files, as a file system and a table take them."""

import os
import re

MOST_BYTES = 255  # of the name of a file or folder, on the file systems in use
FORMULA = "=+-@＝＋－＠"  # a cell that begins with one of these is a formula to a spreadsheet
ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
SHORT_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t"}


def fitting(stem: str, ending: str) -> str:
    """The name `stem` + `ending`; if that has more than MOST_BYTES bytes, the end of the stem is left out."""
    while stem and len(os.fsencode(stem + ending)) > MOST_BYTES:
        stem = stem[:-1]
    return stem + ending


def as_cell(text: str) -> str:
    r"""Text as a cell of a CSV file, which no reader takes for a formula or for several rows.

    Most texts are their own cell. One that begins with a sign of FORMULA or with ', or that has a character that cannot
    be printed, gets a ' in front; behind it, such characters are written as escapes and each backslash twice.

    Source: OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection
    """
    if text.isprintable() and not text.startswith(tuple(FORMULA + "'")):
        return text
    return "'" + "".join(each if each.isprintable() and each != "\\" else repr(each)[1:-1] for each in text)


def from_cell(cell: str) -> str:
    """The text that `as_cell` made a cell of."""
    if not cell.startswith("'"):
        return cell
    return ESCAPE.sub(lambda found: _unescaped(found[0]), cell[1:])


def _unescaped(escape: str) -> str:
    return SHORT_ESCAPES.get(escape) or chr(int(escape[2:], 16))
