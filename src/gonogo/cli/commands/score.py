"""gonogo score: judge images, and write, sort and post the verdicts."""

import argparse
import glob
import hashlib
import os
import sys
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import GAUGES, add_trust, add_watch, count, non_negative, watch_params
from gonogo.cli.exit_status import ABSTAINED, DATA, DONE, ENVIRONMENT, REJECTED
from gonogo.cli.names import PARAMS, known_categories
from gonogo.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gonogo.images.unread import Unread
    from gonogo.inference.gauges import Gauges
    from gonogo.inference.scorer import Scorer
    from gonogo.line.inputs import Item
    from gonogo.line.outputs import Sink
    from gonogo.line.score import Line


SETTLE_S, WEBHOOK_WAIT_S = 2.0, 30.0  # where --settle and --webhook-wait do not say
NEEDS = {  # an option that says something of another, and would say nothing without it
    "index": "category",
    "overlay_scale": "overlays",
    "settle": "watch",
    "idle": "watch",
    "webhook_proxy": "webhook",
    "webhook_only": "webhook",
    "webhook_wait": "webhook",
}
WRITTEN = {
    "category": "--from CATEGORY",
    "overlays": "--overlays DIR",
    "watch": "--watch DIR",
    "webhook": "--webhook URL",
}
LABELS = ("pass", "reject", "uncertain", "unknown", "error")  # of verdicts, as in `gonogo.line.sorting`, which is heavy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Judge images: files, folders, globs, - for names on standard input, videos and camera:0. Exit status 0: all "
        "pass; 1: a part is rejected or belongs to no category; 6: with --abstain, none of these and a part is "
        "uncertain; 3: an image cannot be read or moved; 4: a delivery of the webhook has not arrived. docs/line.md "
        "has more."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help=GAUGES)
    parser.add_argument("files", metavar="PATH", nargs="*", help="image; with --cluster also s3://bucket/folder")
    parser.add_argument(
        "--batch", type=Path, metavar="FILE", help="judge the images of a file of JSON lines, each with the key path"
    )
    parser.add_argument(
        "--from",
        dest="category",
        metavar="CATEGORY",
        help="judge images of the project's data set; without --index, test",
    )
    parser.add_argument("--index", type=int, action="append", metavar="N", help="of an image of --from, from 0")
    add_trust(parser)
    parser.add_argument("--threads", type=count, metavar="N", help="number of threads; default: one for each core")
    parser.add_argument("--workers", type=count, metavar="N", help="number of images judged at the same time")
    parser.add_argument("--every", type=count, metavar="N", help="judge each N-th frame of a video; 1")
    parser.add_argument(
        "--pixels",
        metavar="FORMAT",
        help="what the numbers of .npy files are, as bgr8: grey, rgb, bgr, rgba or bgra, and 8, 10, 12, 14, 16 or 32f",
    )
    parser.add_argument(
        "--abstain",
        action="store_true",
        help="uncertain verdicts are a third outcome beside pass and reject, with a folder and a count of their own",
    )
    rows = parser.add_argument_group("where verdicts are written, instead of the terminal")
    rows.add_argument("--jsonl", action="store_true", help="print a JSON object for each image")
    rows.add_argument("--csv", type=Path, metavar="FILE", help="write a CSV file")
    rows.add_argument("--parquet", type=Path, metavar="FILE", help="write a Parquet file; needs gonogo[parquet]")
    rows.add_argument(
        "--out", metavar="FILE", help="append JSON lines, which survive a kill: the next start judges the other images"
    )
    pictures = parser.add_argument_group("PNG files of each image")
    pictures.add_argument("--maps", type=Path, metavar="DIR", help="anomaly map of 16 bits; 10,000 is the threshold")
    pictures.add_argument("--masks", type=Path, metavar="DIR", help="mask of the regions")
    pictures.add_argument("--overlays", type=Path, metavar="DIR", help="image with its map and its regions")
    pictures.add_argument("--crops", type=Path, metavar="DIR", help="the part of the image where it differs most")
    pictures.add_argument(
        "--overlay-scale",
        choices=["threshold", "min-max", "percentile"],
        help="what the colours of overlays stand for: multiples of the threshold (default), or each map's own range",
    )
    line = parser.add_argument_group("on a line")
    line.add_argument(
        "--sort", type=Path, metavar="DIR", help="move each file into DIR/good, reject, uncertain, unknown or error"
    )
    line.add_argument(
        "--watch", type=Path, metavar="DIR", help="judge files as they appear in DIR; needs --out or --sort"
    )
    line.add_argument(
        "--settle", type=non_negative, metavar="S", help="a file is complete after S seconds unchanged; 2"
    )
    line.add_argument("--idle", type=non_negative, metavar="S", help="stop watching after S seconds without a new file")
    line.add_argument("--webhook", metavar="URL", help="post each verdict to URL, signed; needs --out")
    line.add_argument(
        "--webhook-only",
        action="append",
        choices=LABELS,
        metavar="VERDICT",
        help=f"post these verdicts alone, once for each: {', '.join(LABELS)}",
    )
    line.add_argument("--webhook-secret-file", type=Path, metavar="FILE", help="file with the key of the signature")
    line.add_argument("--webhook-proxy", metavar="URL", help="post through this proxy; default: none, whatever is set")
    line.add_argument("--webhook-wait", type=non_negative, metavar="S", help="seconds to go on posting at the end; 30")
    add_watch(parser)
    cluster = parser.add_argument_group("very many images, see docs/scale.md")
    cluster.add_argument(
        "--cluster", action="store_true", help="score on a Ray cluster, into Parquet files in --out, a folder or bucket"
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Judge the images.

    Raises:
        UsageError: arguments exclude each other.
        GonogoError: the bundle, the journal, a folder or an extra cannot be used. An image that cannot be read is a
            row with an error, and raises nothing.
    """
    check(arguments)
    return _run_on_cluster(arguments) if arguments.cluster else _run_here(arguments)


def check(arguments: argparse.Namespace) -> None:
    """Refuse arguments that exclude each other, or that need another.

    Raises:
        UsageError: there are such arguments.
    """
    if message := _contradiction(arguments):
        raise UsageError(message, command="gonogo score")


def _contradiction(arguments: argparse.Namespace) -> str | None:
    if arguments.cluster:
        local = set(vars(arguments)) - {"command", "bundle", "files", "out", "workers", "cluster", "json"}
        if any(_is_given(arguments, name) for name in local) or not arguments.out or not arguments.files:
            return "--cluster needs PATH and --out, the folder of the rows, and takes no other option but --workers"
        return None
    for name, needed in NEEDS.items():
        if _is_given(arguments, name) and not _is_given(arguments, needed):
            return f"--{name.replace('_', '-')} needs {WRITTEN[needed]}"
    ways = (
        bool(arguments.files),
        *(value is not None for value in (arguments.watch, arguments.batch, arguments.category)),
    )
    if sum(ways) != 1:
        number = "none" if not any(ways) else "several"
        return f"expected one of PATH ..., --batch FILE, --from CATEGORY and --watch DIR, got {number}"
    if arguments.watch is not None and not (arguments.out or arguments.sort):
        return "--watch needs --out FILE or --sort DIR, so that no file is judged twice"
    given = [name for name in ("json", "jsonl", "csv", "parquet") if getattr(arguments, name)]
    if len(given) > 1 and not (given[0] == "json" and len(given) == 2 and given[1] != "jsonl"):
        return "--jsonl, --csv and --parquet exclude each other, and --jsonl excludes --json"
    if arguments.out and (arguments.jsonl or arguments.csv or arguments.parquet):
        return "--out writes every row already; leave --jsonl, --csv and --parquet out"
    if bool(arguments.webhook) != (arguments.webhook_secret_file is not None):
        return "--webhook and --webhook-secret-file need each other"
    if arguments.webhook and not arguments.out:
        return "--webhook needs --out: its queue is the folder FILE.webhook beside that file"
    watched = ("withdrawn", "in_doubt", "missed_share", "defect_rate")
    if not arguments.out and any(getattr(arguments, name) is not None for name in watched):
        return "--withdrawn, --in-doubt, --missed-share and --defect-rate need --out, whose rows are what is watched"
    if "uncertain" in (arguments.webhook_only or ()) and not arguments.abstain:
        return "--webhook-only uncertain needs --abstain, without which no verdict is uncertain"
    return _idle_option(arguments)


def _is_given(arguments: argparse.Namespace, name: str) -> bool:
    """Whether an option was given: 0 is a value, and so is an empty name."""
    value = getattr(arguments, name, None)
    return value is not None and value is not False and value != []


def _idle_option(arguments: argparse.Namespace) -> str | None:
    """What is said of arrays and of videos, where none of them can be judged."""
    if arguments.pixels is None and arguments.every is None:
        return None
    from gonogo.images.reading import SUFFIXES
    from gonogo.line.inputs import CAMERA, STDIN, VIDEOS

    # Not Path.is_dir, which raises on a name that is too long.
    files = [name for name in arguments.files if not os.path.isdir(name)]  # noqa: PTH112
    is_open = any(name == STDIN or glob.has_magic(name) for name in files)  # what else there is turns out later
    cameras = [name for name in files if name.startswith(CAMERA)]
    suffixes = {Path(name).suffix.lower() for name in files if name not in cameras}
    if arguments.pixels is not None and not (is_open or arguments.batch or suffixes - SUFFIXES - VIDEOS):
        return "--pixels says what the numbers of .npy files are, and none is named; images say it themselves"
    if arguments.every is not None and not (is_open or cameras or suffixes & VIDEOS):
        return "--every needs a video or a camera"
    return None


def _run_here(arguments: argparse.Namespace) -> Answer:
    """Judge the images on this machine. The rows are printed or written meanwhile; the answer is the summary."""
    from gonogo.images.arrays import PixelFormat
    from gonogo.images.unread import Unread
    from gonogo.inference.gauges import open_gauges
    from gonogo.line.begun import Begun
    from gonogo.line.hot_folder import HotFolder
    from gonogo.line.inputs import CAMERA
    from gonogo.line.journal import Journal
    from gonogo.line.outputs import JsonLines, Pictures, TextLines
    from gonogo.line.score import Line, until_stopped, watch, workers_and_threads
    from gonogo.line.sorting import Sorter
    from gonogo.line.standing import LineStanding
    from gonogo.line.webhook import Webhook

    if arguments.pixels is not None:
        PixelFormat.of(arguments.pixels)
    workers, threads = workers_and_threads(arguments.files, threads=arguments.threads, workers=arguments.workers)
    gauges = open_gauges(arguments.bundle, threads=threads, trust=arguments.trust)
    pictures = Pictures(
        arguments.maps,
        arguments.masks,
        arguments.overlays,
        arguments.crops,
        overlay_scale=arguments.overlay_scale or "threshold",
    )
    for scorer in gauges.scorers.values():
        pictures.require_unit(scorer.threshold)
    written = (arguments.maps, arguments.masks, arguments.overlays, arguments.crops, arguments.sort)
    own_folders = [folder for folder in written if folder is not None]  # below a folder of images, these are left out
    sink = _sink(arguments, gauges)
    prints_verdicts = isinstance(sink, JsonLines) or (isinstance(sink, TextLines) and sink.verdicts)
    with ExitStack() as opened:
        journal = hot = webhook = begun = standing = None
        if arguments.out:
            standing = LineStanding(gauges.scorers, watch_params(arguments))
            journal = Journal(Path(arguments.out), fingerprint=gauges.fingerprint, learner=standing)
            opened.callback(journal.close)
        if arguments.watch is not None:
            without = {os.path.abspath(path) for path in own_folders}  # noqa: PTH100  links stay as they are named
            hot = HotFolder(
                arguments.watch, settle=SETTLE_S if arguments.settle is None else arguments.settle, without=without
            )
        if arguments.webhook:
            webhook = Webhook(
                arguments.webhook,
                arguments.webhook_secret_file,
                Path(arguments.out + ".webhook"),
                proxy=arguments.webhook_proxy,
            )
        if arguments.out or arguments.sort is not None:
            begun = Begun(_begun_file(arguments))
            opened.callback(begun.close)
        line = Line(
            gauges,
            workers,
            sink,
            pictures,
            journal,
            Sorter(arguments.sort) if arguments.sort is not None else None,
            webhook,
            begun,
            hot,
            standing,
            abstains=arguments.abstain,
            pixel_format=arguments.pixels,
            posts=frozenset(arguments.webhook_only) if arguments.webhook_only else None,
            shows_counts=sys.stderr.isatty() and not prints_verdicts,
        )
        endless = hot is not None or any(name.startswith(CAMERA) for name in arguments.files)
        n_undelivered = 0
        with until_stopped() if endless else nullcontext(Event()) as stopped:
            if hot is None:
                unread = Unread()
                line.run(_found(arguments, own_folders, unread), stopped)
                line.counts.note(unread)
            else:
                watch(line, hot, stopped, idle=arguments.idle)
            sink.close()
            if webhook is not None:
                n_undelivered = webhook.close(
                    WEBHOOK_WAIT_S if arguments.webhook_wait is None else arguments.webhook_wait, stopped=stopped
                )
    return _summary(arguments, line, n_undelivered)


def _found(arguments: argparse.Namespace, without: "Sequence[Path]", unread: "Unread") -> "Iterator[Item]":
    """The images to judge.

    Raises:
        MissingExtraError: a category is named, and what reads a project is not installed.
        GonogoError: the batch or the data set cannot be read.
    """
    from gonogo.line.inputs import items
    from gonogo.line.listed import batch_items, dataset_items

    if arguments.batch is not None:
        return batch_items(arguments.batch)
    if arguments.category is None:
        return items(arguments.files, every=arguments.every or 1, without=without, unread=unread)
    try:
        from gonogo.params import Params, project_path
    except ImportError as error:
        raise MissingExtraError(
            f"--from reads a project ({error}); pip install gonogo with its dependencies"
        ) from error
    from gonogo.images.dataset import read_dataset

    (category,) = known_categories([arguments.category], command="gonogo score")
    dataset = read_dataset(project_path("prepared", category), Params(PARAMS).raw)
    return dataset_items(dataset, arguments.index or [])


def _begun_file(arguments: argparse.Namespace) -> Path:
    """Where items in work are noted: beside the journal, or else where files are sorted to, apart for each source."""
    if arguments.out:
        return Path(arguments.out + ".begun")
    named = [str(one) for one in (arguments.watch, arguments.batch, arguments.category) if one is not None]
    sources = named or arguments.files
    name = hashlib.sha256(os.fsencode("\0".join([str(Path.cwd()), *sources]))).hexdigest()[:12]
    return Path(arguments.sort, f".{name}.begun")


def _sink(arguments: argparse.Namespace, gauges: "Gauges") -> "Sink":
    """Where the rows are written."""
    from gonogo.line.outputs import Csv, JsonLines, Parquet, RowList, TextLines

    if arguments.csv is not None:
        return Csv(arguments.csv)
    if arguments.parquet is not None:
        return Parquet(arguments.parquet)
    if arguments.jsonl:
        return JsonLines()
    if arguments.json and not arguments.out and arguments.watch is None:
        return RowList()
    localises = all(scorer.rule.threshold is not None for scorer in gauges.scorers.values())
    return TextLines(localises=localises, verdicts=not (arguments.json or arguments.out))


def _summary(arguments: argparse.Namespace, line: "Line", n_undelivered: int) -> Answer:
    """How many images passed, and the facts of the gauges. The text is printed on standard error, beside the rows."""
    from gonogo.line.dead_letters import count_dead
    from gonogo.line.outputs import RowList

    counts, scorers = line.counts, list(line.gauges.scorers.values())
    if not counts.n_files and arguments.watch is None:
        raise DataError("there is nothing to judge: standard input has no name")
    facts = [_facts(scorer) for scorer in scorers]
    report = {
        "ok": not counts.n_errors,
        "bundle": line.gauges.fingerprint,
        **(facts[0] if line.gauges.is_one else {"categories": facts}),
        **asdict(counts),
    }
    apart = f" {counts.n_abstained} uncertain," if arguments.abstain or counts.n_abstained else ""
    text = f"{counts.n_passed} pass, {counts.n_rejected} reject,{apart} {counts.n_errors} unreadable"
    if line.gauges.is_one:
        text += f"; threshold {scorers[0].threshold:.6g}"
    else:
        text += f", {counts.n_unknown} of none of {len(scorers)} categories"
    if flagged := counts.n_uncertain - counts.n_abstained:
        text += f"; {flagged} uncertain (?)"
    if arguments.out:
        report["out"] = arguments.out
        text += f"; {counts.n_new} of {counts.n_files} judged now, rows in {arguments.out}"
        if line.standing is not None:
            report["certificates"] = line.standing.report()
            text += "".join(f"; {line.standing.sentence(name)}" for name in line.gauges.scorers)
    n_dead = 0
    if line.webhook is not None:
        n_dead = count_dead(line.webhook.queue)
        report |= {"n_undelivered": n_undelivered, "n_dead": n_dead}
        if n_undelivered or n_dead:
            text += f"; webhook: {n_undelivered} not delivered yet, {n_dead} given up"
            text += f" (gonogo webhook list {line.webhook.queue})"
    if counts.n_unmoved:
        text += f"; {counts.n_unmoved} could not be moved"
    if isinstance(line.sink, RowList):
        report["results"] = line.sink.rows
    if not arguments.json:
        print(text, file=sys.stderr)
    n_bad = counts.n_rejected + counts.n_unknown
    status = _status(counts.n_errors + counts.n_unmoved, n_undelivered + n_dead, n_bad)
    return Answer(report, "", ABSTAINED if status == DONE and counts.n_abstained else status)


def _facts(scorer: "Scorer") -> dict[str, Any]:
    """The thresholds of a gauge and what its certificate says."""
    record, pixels = scorer.record, scorer.rule.threshold
    return {
        "category": scorer.category,
        "threshold": scorer.threshold,
        "certified": record.certified,
        "certified_false_alarm_rate": record.certified_false_alarm_rate,
        "confidence": record.confidence,
        "pixel_threshold": None if pixels is None else pixels.threshold,
        **({} if scorer.box_model is None else {"box_model": _facts(scorer.box_model)}),
    }


def _run_on_cluster(arguments: argparse.Namespace) -> Answer:
    """Score the images on a cluster of Ray."""
    from gonogo.compute.cluster import Cluster
    from gonogo.images.unread import Unread
    from gonogo.inference.bundle_set import is_set
    from gonogo.line.many import score_many
    from gonogo.line.outputs import warn

    def progress(n_done: int, n_total: int) -> None:
        print(f"  {n_done}/{n_total} images", file=sys.stderr, flush=True)

    if is_set(arguments.bundle):
        raise DataError(f"{arguments.bundle} is a set of bundles; --cluster takes one of the bundles in it")
    cluster = Cluster(n_workers=arguments.workers)
    unread = Unread()
    counts = score_many(
        arguments.bundle, arguments.files, arguments.out, cluster=cluster, progress=progress, unread=unread
    )
    for sentence in unread.sentences():
        warn(sentence)
    text = (
        f"{counts.n_passed} pass, {counts.n_rejected} reject, {counts.n_errors} unreadable; "
        f"{counts.n_new} of {counts.n_files} scored now, rows in {arguments.out}"
    )
    report = {"ok": not counts.n_errors, "out": arguments.out, "n_unread": unread.n_files, **asdict(counts)}
    return Answer(report, text, _status(counts.n_errors, 0, counts.n_rejected))


def _status(n_errors: int, n_undelivered: int, n_rejected: int) -> int:
    """The exit status: what went wrong counts before what the parts are."""
    return DATA if n_errors else ENVIRONMENT if n_undelivered else REJECTED if n_rejected else DONE
