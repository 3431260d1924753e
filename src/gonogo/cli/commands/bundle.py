"""gonogo bundle: pack a bundle into one file, unpack it, make a key, or sign a bundle or a set of bundles."""

import argparse
from pathlib import Path
from typing import Any

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import GAUGES, add_json
from gonogo.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an argument for the action, and the arguments of each."""
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    pack = actions.add_parser("pack", help="write the folder of a bundle as one file")
    pack.add_argument("source", type=Path, metavar="FOLDER")
    pack.add_argument("target", type=Path, metavar="FILE.gonogo")
    unpack = actions.add_parser("unpack", help="write such a file as a folder")
    unpack.add_argument("source", type=Path, metavar="FILE.gonogo")
    unpack.add_argument("target", type=Path, metavar="FOLDER", help="must not exist yet")
    key = actions.add_parser("key", help="make a key that signs bundles")
    key.add_argument("target", type=Path, metavar="KEY", help="keep it secret; KEY.pub is the half for --trust")
    sign = actions.add_parser("sign", help="sign a bundle, so that --trust accepts it")
    sign.add_argument("source", type=Path, metavar="BUNDLE", help=GAUGES)
    sign.add_argument("--key", type=Path, metavar="KEY", required=True, help="file that gonogo bundle key wrote")
    for action in (pack, unpack, key, sign):
        add_json(action, of_action=True)


def run(arguments: argparse.Namespace) -> Answer:
    """Run the action.

    Raises:
        IntegrityError: the bundle cannot be trusted.
        DataError: a file exists or cannot be written, or a set of bundles is to be packed.
        MissingExtraError: cryptography, which signs, is not installed.
    """
    return {"pack": _pack, "unpack": _pack, "key": _make_key, "sign": _sign}[arguments.action](arguments)


def _pack(arguments: argparse.Namespace) -> Answer:
    """Pack or unpack, after the bundle was loaded, so that one that would be refused later is refused here."""
    from gonogo.inference.bundle import pack, unpack
    from gonogo.inference.gauges import open_gauges

    gauges = open_gauges(arguments.source)
    if not gauges.is_one:
        raise DataError(
            f"{arguments.source} is a set of bundles; {arguments.action} each of {', '.join(gauges.scorers)} by itself"
        )
    (pack if arguments.action == "pack" else unpack)(arguments.source, arguments.target)
    return _written(arguments.target, {})


def _make_key(arguments: argparse.Namespace) -> Answer:
    from gonogo.inference.signature import make_key

    public = make_key(arguments.target)
    answer = _written(arguments.target, {"public": str(public)})
    return Answer(answer.report, f"{answer.text}, keep it secret; {public} is its public half")


def _sign(arguments: argparse.Namespace) -> Answer:
    from gonogo.inference.bundle import sign
    from gonogo.inference.bundle_set import sign_set
    from gonogo.inference.gauges import open_gauges

    gauges = open_gauges(arguments.source)
    if gauges.is_one:
        signer = sign(arguments.source, arguments.key).signer
    else:
        bundles = [one for scorer in gauges.scorers.values() for one in scorer.bundles]
        signer = sign_set(arguments.source, bundles, arguments.key)
    answer = _written(arguments.source, {"signer": signer})
    return Answer(answer.report, f"{arguments.source} is signed with the key {signer}")


def _written(path: Path, facts: dict[str, Any]) -> Answer:
    return Answer({"ok": True, "out": str(path), **facts}, f"{path} written")
