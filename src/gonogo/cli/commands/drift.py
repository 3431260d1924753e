"""gonogo drift: whether a gauge's certificate still holds, by the parts that it has inspected, and what moved."""

import argparse
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import add_watch, count, watch_params
from gonogo.cli.columns import in_columns
from gonogo.cli.exit_status import DONE, REJECTED
from gonogo.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from gonogo.inference.scorer import Scorer
    from gonogo.monitoring.simulation import Simulation

KINDS = ("brightness", "noise", "blur", "jpeg", "colour", "mixed")  # as in `gonogo.monitoring.simulation`


class Seen(NamedTuple):
    """A part: its key, its file, its score, and its numbers as `moved.NUMBERS` names them.

    statistics: of its image; empty where they are not known.
    """

    key: str
    file: str
    score: float
    numbers: tuple[float, ...]
    statistics: tuple[float, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Read the verdicts that `gonogo score BUNDLE --out FILE` wrote, in their order, and say whether the bundle's "
        "certificate holds, is in doubt, or is withdrawn: then the parts or their images are no longer as those that "
        "it was certified on. However long one looks, at most the stated share of certificates that hold is withdrawn. "
        "With --simulate, the images of a folder are changed on purpose, to see what would be noticed."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder or .gonogo file of the gauge")
    parser.add_argument(
        "rows", type=Path, metavar="FILE", help="JSON lines of --out or --jsonl; with --simulate a folder of images"
    )
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write the report as one HTML file, with pictures")
    parser.add_argument(
        "--evidently", type=Path, metavar="PAGE", help="write a report of Evidently, if it is installed"
    )
    add_watch(parser)
    simulation = parser.add_argument_group("a simulation; nothing of it is written among inspections")
    simulation.add_argument("--simulate", choices=KINDS, metavar="KIND", help=f"what changes: {', '.join(KINDS)}")
    simulation.add_argument("--severity", type=count, metavar="N", help="1 to 5; 3")
    simulation.add_argument(
        "--share", type=float, metavar="SHARE", help="of the parts after the change that changed; 1"
    )
    simulation.add_argument("--begin", type=float, metavar="SHARE", help="of all parts come before the change; 0.5")
    simulation.add_argument("--seed", type=int, metavar="N", help="of the order, the choice and the direction; 0")


def run(arguments: argparse.Namespace) -> Answer:
    """Test the rows, or simulated parts, against the bundle's certificate.

    Raises:
        UsageError: an argument of a simulation without one, or --evidently with one.
        ConfigError: a share or a rate is out of its range.
        DataError: the rows are of another bundle, or are no rows of `gonogo score`; or there is no image.
        IntegrityError: the bundle cannot be read.
        MissingExtraError: Evidently is not installed, or what draws the page.
    """
    from gonogo.calibration.certificate import ThresholdRecord
    from gonogo.images.statistics import STATISTICS
    from gonogo.inference.bundle import read_bundle
    from gonogo.inference.scorer import Scorer
    from gonogo.monitoring.certificate_watch import CertificateWatch

    params, simulation = watch_params(arguments), _simulation(arguments)
    write_page = None if arguments.html is None else _page_writer()
    if simulation is None:
        bundle = read_bundle(arguments.bundle)
        manifest, fingerprint = bundle.manifest, bundle.fingerprint
        seen, told = list(_of_rows(arguments.rows, fingerprint)), None
    else:
        scorer = Scorer(arguments.bundle)
        manifest, fingerprint = scorer.manifest, scorer.fingerprint
        seen, told = _simulated(scorer, arguments.rows, simulation)
    record = ThresholdRecord.from_dict(manifest["threshold"])
    watch = CertificateWatch(record, params, STATISTICS if seen and seen[0].statistics else ())
    for part in seen:
        watch.add(part.key, part.score, part.statistics)
    report = {"ok": True, "category": manifest["category"], "bundle": fingerprint, "simulation": told}
    report |= watch.to_dict()
    report |= _what_moved(seen, report["claims"], report["withdrawn_at"])
    if write_page is not None:
        write_page(arguments.html, report, _typical(report, simulation, seen))
    if arguments.evidently is not None:
        _write_evidently(arguments.evidently, report, seen)
    return Answer(report, _text(report), REJECTED if watch.state == "withdrawn" else DONE)


def _simulation(arguments: argparse.Namespace) -> "Simulation | None":
    given = {name: getattr(arguments, name) for name in ("severity", "share", "begin", "seed")}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.simulate is None:
        if given:
            raise UsageError(f"--{next(iter(given))} needs --simulate", command="gonogo drift")
        return None
    if arguments.evidently is not None:
        raise UsageError("--evidently takes the rows of parts, and no simulation", command="gonogo drift")
    from gonogo.monitoring.simulation import Simulation

    return Simulation(arguments.simulate, **given)


def _of_rows(path: Path, fingerprint: str) -> Iterator[Seen]:
    """The parts that have a score, of rows that must be of this bundle; of each key the first."""
    from gonogo.images.statistics import STATISTICS
    from gonogo.line.rows import read_rows

    keys: set[str] = set()
    for row in read_rows(path):
        if row.bundle != fingerprint:
            raise DataError(
                f"{row.where} is of the bundle {str(row.bundle)[:12]}, this is {fingerprint[:12]}; a certificate is "
                "tested by the verdicts of its own gauge"
            )
        if row.score is None or row.key in keys:
            continue
        keys.add(row.key)
        p_value, regions = row.row.get("p_value", math.nan), row.row.get("regions")
        n_regions = math.nan if regions is None else len(regions)
        statistics = row.statistics or (math.nan,) * len(STATISTICS)
        yield Seen(row.key, row.file, row.score, (row.score, p_value, n_regions, *statistics), row.statistics)


def _simulated(scorer: "Scorer", folder: Path, simulation: "Simulation") -> tuple[list[Seen], dict[str, Any]]:
    """The parts of a folder in the order of the simulation, and what the report says of it."""
    from dataclasses import asdict

    from gonogo.images.reading import read_image
    from gonogo.images.statistics import image_statistics
    from gonogo.line.inputs import items
    from gonogo.monitoring.simulation import LABEL

    found = [item for item in items([str(folder)]) if item.path is not None]
    seen: list[Seen] = []
    for number, place in enumerate(simulation.order(len(found)).tolist()):
        pixels = read_image(found[place].path)
        if simulation.changes(number, len(found)):
            pixels = simulation.image(pixels, number)
        verdict = scorer.score_one(pixels, found[place].name)
        statistics = image_statistics(pixels)
        regions = verdict.row()["regions"]
        numbers = (verdict.score, scorer.record.p_value(verdict.score), len(regions or ()), *statistics)
        seen.append(Seen(f"{simulation.seed} {number}", found[place].name, verdict.score, numbers, statistics))
    if not seen:
        raise DataError(f"{folder} has no image; --simulate needs images of good parts, best those of no calibration")
    n_before = math.ceil(simulation.begin * len(seen))
    return seen, {"label": LABEL, "n_before": n_before, **asdict(simulation)}


def _what_moved(seen: list[Seen], claims: dict[str, Any], withdrawn_at: str | None) -> dict[str, Any]:
    """What moved between the parts up to where the strongest evidence began to grow, and those after it."""
    from dataclasses import asdict

    from gonogo.monitoring.moved import most_typical, strongest, what_moved

    name, key = strongest(claims)
    split = next((number for number, part in enumerate(seen, start=1) if part.key == key), 0)
    before, after = seen[:split], seen[split:]
    told: dict[str, Any] = {"claim": name, "since": before[-1].file if before else None}
    told["withdrawn_file"] = next((part.file for part in seen if part.key == withdrawn_at), None)
    told["moved"] = [asdict(one) for one in what_moved(_numbers(before), _numbers(after))]
    for side, parts in (("before", before), ("after", after)):
        told[f"typical_{side}"] = parts[most_typical(_numbers(parts))].file if parts else None
    return told


def _numbers(parts: list[Seen]) -> "np.ndarray":
    import numpy as np

    from gonogo.monitoring.moved import NUMBERS

    return np.array([part.numbers for part in parts], dtype=np.float64).reshape(-1, len(NUMBERS))


def _page_writer() -> Callable[[Path, dict[str, Any], dict[str, "np.ndarray"]], None]:
    """What writes the page; asked for before any part is read, so that nobody waits for what cannot be written."""
    from gonogo.monitoring.moved import WORDS

    try:
        from gonogo.reports.drift_page import write_drift_page
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"--html needs what draws pages ({error}); pip install 'gonogo[serve]'") from error
    return partial(write_drift_page, words=WORDS)


def _typical(report: dict[str, Any], simulation: "Simulation | None", seen: list[Seen]) -> dict[str, "np.ndarray"]:
    """Pictures of the typical parts, before and after, whose files can be read."""
    from gonogo.errors import ImageError
    from gonogo.images.reading import read_image

    numbers = {part.file: number for number, part in enumerate(seen)}
    typical = {}
    for side in ("before", "after"):
        file = report[f"typical_{side}"]
        if file is None:
            continue
        try:
            pixels = read_image(Path(file))
        except (ImageError, OSError):  # it was moved or removed since: the page goes without
            continue
        if simulation is not None and simulation.changes(numbers[file], len(seen)):
            pixels = simulation.image(pixels, numbers[file])
        typical[side] = pixels
    return typical


def _write_evidently(path: Path, report: dict[str, Any], seen: list[Seen]) -> None:
    """Write Evidently's report of the parts before and after, as `halves` has them."""
    from gonogo.monitoring.moved import NUMBERS, WORDS, strongest
    from gonogo.reports.evidently_page import halves, write_evidently_page

    _, key = strongest(report["claims"])
    split = halves(len(seen), next((number for number, part in enumerate(seen, start=1) if part.key == key), 0))
    names = [WORDS[name] for name in NUMBERS]
    write_evidently_page(path, names, _numbers(seen[:split]), _numbers(seen[split:]))


def _text(report: dict[str, Any]) -> str:
    from gonogo.monitoring.moved import WORDS

    lines = [f"{report['category']}: certificate {report['state']}, after {report['parts']:,} parts"]
    if report["withdrawn_file"] is not None:
        lines[0] += f", since {report['withdrawn_file']}"
    if report["simulation"] is not None:
        about = report["simulation"]
        lines.insert(0, f"{about['label']}: {about['kind']}, severity {about['severity']}")
    rows = [("claim", "parts", "evidence against it", "growing since part")]
    told = {WORDS[name]: claim for name, claim in report["claims"].items()}
    told |= {f"  {WORDS[name]}": one for name, one in report["claims"].get("images", {}).get("statistics", {}).items()}
    for name, claim in told.items():
        odds = math.exp(min(claim["log_evidence"], 700.0))
        rows.append((name, f"{claim['observations']:,}", f"{odds:.3g}", f"{claim['since'] + 1:,}"))
    lines.append(in_columns(rows, head=True))
    lines.append(f"it is withdrawn where the mean evidence reaches {math.exp(report['needed']):.3g}")
    moved = [one for one in report["moved"] if one["shift"] is not None]
    if report["state"] != "holds" and moved:
        largest = sorted(moved, key=lambda one: -abs(float(one["shift"])))[:3]
        words = ", ".join(f"{WORDS[one['name']].lower()} by {one['shift']:+.2f}" for one in largest)
        lines.append(f"since {report['since']}, in standard deviations before: {words}")
    return "\n".join(lines)
