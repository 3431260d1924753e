"""Every number in README.md and docs/ has a stated source and agrees with it.

    python tools/doc_numbers.py            exit 1 where a number differs from its file, or has no stated source
    python tools/doc_numbers.py --write    replace each tied number by the value in its file

A number is tied to a JSON file by a comment right behind it, which is invisible on GitHub and on the web site:

    a recall of 74.0 %<!-- = metrics/evaluate/brick.json recall -->
    an AUPRO of 0.805<!-- = benchmarks/detectors.json part=cookie detector=padim aupro_30 -->

It must equal the value at that key, rounded to the digits that the page has; `NAME=VALUE` selects a row of the file.
For all other numbers of a section, a sentence or a comment in the section states what they are:

    Measured once, at commit `0123abc`.    a study that the pipeline does not repeat
    <!-- numbers: defined -->              parameters, definitions and examples: nothing was measured

This applies to fractions with two digits or more, to percentages, and to numbers with a unit of time or memory. Tables
that tools/readme.py writes, code blocks, and text between backquotes are exempt.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TIE = re.compile(r"(?P<number>-?[\d,]*\.?\d+)(?P<percent>\s?%)?<!-- = (?P<file>\S+) (?P<key>[^>]+?) -->")
ONCE = re.compile(r"Measured once, at commit `(?P<commit>[0-9a-f]{7,40})`")
DEFINED = "<!-- numbers: defined -->"
FIGURE = re.compile(r"\d\.\d\d|\d(?:[\d,.]*)\s?(?:%|ms\b|s\b|MB\b|GB\b|TB\b|kB\b|GiB\b)")
LEFT_OUT = (
    re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL),
    re.compile(r"<!-- (?P<name>[\w-]+): begin -->.*?<!-- (?P=name): end -->", re.DOTALL),
    re.compile(r"`[^`\n]*`"),
    re.compile(r"\]\([^)]*\)"),
)

Reader = Callable[[str], str]  # the text of a file of this repository


def value_at(file: str, key: str, read: Reader) -> float:
    """The number at a key of a JSON file; `NAME=VALUE …` before the key select the row.

    Raises:
        LookupError: the file, the row or the key does not exist, or its value is no number.
    """
    *picks, name = key.split()
    try:
        content = json.loads(read(file))
    except (OSError, ValueError) as error:
        raise LookupError(f"{file} cannot be read: {error}") from error
    if picks:
        wanted = dict(pick.split("=", 1) for pick in picks)
        rows = [row for row in content["rows"] if all(str(row.get(key)) == value for key, value in wanted.items())]
        if len(rows) != 1:
            raise LookupError(f"{file} has {len(rows)} rows with {' '.join(picks)}")
        content = rows[0]
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LookupError(f"{file} has no number at {key}")
    return float(value)


def written_like(value: float, number: str, *, percent: bool) -> str:
    """The value with as many digits as `number` has, and commas where it has them."""
    digits = len(number.partition(".")[2])
    grouped = "," if "," in number else ""
    return f"{100 * value if percent else value:{grouped}.{digits}f}"


def refreshed(text: str, read: Reader) -> str:
    """The page, with every tied number replaced by the value in its file.

    Raises:
        LookupError: a file does not have the value.
    """

    def renewed(match: re.Match[str]) -> str:
        value = value_at(match["file"], match["key"], read)
        number = written_like(value, match["number"], percent=bool(match["percent"]))
        return number + match[0][len(match["number"]) :]

    return TIE.sub(renewed, text)


def complaints(page: str, text: str, read: Reader, known: Callable[[str], bool]) -> Iterator[str]:
    """Every error in the numbers of a page, as a sentence.

    Args:
        page: its name, for the sentences.
        text: of the page.
        read: gives the text of a file.
        known: returns whether the repository has a commit of this hash.
    """
    for match in TIE.finditer(text):
        try:
            value = value_at(match["file"], match["key"], read)
        except LookupError as error:
            yield f"{page}: {error}"
            continue
        number = written_like(value, match["number"], percent=bool(match["percent"]))
        if number != match["number"]:
            yield f"{page}: {match['number']} is {number} at {match['key']} of {match['file']}; run `make readme`"
    for title, section in _sections(text):
        once = ONCE.search(section)
        if once is not None and not known(once["commit"]):
            yield f"{page}, {title!r}: measured at commit {once['commit']}, which this repository does not have"
        plain = TIE.sub("", section)
        for pattern in LEFT_OUT:
            plain = pattern.sub("", plain)
        figures = FIGURE.findall(plain)
        if figures and once is None and DEFINED not in section:
            shown = ", ".join(figures[:5])
            yield f"{page}, {title!r}: {len(figures)} numbers without a source (see tools/doc_numbers.py): {shown}"


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Title and text from each heading to the next; lines in code blocks are not headings."""
    fenced, title, lines = False, "", list[str]()
    for line in text.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            yield title, "".join(lines)
            title, lines = line.strip("# \n"), []
        lines.append(line)
    yield title, "".join(lines)


def has_commit(commit: str) -> bool:
    """Whether git has the commit; True in a shallow clone, which has only a few commits."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    shallow = git("rev-parse", "--is-shallow-repository")
    if shallow.returncode or shallow.stdout.strip() == "true":
        return True
    return git("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def here(name: str) -> str:
    """The file as it is in the working tree."""
    return (ROOT / name).read_text(encoding="utf-8")


def pages() -> Mapping[str, str]:
    """README.md and every page of docs/, by name."""
    names = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
    return {name: here(name) for name in names}


def main(argv: Sequence[str] | None = None) -> int:
    """Check, or write, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the files' values in their place")
    arguments: Any = parser.parse_args(argv)
    if arguments.write:
        for name, text in pages().items():
            (ROOT / name).write_text(refreshed(text, here), encoding="utf-8")
        return 0
    errors = [error for name, text in pages().items() for error in complaints(name, text, here, has_commit)]
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
