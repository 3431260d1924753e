"""`gonogo serve` as it is started on the line, with a key, for whoever measures or torments it."""

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from gonogo.service.security import new_key
from gonogo.store.store import Store

STARTING = 120.0  # seconds
COMMENT = b"\xff\xfe\x00\x12"  # of a JPEG, with 16 bytes behind it


class Served:
    """One service with its folder `data`, started by entering; `key` is an admin's."""

    def __init__(self, bundle: Path, data: Path, *options: str, name: str = "benchmark") -> None:
        """`options`: further ones of `gonogo serve`; `name`: of the key."""
        self.port = free_port()
        self.data, self.log = data, data / "service.log"
        store = Store(data)
        self.key = new_key(store, name, "admin")[1]
        store.close()
        words = ["serve", "--bundle", str(bundle), "--data", str(data), "--port", str(self.port), *options]
        self._command = [sys.executable, "-m", "gonogo.cli.main", *words]
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + STARTING
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError(f"gonogo serve did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(STARTING)

    def kill(self) -> None:
        """End it as a cut of power would end its process."""
        self.process.kill()
        self.process.wait(STARTING)

    def connection(self, *, timeout: float = 60.0) -> http.client.HTTPConnection:
        """A connection of one's own; `ask` goes through it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Status and body of the answer; `headers` with _ for -."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Authorization": f"Bearer {self.key}"} | told)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _ready(self) -> bool:
        connection: Any = self.connection(timeout=5)
        try:
            return self.ask(connection, "GET", "/readyz")[0] == 200
        except OSError:
            return False
        finally:
            connection.close()


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def as_another(jpeg: bytes, number: int) -> bytes:
    """The same JPEG as another file: a comment with a number, so that each is kept by itself as a line's images are."""
    return jpeg[:2] + COMMENT + f"{number:016d}".encode() + jpeg[2:]
