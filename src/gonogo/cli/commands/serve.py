"""gonogo serve: judge images over HTTP until a signal ends it; make, list and revoke the keys of its clients."""

import argparse
import logging
import signal
import socket
import sys
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gonogo
from gonogo.cli.answer import Answer
from gonogo.cli.arguments import (
    BUNDLE,
    add_json,
    add_store,
    add_watch,
    count,
    count_or_none,
    non_negative,
    port,
    positive,
    watch_params,
)
from gonogo.cli.exit_status import DONE, REJECTED
from gonogo.errors import ConfigError, DataError, UsageError
from gonogo.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import uvicorn

    from gonogo.service.metrics import Metrics
    from gonogo.service.settings import Settings

SWITCH_SECONDS = 5e-4  # after which a thread that computes in Python lets another one go on; Python's own are 5e-3
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PROMOTED = "promoted"  # folder of what --registry fetched, in that of what is kept
ROLES = ("inspect", "review", "admin")  # as in `gonogo.service.security`, which imports what is heavy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the service, and an argument for the action with the arguments of each."""
    parser.description = (
        "Judge images over HTTP; docs/service.md lists the routes. Without ACTION the service runs until SIGTERM or "
        "Ctrl-C. The actions make, list and revoke keys, and confirm the time, whether a service runs or not."
    )
    parser.set_defaults(action="run")
    parser.add_argument("--bundle", type=Path, metavar="BUNDLE", help=BUNDLE)
    parser.add_argument(
        "--boxes", type=Path, metavar="BUNDLE", help="bundle that finds boxes in the same parts, beside the verdict"
    )
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="folder of bundles that an admin may activate")
    parser.add_argument(
        "--registry", type=Path, metavar="PROJECT", help="use the gauge that this project's registry.jsonl has in use"
    )
    parser.add_argument("--category", metavar="NAME", help="of the gauge that --registry says; needed with it")
    parser.add_argument(
        "--alias", choices=["staging", "production"], default="production", help="of --registry; production"
    )
    parser.add_argument(
        "--trust", type=Path, metavar="KEY.pub", help="refuse bundles that are not signed with this key"
    )
    add_store(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; 127.0.0.1: this machine only"
    )
    parser.add_argument("--port", type=port, default=8484, metavar="N", help="port to listen on; 8484")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="TLS certificate, PEM; needs --tls-key")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--plain", action="store_true", help="serve other machines without TLS, behind a proxy that has TLS"
    )
    parser.add_argument("--threads", type=count, metavar="N", help="threads of each worker; default: all cores")
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="batches judged at the same time; 1")
    parser.add_argument("--tiff", action="store_true", help="accept TIFF too, a format that can hide other content")
    parser.add_argument(
        "--max-pixels", type=count, default=25_000_000, metavar="N", help="largest image in pixels; 25,000,000"
    )
    parser.add_argument(
        "--memory",
        type=positive,
        metavar="MB",
        help="most memory of the process; beyond it the answer is 503; default: 3/4 of the machine's or container's",
    )
    parser.add_argument(
        "--waiting", type=count, default=128, metavar="N", help="images that may wait; beyond it the answer is 503; 128"
    )
    parser.add_argument(
        "--deadline",
        type=positive,
        default=10.0,
        metavar="S",
        help="seconds to a verdict; after it the answer is 504; 10",
    )
    parser.add_argument(
        "--cache",
        type=count_or_none,
        metavar="N",
        help="remember N verdicts, and score no repeated image again; 0",
    )
    parser.add_argument("--rate", type=positive, default=200.0, metavar="N", help="images per second and key; 200")
    parser.add_argument(
        "--connections", type=count, default=1024, metavar="N", help="connections at the same time; 1,024"
    )
    parser.add_argument(
        "--address-connections", type=count, metavar="N", help="connections of one address; default: half of all"
    )
    parser.add_argument("--streams", type=count, default=8, metavar="N", help="streams of one key at a time; 8")
    parser.add_argument(
        "--session-hours",
        type=positive,
        default=16.0,
        metavar="H",
        help="hours after which a person signs in to the pages anew; 16",
    )
    parser.add_argument(
        "--session-idle-hours",
        type=positive,
        default=8.0,
        metavar="H",
        help="hours without use after which a person signs in anew; 8",
    )
    parser.add_argument("--keep-days", type=positive, metavar="DAYS", help="delete older images; their rows stay")
    parser.add_argument("--keep-mb", type=positive, metavar="MB", help="delete the oldest images above this total size")
    parser.add_argument(
        "--expire-reviewed",
        action="store_true",
        help="delete images too that a person reviewed, or whose verdict is uncertain and waits for a review",
    )
    parser.add_argument(
        "--audit-share",
        type=non_negative,
        default=0.01,
        metavar="SHARE",
        help="share of all inspections that are drawn at random for a review; 0.01",
    )
    parser.add_argument(
        "--shift",
        type=shift,
        action="append",
        default=[],
        metavar="NAME=HH:MM",
        help="a shift and when it begins, local time; once for each",
    )
    parser.add_argument(
        "--report-url",
        metavar="URL",
        help="server with OpenAI's interface, as http://127.0.0.1:8080/v1, whose model may rephrase reports; "
        "GONOGO_REPORT_API_KEY in the environment is its key",
    )
    parser.add_argument("--report-model", default="default", metavar="NAME", help="the model's name there; default")
    parser.add_argument(
        "--report-seconds",
        type=positive,
        default=30.0,
        metavar="S",
        help="seconds that it may take; after them the template's words stay; 30",
    )
    parser.add_argument("--arena", type=Path, metavar="DIR", help="labelled images for the arena, a folder per label")
    parser.add_argument(
        "--synonyms", type=Path, metavar="FILE", help="lines of words that mean the same in a search of cases"
    )
    parser.add_argument(
        "--rerank",
        action="store_true",
        help="order what a search of cases by words finds by meaning, and add what is near; needs gonogo[text]",
    )
    parser.add_argument(
        "--embedder",
        type=Path,
        metavar="FILE",
        help="JSON that describes two networks of yours, by which words find pictures of cases; needs gonogo[text]",
    )
    parser.add_argument(
        "--depth", type=Path, metavar="FILE", help="JSON that describes a network of yours that tells depth in an image"
    )
    parser.add_argument(
        "--fall-back",
        action="store_true",
        help="start with the bundle of the same category that was active before, if the last one is damaged or gone",
    )
    add_watch(parser)
    parser.add_argument(
        "--webhook",
        metavar="URL",
        help="post to URL, signed, when a certificate is in doubt or withdrawn, or holds again",
    )
    parser.add_argument("--webhook-secret-file", type=Path, metavar="FILE", help="file with the key of the signature")
    parser.add_argument("--webhook-proxy", metavar="URL", help="post through this proxy; default: none")

    actions = parser.add_subparsers(metavar="ACTION")
    key = actions.add_parser("key", help="make a key, and print it this once")
    key.add_argument("name", metavar="NAME", help="of the person or machine that gets the key")
    key.add_argument("--role", choices=ROLES, required=True, help="each role may do all that those before it may do")
    keys = actions.add_parser("keys", help="list the keys")
    revoke = actions.add_parser("revoke", help="revoke a key")
    revoke.add_argument("id", metavar="ID", help="as gonogo serve keys lists it")
    confirm = actions.add_parser("confirm-clock", help="go on to delete images by age after the clock has jumped ahead")
    reinstate = actions.add_parser("reinstate", help="let the certificate in use hold again, and watch it anew")
    reinstate.add_argument("--reason", required=True, metavar="TEXT", help="why; it is kept")
    reinstate.add_argument("--by", metavar="NAME", help="who decides; default: git's user.name")
    certificate = actions.add_parser("certificate", help="say whether the certificate in use is withdrawn: status 1")
    certificate.add_argument("category", metavar="CATEGORY")
    named = {"key": key, "keys": keys, "revoke": revoke, "confirm-clock": confirm, "reinstate": reinstate}
    named["certificate"] = certificate
    for name, action in named.items():
        action.set_defaults(action=name)
        add_store(action, of_action=True)
        add_json(action, of_action=True)


def run(arguments: argparse.Namespace) -> Answer:
    """Serve until a signal ends it, or make, list or revoke keys.

    Raises:
        UsageError: there is no bundle to serve.
        GateError: the gauge that the registry has in use did not come through the gate.
        ConfigError: settings contradict each other.
        IntegrityError: the bundle cannot be trusted.
        DataError: the folder or the database cannot be used, or there is no such key.
    """
    actions = {
        "run": _serve,
        "key": _key,
        "keys": _keys,
        "revoke": _revoke,
        "confirm-clock": _confirm_clock,
        "reinstate": _reinstate,
        "certificate": _certificate,
    }
    return actions[arguments.action](arguments)


def _serve(arguments: argparse.Namespace) -> Answer:
    if (arguments.bundle is None) == (arguments.registry is None):
        raise UsageError("expected --bundle BUNDLE, or --registry PROJECT, or an ACTION", command="gonogo serve")
    if (arguments.registry is None) != (arguments.category is None) or (arguments.registry and arguments.bundles):
        raise UsageError(
            "--registry PROJECT and --category NAME go together, without --bundles", command="gonogo serve"
        )
    from gonogo.service.app import create_app
    from gonogo.service.service import Service

    require_tls_or_loopback(arguments)
    settings = _settings(arguments)
    with listening(arguments.host, arguments.port) as listener:
        print(_address(listener, arguments.host, tls=settings.tls), flush=True)
        service = Service(settings)
        if not any(row["revoked"] is None for row in service.store.all_keys()):
            print("there is no key yet: `gonogo serve key NAME --role inspect` makes one")
        with server_of(create_app(service), settings, service.metrics, arguments) as server:
            service.is_ending = lambda: server.should_exit
            server.run(sockets=[listener])
    return Answer({"ok": True}, "the service has ended; every image that it accepted was answered and kept")


def _address(listener: socket.socket, host: str, *, tls: bool) -> str:
    """The first line of the log: where the service is found, or will be when it is ready."""
    name = f"[{host}]" if ":" in host else host
    return f"gonogo serve {gonogo.__version__}: {'https' if tls else 'http'}://{name}:{listener.getsockname()[1]}"


def require_tls_or_loopback(arguments: argparse.Namespace) -> None:
    """Refuse to send keys unencrypted to other machines.

    Raises:
        ConfigError: the address is not of this machine, and there is neither TLS nor a proxy that has it.
    """
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key go together")
    if arguments.host not in LOOPBACK and arguments.tls_cert is None and not arguments.plain:
        raise ConfigError(
            f"--host {arguments.host} serves other machines, which would send their keys unencrypted: add --tls-cert "
            "and --tls-key, or --plain if a proxy before the service has TLS"
        )


@contextmanager
def server_of(
    app: Any, settings: "Settings", metrics: "Metrics", arguments: argparse.Namespace
) -> "Iterator[uvicorn.Server]":
    """The server of an application with the service's limits of connections, which a signal ends.

    Until the end of the block, log lines of one kind are few, and threads that compute in Python yield more often.
    """
    import uvicorn

    from gonogo.service.connections import BACKLOG, FewLines, connections

    config = uvicorn.Config(
        app,
        http=connections(settings, metrics),  # type: ignore[arg-type]  # uvicorn calls whatever is no text
        ws="none",
        backlog=BACKLOG,
        ssl_certfile=arguments.tls_cert,
        ssl_keyfile=arguments.tls_key,
        server_header=False,
        access_log=False,
        log_level="info",
        timeout_graceful_shutdown=int(settings.deadline + settings.body_seconds) + 1,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # which uvicorn raises again after it has shut down
        signal.signal(number, lambda *_: None)
    with ExitStack() as ending:
        bodies = logging.getLogger("python_multipart")  # it logs each damaged body
        ending.callback(bodies.setLevel, bodies.level)
        bodies.setLevel(logging.ERROR)
        for name in ("uvicorn.error", "asyncio", "gonogo.service", "gonogo.store"):
            logger, few = logging.getLogger(name), FewLines()
            logger.addFilter(few)
            ending.callback(logger.removeFilter, few)
        ending.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(SWITCH_SECONDS)  # some decoders compute in Python, and all connections wait meanwhile
        yield uvicorn.Server(config)


def shift(text: str) -> tuple[str, int]:
    """The name of a shift and the minute of the day at which it begins, from NAME=HH:MM."""
    name, _, begin = text.rpartition("=")
    hour, _, minute = begin.partition(":")
    if not name or not (hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60):
        raise argparse.ArgumentTypeError(f"{text!r} is no shift; write it as early=06:00")
    return name, 60 * int(hour) + int(minute)


def listening(host: str, port: int) -> socket.socket:
    """A socket at this address with TCP_NODELAY, which its connections inherit; it listens when uvicorn has started.

    asyncio sets it for the sockets that it opens, and not for one that it is given. Without it the body of an answer
    waits some 40 ms, until the client has acknowledged the head.

    Raises:
        OSError: the port is in use, or the address is not of this machine.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if sys.platform != "win32":  # there, it would let two services have one port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _settings(arguments: argparse.Namespace) -> "Settings":
    from gonogo.images.header import FORMATS
    from gonogo.service.promoted import RegistrySource
    from gonogo.service.settings import MEBIBYTE, WITHOUT_TIFF, Settings

    source = None
    if arguments.registry is not None:
        arguments.data.mkdir(parents=True, exist_ok=True, mode=0o700)  # before it holds anything
        source = RegistrySource(arguments.registry, arguments.category, arguments.alias, arguments.data / PROMOTED)
    return Settings(
        bundle=arguments.bundle if source is None else source.folder,
        data=arguments.data,
        box_model=arguments.boxes,
        bundles=arguments.bundles,
        registry=source,
        trust=arguments.trust,
        database=arguments.database,
        threads=arguments.threads,
        workers=arguments.workers,
        formats=FORMATS if arguments.tiff else WITHOUT_TIFF,
        max_pixels=arguments.max_pixels,
        memory=None if arguments.memory is None else int(arguments.memory * MEBIBYTE),
        waiting=arguments.waiting,
        cache=arguments.cache,
        deadline=arguments.deadline,
        rate=arguments.rate,
        connections=arguments.connections,
        address_connections=arguments.address_connections,
        streams=arguments.streams,
        session_seconds=3600 * arguments.session_hours,
        session_idle_seconds=3600 * arguments.session_idle_hours,
        keep_days=arguments.keep_days,
        keep_bytes=None if arguments.keep_mb is None else int(arguments.keep_mb * MEBIBYTE),
        expire_reviewed=arguments.expire_reviewed,
        audit_share=arguments.audit_share,
        report_url=arguments.report_url,
        report_model=arguments.report_model,
        report_seconds=arguments.report_seconds,
        shifts=tuple(arguments.shift),
        arena=arguments.arena,
        synonyms=arguments.synonyms,
        rerank=arguments.rerank,
        embedder=arguments.embedder,
        depth=arguments.depth,
        fall_back=arguments.fall_back,
        watch=watch_params(arguments),
        webhook=arguments.webhook,
        webhook_secret=arguments.webhook_secret_file,
        webhook_proxy=arguments.webhook_proxy,
        tls=arguments.tls_cert is not None,
    )


def _key(arguments: argparse.Namespace) -> Answer:
    from gonogo.service.security import new_key
    from gonogo.store.store import Store

    store = Store(arguments.data, arguments.database)
    key, text = new_key(store, arguments.name, arguments.role)
    store.close()
    report = {"ok": True, "id": key.id, "name": key.name, "role": key.role, "key": text}
    return Answer(report, f"{text}\nthe key is not shown again; its id, to revoke it, is {key.id}")


def _keys(arguments: argparse.Namespace) -> Answer:
    from gonogo.store.store import Store

    store = Store(arguments.data, arguments.database)
    rows = [{name: row[name] for name in ("id", "name", "role", "at", "revoked")} for row in store.all_keys()]
    store.close()
    lines = [
        f"{row['id']}  {row['role']:7}  {printable(row['name'])}{'  revoked' if row['revoked'] else ''}" for row in rows
    ]
    return Answer({"ok": True, "keys": rows}, "\n".join(lines) or "there are no keys")


def _revoke(arguments: argparse.Namespace) -> Answer:
    from gonogo.store.store import Store

    store = Store(arguments.data, arguments.database)
    was_valid = store.revoke(arguments.id)
    store.close()
    if not was_valid:
        raise DataError(f"there is no key {arguments.id}, or it is revoked already; `gonogo serve keys` lists the keys")
    text = f"{arguments.id} is revoked; a running service refuses it within 5 s"
    return Answer({"ok": True, "id": arguments.id}, text)


def _confirm_clock(arguments: argparse.Namespace) -> Answer:
    from gonogo.store.store import Store

    store = Store(arguments.data, arguments.database)
    store.clock.confirm()
    now = datetime.fromtimestamp(store.clock.now(), UTC).isoformat(timespec="seconds")
    store.close()
    return Answer({"ok": True, "now": now}, f"the time is {now}; images are deleted by their age from now on")


def _reinstate(arguments: argparse.Namespace) -> Answer:
    from gonogo.project.accept import git_user
    from gonogo.store.store import Store

    by = arguments.by or git_user()
    store = Store(arguments.data, arguments.database)
    watch = store.watches.newest()
    if watch is None or not arguments.reason.strip():
        store.close()
        raise DataError(
            "no gauge was in use here yet" if watch is None else "--reason is empty; say why it holds again"
        )
    kept = {name: watch[name] for name in ("bundle", "category", "params")}
    begun = store.watches.begin(**kept, key="", by=by, reason=arguments.reason.strip())
    store.close()
    text = f"{printable(begun['category'])}: the certificate of {begun['bundle'][:12]} holds again, and is watched anew"
    report = {name: begun[name] for name in ("category", "bundle", "by", "reason")}
    return Answer({"ok": True, **report}, f"{text}; a running service sees it within 2 s")


def _certificate(arguments: argparse.Namespace) -> Answer:
    """Whether the service has withdrawn the certificate of the newest gauge of a category, by what the store says."""
    from gonogo.store.store import Store

    store = Store(arguments.data, arguments.database)
    history = store.watches.history(arguments.category, limit=1)
    store.close()
    if not history:
        raise DataError(f"no gauge of {arguments.category} was in use here yet")
    bundle, withdrawn = history[0]["bundle"], history[0]["withdrawn"]
    since = None if withdrawn is None else datetime.fromtimestamp(withdrawn, UTC).isoformat(timespec="seconds")
    state = "is not withdrawn" if since is None else f"is withdrawn since {since}"
    report = {"ok": True, "category": arguments.category, "bundle": bundle, "withdrawn": since}
    text = f"{printable(arguments.category)}: the certificate of {bundle[:12]} {state}"
    return Answer(report, text, DONE if since is None else REJECTED)
