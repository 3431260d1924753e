"""Arguments that several commands share, and the types of their values. Imports nothing heavy."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gonogo.monitoring.certificate_watch import WatchParams

BUNDLE = "the folder of a bundle, such as bundles/brick, or a .gonogo file"
STORE = Path("inspections")
GAUGES = f"{BUNDLE}, or the folder of a set of bundles, bundle_set"


def count(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def count_or_none(text: str) -> int | None:
    """A whole number of 1 or more, or None for 0."""
    return None if text == "0" else count(text)


def port(text: str) -> int:
    """The number of a port; 0 is any that is free."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port; expected 0 to 65535")
    return number


def image_size(text: str) -> int | list[int]:
    """The side of a square, or HEIGHTxWIDTH, as `gonogo.images.size` takes them."""
    sides = [count(side) for side in text.split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text} is neither N nor HEIGHTxWIDTH")
    return sides if len(sides) == 2 else sides[0]


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def non_negative(text: str) -> float:
    """A number of 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of 0 or more")
    return value


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--trust`."""
    parser.add_argument(
        "--trust",
        type=Path,
        metavar="KEY.pub",
        help="refuse a bundle that is not signed with this key; needs gonogo[sign]",
    )


def add_json(parser: argparse.ArgumentParser, *, of_action: bool = False) -> None:
    """Add `--json`, which every command takes.

    Args:
        of_action: the parser is that of an action, as in `gonogo bundle sign`. It has no default then, since that would
            replace the value of a `--json` that stands before the action.
    """
    default = argparse.SUPPRESS if of_action else False
    parser.add_argument("--json", action="store_true", default=default, help="print one JSON object")


def add_store(parser: argparse.ArgumentParser, *, of_action: bool = False) -> None:
    """Add `--data` and `--database`, where the service keeps its inspections; `of_action` as in `add_json`."""
    data, database = (argparse.SUPPRESS, argparse.SUPPRESS) if of_action else (STORE, None)
    parser.add_argument("--data", type=Path, default=data, metavar="DIR", help=f"folder of what is kept; {STORE}")
    parser.add_argument(
        "--database", default=database, metavar="URL", help="database of the rows; default: a SQLite file in --data"
    )


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Add how the certificate is watched; `watch_params` reads it, and `WatchParams` has the defaults."""
    group = parser.add_argument_group("whether the certificate still holds, see docs/drift.md")
    group.add_argument(
        "--withdrawn", type=float, metavar="SHARE", help="of valid certificates that are ever withdrawn, at most; 0.05"
    )
    group.add_argument(
        "--in-doubt", type=float, metavar="SHARE", help="of valid ones that are ever called in doubt, at most; 0.2"
    )
    group.add_argument(
        "--missed-share",
        type=float,
        metavar="SHARE",
        help="of missed defects among the parts that pass, for which both shares shall still be true; 0",
    )
    group.add_argument(
        "--defect-rate",
        type=float,
        metavar="RATE",
        help="of production, at most; a reject rate above it and the certified one is evidence too; 0.5",
    )


def watch_params(arguments: argparse.Namespace) -> "WatchParams":
    """What the arguments of `add_watch` say.

    Raises:
        ConfigError: a share or a rate is out of its range.
    """
    from gonogo.monitoring.certificate_watch import WatchParams

    names = ("withdrawn", "in_doubt", "missed_share", "defect_rate")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return WatchParams(**given)
