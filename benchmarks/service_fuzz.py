"""Malformed requests against the running service: each is to be refused with 4xx, and nothing is to be kept.

    python benchmarks/service_fuzz.py --bundle bundles/brick --count 10000

`malformed.py` has their kinds. Each goes over a connection of its own, as its bytes are. A refusal must be told as a
problem document, or by uvicorn where it is no HTTP, and neither it nor the log may show a traceback. Afterwards an
image must be judged and be the only one kept. Writes a row of benchmarks/service.json; the exit status is 1 where
anything was otherwise.
"""

import argparse
import http.client
import json
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from random import Random

from malformed import INSPECT, Malformed, malformed, picture
from results import add_row, origin
from served import Served
from service import KEY, PACKAGES, RESULTS

CLIENTS = 4  # at once


def sent(served: Served, one: Malformed) -> tuple[int, bytes]:
    """Status and body of the answer to its bytes as they are; 0 where there is none."""
    headers = {"Host": "gauge", "Authorization": f"Bearer {served.key}", "Connection": "close", **one.headers}
    if not one.framed_wrongly:
        headers["Content-Length"] = str(len(one.body))
    lines = [f"POST {one.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it was refused before it was read
            connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + one.body)
        answer = http.client.HTTPResponse(connection)
        try:
            answer.begin()
            return answer.status, answer.read()
        except (http.client.HTTPException, ConnectionResetError):
            return 0, b""


def wrong(one: Malformed, status: int, body: bytes) -> str | None:
    """What is wrong with an answer."""
    if not 400 <= status < 500:
        return f"{one.kind}: {status} {body[:300]!r}"
    if b"Traceback" in body or b'File "' in body:
        return f"{one.kind}: {status} with a traceback"
    try:
        told = json.loads(body)["status"] == status
    except (ValueError, KeyError):
        told = body == b"Invalid HTTP request received." and one.framed_wrongly
    return None if told else f"{one.kind}: {status} is no problem document: {body[:300]!r}"


def main(argv: Sequence[str] | None = None) -> int:
    """Send all of them, write the row, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    by_status: Counter[int] = Counter()
    by_kind: Counter[str] = Counter()
    complaints = []
    with tempfile.TemporaryDirectory() as work, Served(asked.bundle, Path(work), "--rate", "1e9") as served:
        with ThreadPoolExecutor(CLIENTS) as pool:
            requests = malformed(asked.count, seed=asked.seed)
            for one, (status, body) in pool.map(lambda one: (one, sent(served, one)), requests):
                by_status[status] += 1
                by_kind[one.kind] += 1
                if said := wrong(one, status, body):
                    complaints.append(said)
        good = Malformed("good", picture(Random(asked.seed), "image/png"), {"Content-Type": "image/png"}, INSPECT)
        after, _ = sent(served, good)
        _, page = served.ask(served.connection(), "GET", "/v1/inspections?limit=500")
        n_kept = (len(json.loads(page)["inspections"]), len(list(Path(work, "images").glob("*/*"))))
        n_tracebacks = served.log.read_text().count("Traceback")
    if (after, n_kept, n_tracebacks) != (200, (1, 1), 0):
        complaints.append(f"afterwards: an image is {after}, kept are {n_kept}, {n_tracebacks} tracebacks in the log")
    print("\n".join(complaints[:20]))
    print(f"{len(complaints)} complaints; by status: {dict(sorted(by_status.items()))}")
    row = {
        "what": "fuzz",
        "seed": asked.seed,
        "n_requests": asked.count,
        "by_status": {str(status): n for status, n in sorted(by_status.items())},
        "by_kind": dict(sorted(by_kind.items())),
        "n_complaints": len(complaints),
    }
    versions = {name: metadata.version(name) for name in PACKAGES}
    add_row(asked.out, row | origin(os.cpu_count() or 1, versions), key=KEY)
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
