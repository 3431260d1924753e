"""Hostile inputs to the running service, and how long an innocent inspection beside each has to wait.

    python benchmarks/hostile.py --bundle bundles/brick

The service is started by its own command with a budget of memory. While each input is sent, by a key of its own or
without one, another key inspects a small image again and again. Printed for each input: the answers by their status,
the longest wait of the innocent key in seconds, its refused inspections, and the most resident memory since the start.
"""

import argparse
import http.client
import io
import json
import socket
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from gonogo.service.security import new_key
from gonogo.store.store import Store
from results import resident_mb
from served import Served

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BOUNDARY = "b"
OTHER_ADDRESS = ("127.0.0.2", 0)  # of this machine too, and another one than that of the innocent key
Attack = Callable[["Arena"], Iterator[int]]


class Arena:
    """The service, the key of the attacker, and how many seconds an attack that only holds may last."""

    def __init__(self, served: Served, key: str, seconds: float) -> None:
        self.served, self.key, self.seconds = served, key, seconds

    def post(self, body: bytes, path: str = "/v1/inspect", kind: str = "application/octet-stream") -> int:
        """The status of the answer to a body; 0: the connection was closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=120)
        try:
            connection.request("POST", path, body, {"Authorization": f"Bearer {self.key}", "Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def post_at_once(self, body: bytes, count: int) -> Iterator[int]:
        """The statuses of `count` requests that are sent at the same time."""
        with ThreadPoolExecutor(count) as pool:
            yield from pool.map(self.post, [body] * count)

    def hold(self, data: bytes, count: int, *, then: bytes = b"") -> Iterator[int]:
        """Open connections that send `data` and, every half second, `then`; the statuses that came by the end."""
        with ExitStack() as stack:
            held = []
            for _ in range(count):
                with suppress(OSError):
                    connection = stack.enter_context(
                        socket.create_connection(
                            ("127.0.0.1", self.served.port), timeout=5, source_address=OTHER_ADDRESS
                        )
                    )
                    held.append(connection)
                    connection.sendall(data)
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:
                time.sleep(0.5)
                for connection in held if then else []:
                    with suppress(OSError):
                        connection.sendall(then)
            for connection in held:
                connection.setblocking(False)
                answer = b""
                with suppress(OSError):
                    answer = connection.recv(64)
                yield int(answer[9:12]) if answer[:5] == b"HTTP/" else 0

    def head(self, path: str, length: int, kind: str = "image/png") -> bytes:
        """A head that announces a body."""
        lines = [f"POST {path} HTTP/1.1", "Host: gauge", f"Authorization: Bearer {self.key}"]
        return "\r\n".join([*lines, f"Content-Type: {kind}", f"Content-Length: {length}", "", ""]).encode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *, extra: bytes = b"", claimed: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", claimed or width, claimed or height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height), 9)
    return SIGNATURE + _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _exif(count: int, size: int) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 7, size, 8) for tag in range(1, count + 1) if tag != 0x112)
    data = b"II*\0" + struct.pack("<IH", 8, len(entries) // 12) + entries + bytes(4)
    return _chunk(b"eXIf", data.ljust(size + 8, b"\0"))


def _text(megabytes: int) -> bytes:
    """Chunks of compressed text, each of a megabyte."""
    return _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000), 9)) * megabytes


def _scans(count: int, side: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def _runs(side: int) -> bytes:
    """A BMP of runs of one pixel each."""
    data = (b"".join(b"\x01" + bytes([x % 2]) for x in range(side)) + b"\0\0") * side + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 2835, 2835, 2, 2)
    return b"BM" + struct.pack("<IHHI", 62 + len(data), 0, 0, 62) + header + b"\0\0\0\0\xff\xff\xff\0" + data


def _photograph(width: int, height: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=80)
    return file.getvalue()


def _streams(arena: Arena) -> Iterator[int]:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"\r\n\r\n'.encode()
    data = arena.head("/v1/inspect:stream", 1 << 31, f"multipart/form-data; boundary={BOUNDARY}")
    yield from arena.hold(data + part + bytes(1 << 20), 125, then=bytes(1 << 16))


def _batch(arena: Arena) -> Iterator[int]:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"\r\n\r\n'.encode()
    body = (part + _photograph(1900, 1900) + b"\r\n") * 16 + f"--{BOUNDARY}--\r\n".encode()
    yield arena.post(body, kind=f"multipart/form-data; boundary={BOUNDARY}")


ATTACKS: dict[str, Attack] = {
    "PNG of 1 x 4,000,000": lambda arena: iter([arena.post(_png(1, 4_000_000))]),
    "PNG of 1 x 1,500,000, eight at once": lambda arena: arena.post_at_once(_png(1, 1_500_000), 8),
    "PNG of 250 x 60,000, eight at once": lambda arena: arena.post_at_once(_png(250, 60_000), 8),
    "PNG of 65,000 x 260": lambda arena: iter([arena.post(_png(65_000, 260))]),
    "PNG that claims 30,000 x 30,000": lambda arena: iter([arena.post(_png(9, 9, claimed=30_000))]),
    "PNG of 2,600,000 chunks": lambda arena: iter([arena.post(_png(64, 64, extra=_chunk(b"prVt", b"") * 2_600_000))]),
    "PNG with EXIF of 2 GB": lambda arena: iter([arena.post(_png(64, 64, extra=_exif(4000, 500_000)))]),
    "JPEG of 5,000 scans, two at once": lambda arena: arena.post_at_once(_scans(5000, 5000), 2),
    "JPEG of 30 scans, four at once": lambda arena: arena.post_at_once(_scans(20, 5000), 4),
    "64 JPEGs of 30 scans and a megapixel at once": lambda arena: arena.post_at_once(_scans(20, 1000), 64),
    "64 images of a megapixel at once": lambda arena: arena.post_at_once(_photograph(1000, 1000), 64),
    "64 PNGs with 60 MB of text at once": lambda arena: arena.post_at_once(_png(64, 64, extra=_text(60)), 64),
    "64 BMPs of one-pixel runs and a megapixel at once": lambda arena: arena.post_at_once(_runs(999), 64),
    "BMP of one-pixel runs": lambda arena: iter([arena.post(_runs(3900))]),
    "24 images of 24 megapixels at once": lambda arena: arena.post_at_once(_photograph(6000, 4000), 24),
    "batch of 16 images of 3.6 megapixels": _batch,
    "128 bodies of 32 MB of zeros at once": lambda arena: arena.post_at_once(bytes(32 << 20), 128),
    "600 tiny images at once": lambda arena: arena.post_at_once(_png(64, 64), 600),
    "128 bodies of one byte": lambda arena: arena.hold(arena.head("/v1/inspect", 5000) + b"x", 128),
    "128 bodies of a byte each half second": lambda arena: arena.hold(
        arena.head("/v1/inspect", 5000) + b"x", 128, then=b"x"
    ),
    "300 unfinished heads": lambda arena: arena.hold(b"GET /healthz HTTP/1.1\r\nHost: x\r\n", 300, then=b"x"),
    "1,500 connections": lambda arena: arena.hold(b"", 1500),
    "125 open streams": _streams,
}  # fmt: skip


class Innocent(threading.Thread):
    """Inspects one small image again and again with a key of its own."""

    def __init__(self, served: Served) -> None:
        super().__init__(daemon=True)
        self._served, self._ended = served, threading.Event()
        self.longest, self.statuses = 0.0, Counter[int]()

    def run(self) -> None:
        """Until `end`."""
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(3).integers(0, 256, (256, 256, 3), np.uint8)).save(file, "JPEG")
        while not self._ended.is_set():
            began, status = time.monotonic(), 0
            connection = self._served.connection()
            with suppress(OSError, http.client.HTTPException):
                status, _ = self._served.ask(connection, "POST", "/v1/inspect", file.getvalue())
            connection.close()
            self.longest = max(self.longest, time.monotonic() - began)
            self.statuses[status] += 1
            self._ended.wait(0.05)

    def end(self) -> None:
        """Return when the last inspection was answered."""
        self._ended.set()
        self.join()


class Memory(threading.Thread):
    """The most resident memory of a process, in MB, looked at all the time."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self.most = pid, 0.0

    def run(self) -> None:
        """Until the process ends."""
        with suppress(OSError):
            while True:
                self.most = max(self.most, resident_mb(self._pid))
                time.sleep(0.02)


def main(argv: Sequence[str] | None = None) -> int:
    """Try all attacks, print a row for each, and return 1 where an innocent had to wait, or memory was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--memory", type=int, default=4096, help="MB of the service; 0: leave the option out")
    parser.add_argument("--seconds", type=float, default=15.0, help="that an attack lasts which only holds connections")
    parser.add_argument("--wait", type=float, default=2.0, help="most seconds that an innocent inspection may take")
    parser.add_argument("--only", default="", help="the attacks whose names have this text")
    asked = parser.parse_args(argv)
    failed = False
    with tempfile.TemporaryDirectory() as work:
        store = Store(Path(work))
        key = new_key(store, "attacker", "inspect")[1]
        store.close()
        options = ["--memory", str(asked.memory)] if asked.memory else []
        with Served(asked.bundle, Path(work), *options) as served:
            memory = Memory(served.process.pid)
            memory.start()
            for name, attack in ATTACKS.items():
                if asked.only not in name:
                    continue
                innocent, began = Innocent(served), time.monotonic()
                innocent.start()
                statuses = Counter(attack(Arena(served, key, asked.seconds)))
                seconds = time.monotonic() - began
                innocent.end()
                alive = served.process.poll() is None
                failed |= (
                    not alive or innocent.longest > asked.wait or bool(asked.memory and memory.most > asked.memory)
                )
                row = {
                    "attack": name,
                    "statuses": {str(status): count for status, count in sorted(statuses.items())},
                    "seconds": round(seconds, 1),
                    "innocent_longest_s": round(innocent.longest, 2),
                    "innocent_statuses": {str(status): count for status, count in sorted(innocent.statuses.items())},
                    "most_mb": round(memory.most),
                    "log_kb": round(served.log.stat().st_size / 1e3, 1),
                }
                print(json.dumps(row), flush=True)
                if not alive:
                    break
    return failed


if __name__ == "__main__":
    sys.exit(main())
