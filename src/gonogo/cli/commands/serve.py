"""gonogo serve: run the service, and make the keys of those who may ask it."""

import logging
import signal
import socket
from argparse import Namespace
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer
from gonogo.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    from gonogo.service.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def run(arguments: Namespace) -> Answer:
    """Serve until a signal says to end, or do what is asked of the keys.

    Raises:
        MissingExtraError: a package of the extra is not installed.
        ConfigError: a setting makes no sense.
        IntegrityError: the bundle cannot be trusted.
        DataError: the inspections cannot be kept where they should be, or a key is not there.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"serve needs more packages: {error}; pip install 'gonogo[serve]'") from error
    return {"run": _serve, "key": _key, "keys": _keys, "revoke": _revoke}[arguments.action](arguments)


def _serve(arguments: Namespace) -> Answer:
    if arguments.bundle is None:
        arguments.misused("name the --bundle to serve, or an ACTION")
    import uvicorn

    from gonogo.service.app import create_app
    from gonogo.service.service import Service

    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key go together")
    if arguments.host not in LOOPBACK and arguments.tls_cert is None and not arguments.plain:
        raise ConfigError(
            f"--host {arguments.host} lets other machines in, and keys would pass in the clear: give --tls-cert and "
            "--tls-key, or --plain where something before it ends TLS"
        )
    settings = _settings(arguments)
    service = Service(settings)
    if not any(row["revoked"] is None for row in service.store.all_keys()):
        print("nobody has a key yet: `gonogo serve key NAME --role inspect` makes one")
    config = uvicorn.Config(
        create_app(service),
        ssl_certfile=arguments.tls_cert,
        ssl_keyfile=arguments.tls_key,
        server_header=False,
        access_log=False,
        log_level="info",
        timeout_graceful_shutdown=int(settings.deadline + settings.body_seconds) + 1,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn, once it has ended gently, sends itself the signal again
        signal.signal(number, lambda *_: None)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it has a line for each damaged body
    with listening(arguments.host, arguments.port) as place:
        uvicorn.Server(config).run(sockets=[place])
    return Answer({"ok": True}, "ended; all that was accepted is answered and kept")


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens, and whose connections send at once.

    asyncio says so of its own sockets, and overlooks this one. Without it an answer waits some 40 ms for the client's
    word that it has the answer's head.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    place = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    return place


def _settings(arguments: Namespace) -> "Settings":
    from gonogo.service.settings import MEBIBYTE, Settings

    formats = ("JPEG", "PNG", "WEBP", "BMP", *(["TIFF"] if arguments.tiff else []))
    return Settings(
        bundle=arguments.bundle,
        data=arguments.data,
        bundles=arguments.bundles,
        trust=arguments.trust,
        database=arguments.database,
        threads=arguments.threads,
        workers=arguments.workers,
        formats=formats,
        max_pixels=arguments.max_pixels,
        waiting=arguments.waiting,
        deadline=arguments.deadline,
        rate=arguments.rate,
        keep_days=arguments.keep_days,
        keep_bytes=None if arguments.keep_mb is None else int(arguments.keep_mb * MEBIBYTE),
        tls=arguments.tls_cert is not None,
    )


def _key(arguments: Namespace) -> Answer:
    from gonogo.service.security import new_key
    from gonogo.store.store import Store

    store = Store(arguments.data, arguments.database)
    key, text = new_key(store, arguments.name, arguments.role)
    store.close()
    report = {"ok": True, "id": key.id, "name": key.name, "role": key.role, "key": text}
    return Answer(report, f"{text}\nthis is the only time that it is shown; {key.id} names it to revoke it")


def _keys(arguments: Namespace) -> Answer:
    from gonogo.store.store import Store

    store = Store(arguments.data, arguments.database)
    rows = [{name: row[name] for name in ("id", "name", "role", "at", "revoked")} for row in store.all_keys()]
    store.close()
    lines = [f"{row['id']}  {row['role']:7}  {row['name']}{'  revoked' if row['revoked'] else ''}" for row in rows]
    return Answer({"ok": True, "keys": rows}, "\n".join(lines) or "nobody has a key")


def _revoke(arguments: Namespace) -> Answer:
    from gonogo.store.store import Store

    store = Store(arguments.data, arguments.database)
    there = store.revoke(arguments.id)
    store.close()
    if not there:
        raise DataError(f"there is no key {arguments.id} that is in force; `gonogo serve keys` lists them")
    return Answer(
        {"ok": True, "id": arguments.id}, f"{arguments.id} lets nobody in any more, within 5 s where a service runs"
    )
