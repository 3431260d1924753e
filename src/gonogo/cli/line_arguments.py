"""The arguments of `score`, `verify`, `explain` and `bundle`, and which go together. Imports nothing heavy."""

import argparse
from pathlib import Path
from typing import Any

BUNDLE = "a folder that the pipeline wrote, bundles/brick, or a .gonogo file"
GAUGES = f"{BUNDLE}; or a set of bundles, bundle_set"


def count(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def seconds(text: str) -> float:
    """A number of seconds, 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def add_score(commands: Any) -> argparse.ArgumentParser:
    """The parser of `gonogo score`."""
    score: argparse.ArgumentParser = commands.add_parser(
        "score",
        help="judge images with a bundle",
        description="Judge images: files, folders, globs, `-` for names on standard input, videos and camera:0. Exit "
        "status 0: all pass; 1: one is rejected or of no category; 3: one cannot be read. docs/line.md says more.",
    )
    score.add_argument("bundle", type=Path, metavar="BUNDLE", help=GAUGES)
    score.add_argument("files", metavar="PATH", nargs="*", help="with --cluster also s3://bucket/folder")
    _add_trust(score)
    score.add_argument("--threads", type=count, metavar="N", help="use so many threads; all cores otherwise")
    score.add_argument("--workers", type=count, metavar="N", help="judge so many images at once")
    score.add_argument("--every", type=count, default=1, metavar="N", help="of a video, each N-th frame")
    told = score.add_argument_group("where verdicts go, if not to the screen")
    told.add_argument("--jsonl", action="store_true", help="print a JSON object for each image")
    told.add_argument("--csv", type=Path, metavar="FILE")
    told.add_argument("--parquet", type=Path, metavar="FILE", help="needs gonogo[parquet]")
    told.add_argument(
        "--out", metavar="FILE", help="JSON lines that survive a kill: called again, it judges those without a row"
    )
    drawn = score.add_argument_group("PNG files of each image")
    drawn.add_argument("--maps", type=Path, metavar="DIR", help="16 bits; 10,000 is the threshold")
    drawn.add_argument("--masks", type=Path, metavar="DIR", help="of the regions")
    drawn.add_argument("--overlays", type=Path, metavar="DIR", help="the image with its map and its regions")
    line = score.add_argument_group("on a line")
    line.add_argument("--sort", type=Path, metavar="DIR", help="move each file into DIR/good, reject, unknown or error")
    line.add_argument("--watch", type=Path, metavar="DIR", help="judge files as they appear here; with --out or --sort")
    line.add_argument(
        "--settle", type=seconds, default=2.0, metavar="S", help="a file unchanged for S seconds is complete; 2"
    )
    line.add_argument("--idle", type=seconds, metavar="S", help="stop watching when nothing has come for S seconds")
    line.add_argument("--webhook", metavar="URL", help="post each verdict there, signed; with --out")
    line.add_argument("--webhook-secret-file", type=Path, metavar="FILE", help="what the signature is made with")
    line.add_argument(
        "--webhook-wait", type=seconds, default=30.0, metavar="S", help="at the end, try so long to deliver all; 30"
    )
    many = score.add_argument_group("very many images, docs/scale.md")
    many.add_argument(
        "--cluster", action="store_true", help="on Ray's cluster, into Parquet files in the folder or bucket --out"
    )
    return score


def _add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust", type=Path, metavar="KEY.pub", help="refuse a bundle that is not signed with this key; gonogo[sign]"
    )


def check_score(arguments: argparse.Namespace) -> None:
    """Refuse, as wrong usage, what does not go together."""
    alone = ("threads", "jsonl", "csv", "parquet", "maps", "masks", "overlays", "sort", "trust", "watch", "webhook")
    if arguments.cluster:
        wrong = [f"--{name}" for name in alone if getattr(arguments, name)]
        if wrong or not arguments.out or not arguments.files:
            arguments.misused("--cluster needs PATH and --out, the folder of the rows, and goes with --workers alone")
        return
    if bool(arguments.files) == (arguments.watch is not None):
        arguments.misused("name PATH ..., or --watch DIR")
    if arguments.watch is not None and not (arguments.out or arguments.sort):
        arguments.misused("--watch needs --out FILE or --sort DIR, so that no file is judged twice")
    if arguments.idle is not None and arguments.watch is None:
        arguments.misused("--idle goes with --watch")
    given = [name for name in ("json", "jsonl", "csv", "parquet") if getattr(arguments, name)]
    if len(given) > 1 and not (given[0] == "json" and len(given) == 2 and given[1] != "jsonl"):
        arguments.misused("--jsonl, --csv and --parquet exclude each other, and --json goes with the last two alone")
    if arguments.out and (arguments.jsonl or arguments.csv or arguments.parquet):
        arguments.misused("--out has every row; leave --jsonl, --csv and --parquet out")
    if bool(arguments.webhook) != (arguments.webhook_secret_file is not None) or (
        arguments.webhook and not arguments.out
    ):
        arguments.misused(
            "--webhook needs --webhook-secret-file and --out, beside which waits what is not delivered yet"
        )


def add_verify(commands: Any) -> argparse.ArgumentParser:
    """The parser of `gonogo verify`."""
    verify: argparse.ArgumentParser = commands.add_parser(
        "verify",
        help="say whether a bundle is the one that was proven, and scores as it did",
        description="Check hashes, format, what manifest and network say of each other, and that it runs here. Exit "
        "status 0: fit for use; 1: it scores otherwise than --reference says; 4: it is no bundle to use.",
    )
    verify.add_argument("bundle", type=Path, metavar="BUNDLE", help=GAUGES)
    verify.add_argument("files", metavar="IMAGE", nargs="*", help="as gonogo score takes them; default: those of FILE")
    _add_trust(verify)
    verify.add_argument("--reference", type=Path, metavar="FILE", help="what gonogo score --jsonl or --out wrote")
    verify.add_argument(
        "--tolerance", type=share, default=1e-4, metavar="R", help="of a score, relative; 0.0001 as in parity"
    )
    return verify


def share(text: str) -> float:
    """A share of 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of 0 or more")
    return value


def add_explain(commands: Any) -> argparse.ArgumentParser:
    """The parser of `gonogo explain`."""
    explain: argparse.ArgumentParser = commands.add_parser(
        "explain",
        help="say why a bundle judges an image so",
        description="The verdict of one image with all that is known about it: regions, the highest cells of its map, "
        "the good patches that are nearest to them, how rare its score is, and what the threshold is worth.",
    )
    explain.add_argument("bundle", type=Path, metavar="BUNDLE", help=GAUGES)
    explain.add_argument("image", type=Path, metavar="IMAGE")
    _add_trust(explain)
    explain.add_argument("--cells", type=count, default=16, metavar="N", help="of the map's longer side; 16")
    explain.add_argument("--top", type=count, default=5, metavar="N", help="how many cells to list; 5")
    explain.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write the image, its map, and each cell beside its nearest good patch: a PNG",
    )
    return explain


def add_bundle(commands: Any) -> dict[str, argparse.ArgumentParser]:
    """The parsers of `gonogo bundle ACTION`, by action."""
    bundle = commands.add_parser("bundle", help="make one file of a bundle's folder, or sign it")
    actions = bundle.add_subparsers(required=True, metavar="ACTION")
    pack: argparse.ArgumentParser = actions.add_parser("pack", help="make one file of a folder")
    pack.add_argument("source", type=Path, metavar="FOLDER")
    pack.add_argument("target", type=Path, metavar="FILE.gonogo")
    unpack: argparse.ArgumentParser = actions.add_parser("unpack", help="make a folder of the one file")
    unpack.add_argument("source", type=Path, metavar="FILE.gonogo")
    unpack.add_argument("target", type=Path, metavar="FOLDER", help="one that is not there yet")
    key: argparse.ArgumentParser = actions.add_parser("key", help="make a key to sign with, and its public half")
    key.add_argument("target", type=Path, metavar="KEY", help="keep it secret; KEY.pub is for those who trust you")
    sign: argparse.ArgumentParser = actions.add_parser("sign", help="sign a bundle, for those who ask with --trust")
    sign.add_argument("source", type=Path, metavar="BUNDLE", help=GAUGES)
    sign.add_argument("--key", type=Path, metavar="KEY", required=True, help="what gonogo bundle key wrote")
    return {"pack": pack, "unpack": unpack, "key": key, "sign": sign}
