"""`gonogo serve` under a load as a bad day brings it: large images among the small ones, and clients that hardly send.

    python benchmarks/service_mixed.py --bundle bundles/brick --images /path/of/photographs

1, 8, 64 and 256 clients post a JPEG of 256 pixels, and each tenth time one of 24 megapixels, every time as another
file; a client that is refused with 503 comes again when `Retry-After` says so. Beside them, slow clients send a byte of
a body each half second. The service is one process with a budget of memory. Writes a row of benchmarks/service.json for
each number of clients; the exit status is 1 where there was another status than 200, 429 and 503, or more memory.
"""

import argparse
import http.client
import io
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from gonogo.detectors.training.image_folder import ImageFolder
from gonogo.images.reading import read_image
from hostile import Memory
from results import Row, add_row, origin
from served import Served, as_another
from service import KEY, PACKAGES, RESULTS

CONCURRENCY = (1, 8, 64, 256)
SLOW_CLIENTS = 16
SMALL, LARGE, LARGE_EACH = (256, 256), (6000, 4000), 10
EXPECTED = {200, 429, 503}
Answer = tuple[bool, int, float]  # whether the image was large, status, seconds


def jpeg(image: Image.Image, size: tuple[int, int]) -> bytes:
    """The image at another size, encoded."""
    file = io.BytesIO()
    image.resize(size).save(file, "JPEG", quality=85)
    return file.getvalue()


def post(served: Served, images: tuple[bytes, bytes], numbers: "count[int]", end: float) -> list[Answer]:
    """What one client was answered until the time `end`; status 0: the connection was closed."""
    answers = []
    connection = served.connection()
    while time.monotonic() < end:
        number = next(numbers)
        is_large = number % LARGE_EACH == 0
        began, wait, status = time.monotonic(), 0.0, 0
        headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "image/jpeg"}
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it was refused before all was sent
                connection.request("POST", "/v1/inspect", as_another(images[is_large], number), headers)
            answer = connection.getresponse()
            answer.read()
            status, wait = answer.status, float(answer.headers.get("Retry-After", 0))
        except (OSError, http.client.HTTPException):
            connection.close()
        answers.append((is_large, status, time.monotonic() - began))
        time.sleep(max(0.0, min(wait, end - time.monotonic())))
    connection.close()
    return answers


def dawdle(served: Served, end: float) -> None:
    """Send one body after the other, byte by byte, until the time `end`."""
    head = f"POST /v1/inspect HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {served.key}\r\nContent-Length: 9999\r\n\r\n"
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
            connection.sendall(head.encode())
            while time.monotonic() < end:
                connection.sendall(b"x")
                time.sleep(0.5)


def load(served: Served, images: tuple[bytes, bytes], concurrency: int, seconds: float) -> Row:
    """Statuses, latencies of what was judged, and the most memory, with so many clients."""
    memory = Memory(served.process.pid)
    memory.start()
    numbers, began = count(1), time.monotonic()
    end = began + seconds
    for _ in range(SLOW_CLIENTS):
        threading.Thread(target=dawdle, args=(served, end), daemon=True).start()
    with ThreadPoolExecutor(concurrency) as pool:
        clients = [pool.submit(post, served, images, numbers, end) for _ in range(concurrency)]
        answers = [answer for client in clients for answer in client.result()]
    row: Row = {
        "by_status": {str(status): n for status, n in sorted(Counter(status for _, status, _ in answers).items())},
        "per_s": sum(status == 200 for _, status, _ in answers) / (time.monotonic() - began),
        "memory_most_mb": memory.most,
    }
    for name, large in (("small", False), ("large", True)):
        judged = [1e3 * took for is_large, status, took in answers if status == 200 and is_large == large]
        row |= {f"n_{name}": len(judged)}
        if judged:
            row |= {f"{name}_p50_ms": float(np.median(judged)), f"{name}_p99_ms": float(np.quantile(judged, 0.99))}
    return row


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the rows, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs; the first one is sent")
    parser.add_argument("--seconds", type=float, default=60, help="of load, for each number of clients")
    parser.add_argument("--memory", type=int, default=4096, help="MB of the service")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    photograph = Image.fromarray(read_image(ImageFolder(asked.images, option="--images").paths[0]))
    images = (jpeg(photograph, SMALL), jpeg(photograph, LARGE))
    at = origin(os.cpu_count() or 1, {name: metadata.version(name) for name in PACKAGES})
    failed = False
    for concurrency in CONCURRENCY:
        with tempfile.TemporaryDirectory() as work:
            words = ("--rate", "1e9", "--memory", str(asked.memory))
            with Served(asked.bundle, Path(work), *words) as served:
                row = load(served, images, concurrency, asked.seconds)
        row |= {"what": "mixed", "concurrency": concurrency, "seconds": asked.seconds, "memory_mb": asked.memory}
        print(json.dumps(row), flush=True)
        add_row(asked.out, row | at, key=KEY)
        failed |= bool({int(status) for status in row["by_status"]} - EXPECTED) or row["memory_most_mb"] > asked.memory
    return failed


if __name__ == "__main__":
    sys.exit(main())
