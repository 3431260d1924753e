"""gonogo knowledge: bring what people know of failures into the service's store, check it, and export it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import add_json, add_store

if TYPE_CHECKING:
    from gonogo.knowledge.graph import Knowledge

BY = "gonogo knowledge load"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the actions."""
    parser.description = (
        "Failure modes, effects, causes, controls, actions and the links between them, as an FMEA has them. docs/"
        "knowledge.md lists the tables."
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    loaded = actions.add_parser(
        "load", help="check tables, and add them to the store", description="All of it is loaded, or nothing."
    )
    checked = actions.add_parser("check", help="check tables without a store: links, circles, ratings, evidence's form")
    for action in (loaded, checked):
        action.add_argument("source", type=Path, metavar="PATH", help="a folder of CSV tables, or a .jsonld file")
    loaded.add_argument("--by", default=BY, metavar="NAME", help=f"who loads them, for the history; {BY}")
    loaded.add_argument("--replace", action="store_true", help="remove what the tables do not have")
    exported = actions.add_parser("export", help="write the store's knowledge as JSON-LD or GraphML")
    exported.add_argument("file", type=Path, metavar="FILE", help="ends in .jsonld or .graphml")
    for action in (loaded, exported):
        add_store(action)
    for action in (loaded, checked, exported):
        add_json(action, of_action=True)


def run(arguments: argparse.Namespace) -> Answer:
    """Run the action.

    Raises:
        UsageError: the file of an export has another ending.
        DataError: the tables are wrong, or the store cannot be used.
    """
    from gonogo.errors import UsageError
    from gonogo.files import write_bytes, write_json
    from gonogo.knowledge.exchange import SUFFIX, as_graphml, as_json_ld
    from gonogo.knowledge.graph import knowledge_of
    from gonogo.knowledge.stored import kept_knowledge, load_knowledge
    from gonogo.knowledge.tables import read_knowledge
    from gonogo.store.store import Store

    if arguments.action == "check":
        loaded = read_knowledge(arguments.source)
        checked = knowledge_of(loaded.given)
        return _counted(arguments.source, checked, " are right")
    if arguments.action == "export" and arguments.file.suffix not in (SUFFIX, ".graphml"):
        raise UsageError(f"{arguments.file} ends neither in {SUFFIX} nor .graphml", command="gonogo knowledge export")
    store = Store(arguments.data, arguments.database)
    try:
        if arguments.action == "load":
            loaded = read_knowledge(arguments.source)
            n_changed = load_knowledge(store, loaded, by=arguments.by, replace=arguments.replace)
            return Answer({"ok": True, "changed": n_changed}, f"{arguments.source}: {n_changed} items changed")
        knowledge = kept_knowledge(store).knowledge
    finally:
        store.close()
    if arguments.file.suffix == SUFFIX:
        write_json(arguments.file, as_json_ld(knowledge))
    else:
        write_bytes(arguments.file, as_graphml(knowledge))
    return _counted(arguments.file, knowledge, "")


def _counted(path: Path, knowledge: "Knowledge", more: str) -> Answer:
    n_items, n_links = len(knowledge.items), len(knowledge.links)
    return Answer(
        {"ok": True, "items": n_items, "links": n_links}, f"{path}: {n_items} items and {n_links} links{more}"
    )
