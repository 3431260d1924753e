"""What a page says that commands print is compared with what they printed.

A page shows a command as a line that begins with `$ `, and below it what it prints. A line `…` stands for any number of
lines, and `…` within a line for any text. Space counts as one blank. Numbers may differ by `CLOSE`, since processors
round differently; a number that differs from run to run, such as a time, is written as `…`. What a command prints for
which the page shows nothing is not compared.
"""

import re
from collections.abc import Iterable, Sequence

ANY = "…"
CLOSE = 0.01
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w.]*\w)")


def differences(shown: str, printed: str) -> list[str]:
    """Of each command the first line that is shown and was not printed, or that was printed and is not shown.

    Args:
        shown: the body of a block of a page.
        printed: all that its commands printed, each after its own line.
    """
    expected, actual = _by_command(shown.split("\n")), _by_command(printed.split("\n"))
    found: list[str] = []
    for place, (command, lines) in enumerate(expected):
        if place >= len(actual) or actual[place][0] != command:
            return [*found, f"{command}: it did not run"]
        if lines:
            found += [f"{command}: {difference}" for difference in _of_command(lines, actual[place][1])]
    return found


def _by_command(lines: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Each line that begins with `$ `, with the lines below it that are not blank."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        words = " ".join(line.rstrip().rpartition("\r")[2].split())
        if line.startswith("$ "):
            found.append((words, []))
        elif words and found:
            found[-1][1].append(words)
    return found


def _of_command(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    at, skipping = 0, False
    for line in shown:
        if line == ANY:
            skipping = True
            continue
        last = len(printed) if skipping else min(at + 1, len(printed))
        match = next((place for place in range(at, last) if _same(line, printed[place])), None)
        if match is None:
            instead = f", but {printed[at]!r}" if at < last and not skipping else ""
            return [f"it did not print {line!r}{instead}"]
        at, skipping = match + 1, False
    return [] if skipping or at == len(printed) else [f"it also printed {printed[at]!r}"]


def _same(shown: str, printed: str) -> bool:
    """Whether a printed line is as a page shows it."""
    pattern, numbers = "", list[float]()
    for part in re.split(f"({ANY}|{NUMBER.pattern})", shown):
        if part == ANY:
            pattern += ".*?"
        elif NUMBER.fullmatch(part):
            pattern += f"({NUMBER.pattern})"
            numbers.append(_value(part))
        else:
            pattern += re.escape(part)
    match = re.fullmatch(pattern, printed)
    return match is not None and all(
        abs(_value(text) - number) <= CLOSE * abs(number) for text, number in zip(match.groups(), numbers, strict=True)
    )


def _value(text: str) -> float:
    return float(text.replace(",", ""))
