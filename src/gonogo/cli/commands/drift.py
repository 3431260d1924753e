"""gonogo drift: whether a gauge's certificate still holds, by the parts that it has inspected."""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.cli.exit_status import DONE, REJECTED

CLAIMS = {
    "scores": "the scores of parts that pass are as those of the calibrate parts",
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
    parser.add_argument(
        "--withdrawn", type=float, default=0.05, metavar="SHARE", help="of valid certificates, at most (default 0.05)"
    )
    parser.add_argument(
        "--in-doubt", type=float, default=0.2, metavar="SHARE", help="of valid ones that are called so (default 0.2)"
    )
    parser.add_argument(
        "--missed-share", type=float, default=0.0, metavar="SHARE",
        help="of missed defects among the parts that pass, for which both shares shall still be true (default 0)",
    )  # fmt: skip
    parser.add_argument(
        "--defect-rate", type=float, metavar="RATE",
        help="of production, at most; a reject rate above it and the certified one is then evidence too",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> Answer:
    """Test the rows against the bundle's certificate.

    Raises:
        ConfigError: a share or a rate is out of its range.
        DataError: the rows are of another bundle, or are no rows of `gonogo score`.
        IntegrityError: the bundle or the rows cannot be read.
    """
    from gonogo.calibration.certificate import ThresholdRecord
    from gonogo.inference.bundle import read_bundle
    from gonogo.monitoring.certificate_watch import WatchParams, watched

    params = WatchParams(arguments.withdrawn, arguments.in_doubt, arguments.missed_share, arguments.defect_rate)
    bundle = read_bundle(arguments.bundle)
    record = ThresholdRecord.from_dict(bundle.manifest["threshold"])
    watch = watched(record, params, _scores(arguments.rows, bundle.fingerprint))
    report = {"ok": True, "category": bundle.manifest["category"], "bundle": bundle.fingerprint} | watch.to_dict()
    return Answer(report, _text(report), REJECTED if watch.state == "withdrawn" else DONE)


def _scores(path: Path, fingerprint: str) -> Iterator[tuple[str, float]]:
    """Key and score of each image that has a verdict."""
    import json

    from gonogo.errors import DataError, IntegrityError

    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                    of, key = row["bundle"], str(row.get("key") or row["file"])
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise DataError(
                        f"{path}, line {number} is not a row of `gonogo score`; give the file of --out or of --jsonl"
                    ) from error
                if of != fingerprint:
                    raise DataError(
                        f"{path}, line {number} is of the bundle {str(of)[:12]}, this is {fingerprint[:12]}; a "
                        "certificate is tested by the verdicts of its own gauge"
                    )
                if isinstance(row.get("score"), int | float):
                    yield key, float(row["score"])
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{path} cannot be read ({error})") from error


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
