"""gonogo drift: whether a gauge's certificate still holds, by the parts that it has inspected."""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import add_watch, watch_params
from gonogo.cli.columns import in_columns
from gonogo.cli.exit_status import DONE, REJECTED

if TYPE_CHECKING:
    from gonogo.line.rows import ReadRow

CLAIMS = {
    "scores": "the scores of parts that pass are as those of the calibrate parts",
    "images": "the images of parts that pass are as those before them",
    "rejects": "no more parts are rejected than was certified and expected",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Read the verdicts that `gonogo score BUNDLE --out FILE` wrote, in their order, and say whether the bundle's "
        "certificate holds, is in doubt, or is withdrawn: then the parts or their images are no longer as those that "
        "it was certified on. However long one looks, at most the stated share of certificates that hold is withdrawn."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder or .gonogo file of the gauge")
    parser.add_argument("rows", type=Path, metavar="FILE", help="JSON lines of --out or --jsonl")
    add_watch(parser)


def run(arguments: argparse.Namespace) -> Answer:
    """Test the rows against the bundle's certificate.

    Raises:
        ConfigError: a share or a rate is out of its range.
        DataError: the rows are of another bundle, or are no rows of `gonogo score`.
        IntegrityError: the bundle cannot be read.
    """
    from itertools import chain

    from gonogo.calibration.certificate import ThresholdRecord
    from gonogo.images.statistics import STATISTICS
    from gonogo.inference.bundle import read_bundle
    from gonogo.line.rows import read_rows
    from gonogo.monitoring.certificate_watch import CertificateWatch

    params = watch_params(arguments)
    bundle = read_bundle(arguments.bundle)
    record = ThresholdRecord.from_dict(bundle.manifest["threshold"])
    rows = _of_bundle(read_rows(arguments.rows), bundle.fingerprint)
    first = next(rows, None)
    watch = CertificateWatch(record, params, STATISTICS if first is not None and first.statistics else ())
    for row in chain([] if first is None else [first], rows):
        if row.score is not None:
            watch.add(row.key, row.score, row.statistics)
    report = {"ok": True, "category": bundle.manifest["category"], "bundle": bundle.fingerprint} | watch.to_dict()
    return Answer(report, _text(report), REJECTED if watch.state == "withdrawn" else DONE)


def _of_bundle(rows: "Iterator[ReadRow]", fingerprint: str) -> "Iterator[ReadRow]":
    """The rows, each of which must be of this bundle."""
    from gonogo.errors import DataError

    for row in rows:
        if row.bundle != fingerprint:
            raise DataError(
                f"{row.where} is of the bundle {str(row.bundle)[:12]}, this is {fingerprint[:12]}; a certificate is "
                "tested by the verdicts of its own gauge"
            )
        yield row


def _text(report: dict[str, Any]) -> str:
    head = f"{report['category']}: certificate {report['state']}, after {report['parts']:,} parts"
    if report["withdrawn_at"] is not None:
        head += f", since {report['withdrawn_at']}"
    rows = [("claim", "parts", "evidence against it", "growing since part")]
    for name, claim in report["claims"].items():
        if name in CLAIMS:
            odds = math.exp(min(claim["log_evidence"], 700.0))
            rows.append((CLAIMS[name], f"{claim['observations']:,}", f"{odds:.3g}", f"{claim['since'] + 1:,}"))
    needed = f"it is withdrawn where the mean evidence reaches {math.exp(report['needed']):.3g}"
    return f"{head}\n{in_columns(rows, head=True)}\n{needed}"
