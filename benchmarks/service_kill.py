"""The service killed at random moments under load: whatever it acknowledged must be there when it is started again.

    python benchmarks/service_kill.py --bundle bundles/brick --kills 20

Clients post JPEGs, each another file, and note what was acknowledged. At a moment that is drawn from the seed the
service gets SIGKILL; it is started anew on the same folder, and asked for each inspection and its image's bytes. Writes
a row of benchmarks/service.json; the exit status is 1 where any was lost. A kill ends the process and not the machine:
that what is synchronised outlives a cut of power is the disk's and the file system's to keep.
"""

import argparse
import http.client
import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from random import Random

from PIL import Image

from results import add_row, origin
from served import Served, as_another
from service import KEY, PACKAGES, RESULTS

CLIENTS = 4
SIDE = 64  # pixels


@dataclass(frozen=True)
class Acknowledged:
    """An inspection that the service said it had, and the image that it was of."""

    identifier: str
    score: float
    data: bytes


def posting(served: Served, jpeg: bytes, numbers: Iterator[int], told: list[Acknowledged]) -> None:
    """Post until there is no answer; what was acknowledged goes into `told`."""
    connection = served.connection()
    while True:
        data = as_another(jpeg, next(numbers))
        try:
            status, body = served.ask(connection, "POST", "/v1/inspect", data, Content_Type="image/jpeg")
        except (OSError, http.client.HTTPException):
            return
        if status == 200:
            (one,) = json.loads(body)["inspections"]
            told.append(Acknowledged(one["id"], one["score"], data))


def lost(served: Served, acknowledged: Sequence[Acknowledged]) -> list[str]:
    """The acknowledged inspections that are not there, or not as they were told, or without their image."""
    connection, missing = served.connection(), []
    for one in acknowledged:
        place = f"/v1/inspections/{one.identifier}"
        status, body = served.ask(connection, "GET", place)
        image = served.ask(connection, "GET", f"{place}/image")
        if status != 200 or json.loads(body)["score"] != one.score or image != (200, one.data):
            missing.append(one.identifier)
    return missing


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, look, write the row, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--most", type=float, default=3.0, help="seconds of load before a kill")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    rng, numbers, missing = Random(asked.seed), itertools.count(), []
    file = io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), rng.randbytes(3 * SIDE * SIDE)).save(file, format="JPEG")
    counts = []
    with tempfile.TemporaryDirectory() as work:
        served = Served(asked.bundle, Path(work), "--rate", "1e9", "--threads", "1")
        for kill in range(asked.kills):
            told: list[Acknowledged] = []
            with served, ThreadPoolExecutor(CLIENTS) as pool:
                clients = [pool.submit(posting, served, file.getvalue(), numbers, told) for _ in range(CLIENTS)]
                while not told:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, asked.most))
                served.kill()
                for client in clients:
                    client.result()
            with served:
                gone = lost(served, told)
            missing += gone
            counts.append(len(told))
            print(f"kill {kill + 1}: {len(told)} acknowledged, {len(gone)} lost", flush=True)
    row = {"what": "kill", "seed": asked.seed, "n_kills": asked.kills, "n_acknowledged": sum(counts)}
    row |= {"n_lost": len(missing), "n_clients": CLIENTS, "by_kill": counts}
    versions = {name: metadata.version(name) for name in PACKAGES}
    add_row(asked.out, row | origin(1, versions), key=KEY)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
