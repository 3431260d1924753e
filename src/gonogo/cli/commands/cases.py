"""gonogo cases: bring an archive of past defects into the service's store, list cases, and search them."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import BUNDLE, add_json, add_store, add_trust, count
from gonogo.text import printable

if TYPE_CHECKING:
    from gonogo.store.store import Store

EMBEDDER = "JSON that describes two networks of yours, by which words find pictures; needs gonogo[text]"
MOST_TOLD = 5  # images that could not be made cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the actions."""
    parser.description = "Work with the cases in the store of gonogo serve, whether a service runs or not."
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    imported = actions.add_parser(
        "import",
        help="make cases of labelled images, in a folder for each type of defect",
        description="Make a case of each image of an archive, which has a folder for each type of defect. A table "
        "cases.csv in it may tell severity, cause and remedy by file or by type.",
    )
    imported.add_argument("folder", type=Path, metavar="FOLDER", help="the archive, such as FOLDER/scratch/1.png")
    imported.add_argument(
        "--part-pattern", metavar="REGEX", help="its first group, in an image's path, is the id of the part shown"
    )
    updated = actions.add_parser(
        "update",
        help="make cases of the reviews that are none yet, or not in the features of this bundle or embedder",
        description="Make a case of each inspection that was reviewed as a defect and has no vector in the features of "
        "the bundle: after an upgrade, or when the bundle has another network. With --embedder, compute the vectors of "
        "the pictures of all cases that have none of it.",
    )
    updated.add_argument("--embedder", type=Path, metavar="FILE", help=EMBEDDER)
    for action in (imported, updated):
        action.add_argument("--bundle", type=Path, required=action is imported, metavar="BUNDLE", help=BUNDLE)
        add_trust(action)
    listed = actions.add_parser("list", help="list cases")
    searched = actions.add_parser("search", help="find cases by an image, or by words")
    searched.add_argument("words", nargs="*", metavar="WORD", help="of notes, types, causes and remedies")
    searched.add_argument("--image", type=Path, metavar="FILE", help="find the cases that are most like this image")
    searched.add_argument("--bundle", type=Path, metavar="BUNDLE", help=f"with --image: {BUNDLE}")
    searched.add_argument("--synonyms", type=Path, metavar="FILE", help="with words: lines of words that mean the same")
    searched.add_argument(
        "--rerank", action="store_true", help="with words: order by meaning, and add what is near; needs gonogo[text]"
    )
    searched.add_argument("--embedder", type=Path, metavar="FILE", help=f"with words: {EMBEDDER}")
    add_trust(searched)
    for action in (listed, searched):
        action.add_argument("--category", metavar="NAME", help="of the cases; default: all, or the bundle's")
        action.add_argument("--type", metavar="NAME", help="type of defect")
        action.add_argument("--severity", type=count, metavar="N", help="at least, 1 to 10")
        action.add_argument("-n", type=count, default=10, metavar="N", help="so many cases; 10")
    for action in (imported, updated, listed, searched):
        add_store(action)
        add_json(action, of_action=True)


def run(arguments: argparse.Namespace) -> Answer:
    """Run the action.

    Raises:
        UsageError: arguments exclude or need each other.
        DataError: the archive, the folder or the database cannot be used, or the bundle gives no features.
        IntegrityError: the bundle cannot be trusted.
    """
    from gonogo.store.store import Store

    actions = {"import": _import, "update": _update, "list": _list, "search": _search}
    store = Store(arguments.data, arguments.database)
    try:
        return actions[arguments.action](arguments, store)
    finally:
        store.close()


def _import(arguments: argparse.Namespace, store: "Store") -> Answer:
    from gonogo.cases.archive import import_archive
    from gonogo.inference.scorer import Scorer

    scorer = Scorer(arguments.bundle, trust=arguments.trust)
    outcomes = list(import_archive(store, scorer, arguments.folder, part_pattern=arguments.part_pattern))
    n_new = sum(outcome.is_new for outcome in outcomes)
    failed = {outcome.file: outcome.error for outcome in outcomes if outcome.error is not None}
    n_known = len(outcomes) - n_new - len(failed)
    return _told(f"{arguments.folder}: {n_new} new cases of {scorer.category}", n_new, n_known, failed)


def _update(arguments: argparse.Namespace, store: "Store") -> Answer:
    from gonogo.cases.update import update_cases
    from gonogo.errors import UsageError
    from gonogo.inference.scorer import Scorer

    if (arguments.bundle is None) == (arguments.embedder is None):
        raise UsageError("expected --bundle BUNDLE, or --embedder FILE", command="gonogo cases update")
    if arguments.embedder is not None:
        return _embed(arguments, store)
    scorer = Scorer(arguments.bundle, trust=arguments.trust)
    outcomes = dict(update_cases(store, scorer))
    failed = {identifier: error for identifier, error in outcomes.items() if error is not None}
    n_made = len(outcomes) - len(failed)
    return _told(f"{n_made} reviews of {scorer.category} are cases now", n_made, 0, failed)


def _embed(arguments: argparse.Namespace, store: "Store") -> Answer:
    from gonogo.cases.embedder import Embedder
    from gonogo.cases.pictured import PictureIndex

    outcomes = dict(PictureIndex(store.cases, Embedder(arguments.embedder)).embed_all())
    failed = {identifier: error for identifier, error in outcomes.items() if error is not None}
    n_made = len(outcomes) - len(failed)
    return _told(f"{n_made} pictures of cases can be found by words now", n_made, 0, failed)


def _told(sentence: str, n_new: int, n_known: int, failed: Mapping[str, str]) -> Answer:
    lines = [sentence + (f"; {n_known} were cases before, and are up to date" if n_known else "")]
    lines += [f"not a case: {printable(error)}" for error in list(failed.values())[:MOST_TOLD]]
    if len(failed) > MOST_TOLD:
        lines.append(f"and {len(failed) - MOST_TOLD} more; --json lists them")
    return Answer({"ok": True, "new": n_new, "known": n_known, "failed": dict(failed)}, "\n".join(lines))


def _list(arguments: argparse.Namespace, store: "Store") -> Answer:
    rows = store.cases.newest(
        category=arguments.category, defect_type=arguments.type, min_severity=arguments.severity, limit=arguments.n
    )
    return _of_cases(rows, "no case")


def _search(arguments: argparse.Namespace, store: "Store") -> Answer:
    from gonogo.errors import UsageError

    if bool(arguments.words) == (arguments.image is not None):
        raise UsageError("expected WORD ..., or --image FILE", command="gonogo cases search")
    by_words = [arguments.rerank, arguments.embedder is not None]
    if sum(by_words) > (arguments.image is None):
        raise UsageError("--rerank and --embedder go with WORD ..., one of them", command="gonogo cases search")
    if (arguments.image is None) != (arguments.bundle is None):
        raise UsageError("--image and --bundle need each other", command="gonogo cases search")
    if arguments.image is None:
        return _by_words(arguments, store)
    import hashlib

    from gonogo.cases.index import CaseIndex
    from gonogo.cases.neighbours import Wanted
    from gonogo.images.reading import decode, file_bytes
    from gonogo.inference.scorer import Scorer

    scorer = Scorer(arguments.bundle, trust=arguments.trust)
    space, data = scorer.require_space(), file_bytes(arguments.image)
    vectors = scorer.score_one(decode(data, arguments.image)[0], arguments.image, features=True).vectors
    assert vectors is not None
    found = CaseIndex(store.cases).similar(
        vectors._asdict(),
        category=arguments.category or scorer.category,
        space=space,
        k=arguments.n,
        wanted=Wanted(hashlib.sha256(data).hexdigest(), None, arguments.type, arguments.severity),
        good_distances=scorer.good_distances,
    )
    answer = _of_cases(found.cases, "no case of this category has features of this bundle")
    facts = {"compared": found.compared, "nothing_like_it": found.nothing_like_it, "good_distance": found.good_distance}
    text = answer.text
    if found.cases and found.nothing_like_it:
        text = f"nothing like it: the nearest case is farther than good parts are from each other\n{text}"
    return Answer(answer.report | facts, text)


def _by_words(arguments: argparse.Namespace, store: "Store") -> Answer:
    from gonogo.cases.embedder import Embedder
    from gonogo.cases.language import Language
    from gonogo.cases.meaning import search
    from gonogo.cases.pictured import PictureIndex
    from gonogo.cases.words import Filters, Synonyms, WordIndex

    text, none = " ".join(arguments.words), "no case has all of these words"
    filters = Filters(arguments.category, arguments.type, arguments.severity)
    if arguments.embedder is not None:
        none = "no case has a picture of this"
        found = PictureIndex(store.cases, Embedder(arguments.embedder)).search(text, filters, limit=arguments.n)
    else:
        index = WordIndex(store.cases, Synonyms.read(arguments.synonyms) if arguments.synonyms else Synonyms(()))
        language = Language() if arguments.rerank else None
        found = search(index, text, filters, limit=arguments.n, language=language)
    answer = _of_cases(found.cases, none)
    if found.model is None:
        return answer
    names = ("model", "least", "nearest", "useful", "waiting")
    meaning = {name: getattr(found, name) for name in names}
    text = answer.text
    if not found.useful:
        nearest = "nothing could be compared" if found.nearest is None else f"the nearest has {found.nearest:.2g}"
        text += f"\nnothing is near: {nearest}, and up to {found.least:.3g} a similarity says nothing"
    if found.waiting:
        text += f"\n{found.waiting} pictures are not compared yet: gonogo cases update --embedder {arguments.embedder}"
    return Answer(answer.report | {"meaning": meaning}, text)


def _of_cases(rows: list[dict[str, Any]], none: str) -> Answer:
    lines = []
    for row in rows:
        distance = f"{row['distance']:.4g}  " if "distance" in row else ""
        if row.get("similarity") is not None:
            distance = f"{row['similarity']:.2f}  "
        severity = "" if row["severity"] is None else f", severity {row['severity']}"
        lines.append(f"{distance}{row['id']}  {row['category']}: {row['defect_type']}{severity}  {row['source'] or ''}")
        lines += [f"    {name}: {row[name]}" for name in ("cause", "remedy", "note") if row[name]]
    return Answer({"ok": True, "cases": rows}, "\n".join(printable(line) for line in lines) or none)
