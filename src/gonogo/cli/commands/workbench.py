"""gonogo workbench: the six steps of a project as pages, and as a control API, until a signal ends it."""

import argparse
import os
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import port
from gonogo.errors import ConfigError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Show the project in the current folder, or in PROJECT, as pages: data, data card, fit, evaluation, analysis "
        "and deploy. The first start prints a key to sign in with; `gonogo serve key NAME --role admin --data DIR` "
        "makes more."
    )
    parser.add_argument("project", nargs="?", type=Path, default=Path(), metavar="PROJECT", help="default: this folder")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of keys; default: .dvc/tmp/gonogo/workbench")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; 127.0.0.1: this machine only"
    )
    parser.add_argument("--port", type=port, default=8485, metavar="N", help="port to listen on; 8485")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="TLS certificate, PEM; needs --tls-key")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--plain", action="store_true", help="serve other machines without TLS, behind a proxy that has TLS"
    )
    parser.add_argument(
        "--service",
        metavar="URL",
        help="a service that follows this registry; an admin's key of it is read from GONOGO_SERVICE_KEY",
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Serve until a signal ends it.

    Raises:
        ConfigError: PROJECT is none, settings contradict each other, or the key of the service is missing.
        DataError: the store of the keys cannot be used.
    """
    from gonogo.cli.commands.serve import listening, require_tls_or_loopback, server_of
    from gonogo.workbench.app import create_workbench
    from gonogo.workbench.workbench import PARAMS, FollowingService, Workbench, settings_of

    data = None if arguments.data is None else arguments.data.resolve()
    if not (arguments.project / PARAMS).is_file():
        raise ConfigError(f"{arguments.project} has no {PARAMS}; `gonogo init` writes a project for a folder of images")
    require_tls_or_loopback(arguments)
    following = None
    if arguments.service is not None:
        key = os.environ.get("GONOGO_SERVICE_KEY")
        if not key:
            raise UsageError("--service needs an admin's key in GONOGO_SERVICE_KEY", command="gonogo workbench")
        following = FollowingService(arguments.service, key)
    os.chdir(arguments.project)
    workbench = Workbench(settings_of(data, tls=arguments.tls_cert is not None), following)
    if key_text := workbench.first_key():
        print(f"sign in with this key, which is not shown again: {key_text}", flush=True)
    with listening(arguments.host, arguments.port) as listener:
        address = f"http{'s' if arguments.tls_cert else ''}://{arguments.host}:{listener.getsockname()[1]}"
        print(f"the workbench is at {address}", flush=True)
        app = create_workbench(workbench)
        with server_of(app, workbench.settings, workbench.metrics, arguments) as server:
            server.run(sockets=[listener])
    return Answer({"ok": True}, "the workbench has ended; runs that were queued go on")
