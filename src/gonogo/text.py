"""Text of others, such as names of files and of keys, as it may stand in a line that a person reads."""

import re
import unicodedata
from collections.abc import Iterable, Sequence


def listed(names: Sequence[str], most: int = 12) -> str:
    """The first names, and how many more there are."""
    if not names:
        return "nothing"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def meant(name: str, known: Iterable[str], most: int = 3) -> str:
    """The question whether one of the `most` known names was meant that are like `name`; empty where none is."""
    from difflib import get_close_matches  # where it is used: a right name needs none

    of_plain = {one.lower().lstrip("-"): one for one in known}  # dashes, which all options have, make none alike
    close = [of_plain[one] for one in get_close_matches(name.lower().lstrip("-"), of_plain, most)]
    return f"did you mean {' or '.join(close)}?" if close else ""


def alternatives(name: str, known: Iterable[str]) -> str:
    """How a message about a `name` that is not known goes on: what may have been meant, and all that there is."""
    names = list(dict.fromkeys(known))
    return f"{meant(name, names)} choose one of {', '.join(names) or 'none'}".lstrip()


def printable(text: str) -> str:
    r"""`text` on one line, with every character that `str.isprintable` refuses written as an escape, as `\n` or `\x1b`.

    Line ends, escape sequences of a terminal, marks that reverse the direction of writing and bytes that are not UTF-8
    (surrogates, in names of files) can then forge no line, and the text can be encoded. Letters of all languages stay,
    and so does a backslash: the result is to be read, not to be turned back.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def plain_name(name: str) -> str:
    """The letters and digits of a name in lower case: what is left of its spelling, so that PaDiM is padim."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def ascii_name(name: str, joint: str) -> str:
    """The name in ASCII letters, digits, _ and -, as DVC, file systems and addresses all take it.

    Marks of letters are left out, and whatever else there is becomes one `joint`, but at the ends; it may end up empty.
    """
    decomposed = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    unmarked = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return re.sub(r"[^A-Za-z0-9_-]+", joint, unmarked).strip("_-")


def in_utf8(text: str) -> str:
    r"""`text` with an escape such as `\udcff` for what cannot be written as UTF-8: other bytes, in names of files."""
    return text.encode(errors="backslashreplace").decode()
