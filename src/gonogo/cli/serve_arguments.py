"""The arguments of `gonogo serve`. Imports nothing heavy."""

import argparse
from pathlib import Path
from typing import Any

from gonogo.cli.line_arguments import BUNDLE, count

ROLES = ("inspect", "review", "admin")  # as in `security`, which this file must not import
DATA = Path("inspections")


def add_serve(commands: Any) -> dict[str, argparse.ArgumentParser]:
    """The parser of `gonogo serve`, by its name, and those of its actions by theirs."""
    serve: argparse.ArgumentParser = commands.add_parser(
        "serve",
        help="answer over HTTP, and keep every inspection",
        description="Serve a bundle: POST /v1/inspect and what docs/service.md lists. Without ACTION it runs until a "
        "signal ends it; with ACTION it makes, lists or revokes keys, while a service runs or not.",
    )
    serve.set_defaults(action="run", misused=serve.error)
    serve.add_argument("--bundle", type=Path, metavar="BUNDLE", help=BUNDLE)
    serve.add_argument("--bundles", type=Path, metavar="DIR", help="bundles that an admin may activate")
    serve.add_argument("--trust", type=Path, metavar="KEY.pub", help="refuse bundles that are not signed with this key")
    _add_place(serve, default=DATA)
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="127.0.0.1: nobody from elsewhere")
    serve.add_argument("--port", type=int, default=8484, metavar="N", help="8484")
    serve.add_argument("--tls-cert", type=Path, metavar="FILE", help="PEM; with --tls-key")
    serve.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM")
    serve.add_argument(
        "--plain", action="store_true", help="let others in without TLS, where a proxy before it has TLS"
    )
    serve.add_argument("--threads", type=count, metavar="N", help="of each worker; all cores otherwise")
    serve.add_argument("--workers", type=count, default=1, metavar="N", help="judge so much at once; 1")
    serve.add_argument("--tiff", action="store_true", help="take TIFF too, which may hide other content")
    serve.add_argument("--max-pixels", type=count, default=25_000_000, metavar="N", help="of an image")
    serve.add_argument("--waiting", type=count, default=128, metavar="N", help="images, before a 503; 128")
    serve.add_argument("--deadline", type=positive, default=10.0, metavar="S", help="seconds to a verdict, or 504; 10")
    serve.add_argument("--rate", type=positive, default=200.0, metavar="N", help="images per second and key; 200")
    serve.add_argument("--keep-days", type=positive, metavar="DAYS", help="remove older images; rows stay")
    serve.add_argument("--keep-mb", type=positive, metavar="MB", help="remove the oldest images beyond this size")

    actions = serve.add_subparsers(metavar="ACTION")
    key: argparse.ArgumentParser = actions.add_parser("key", help="make a key, and show it once")
    key.add_argument("name", metavar="NAME", help="whose it is")
    key.add_argument("--role", choices=ROLES, required=True, help="each may what those before it may")
    keys: argparse.ArgumentParser = actions.add_parser("keys", help="list the keys")
    revoke: argparse.ArgumentParser = actions.add_parser("revoke", help="take a key back")
    revoke.add_argument("id", metavar="ID", help="as `gonogo serve keys` lists it")
    parsers = {"key": key, "keys": keys, "revoke": revoke}
    for name, parser in parsers.items():
        parser.set_defaults(action=name)
        _add_place(parser, default=argparse.SUPPRESS)  # whose own default would undo what stands before the action
    return {"serve": serve} | parsers


def _add_place(parser: argparse.ArgumentParser, *, default: Any) -> None:
    parser.add_argument("--data", type=Path, default=default, metavar="DIR", help=f"what is kept; ./{DATA}")
    database = None if default is DATA else default
    parser.add_argument("--database", default=database, metavar="URL", help="of the rows; a SQLite file in --data")


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value
