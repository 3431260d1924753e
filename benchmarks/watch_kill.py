"""A watched folder whose `gonogo score` is killed at random moments, while files arrive: each must be sorted once.

    python benchmarks/watch_kill.py --bundle bundles/brick --kills 20

A writer puts JPEGs into the folder, each another file: by turns renamed into it when they are complete, and written
there piece by piece, as cameras do. `gonogo score --watch --sort` gets SIGKILL at moments that are drawn from the seed;
of each three, two come after it has judged something, and one at any moment of its start. It is started again on the
same folders, and after the last kill it goes on until nothing is left. Then each file that was written must be in one
folder, with its content, and with one row of the journal, which names this place and this content. Writes a row of
benchmarks/service.json; the exit status is 1 where a file was lost, judged twice or sorted without its verdict.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from random import Random
from time import sleep

from PIL import Image

from gonogo.line.inputs import Item
from gonogo.line.journal import label_of
from gonogo.line.sorting import FOLDERS
from results import Row, add_row, origin
from served import as_another
from service import KEY, PACKAGES, RESULTS

SIDE = 64  # pixels
PAUSE, PIECE_PAUSE = 0.02, 0.01  # seconds between two files, and within one that is written in pieces
STARTING = 10.0  # seconds, among which the moment of a kill within a start is drawn
WAIT = 300.0  # seconds that a start may take to judge one file, or the last one to judge the rest


class Writer(threading.Thread):
    """Puts files into a folder until `end`; `written` has the SHA-256 of each by its name."""

    def __init__(self, folder: Path, jpeg: bytes) -> None:
        super().__init__(daemon=True)
        self._folder, self._jpeg, self._ended = folder, jpeg, threading.Event()
        self.written: dict[str, str] = {}

    def run(self) -> None:
        """Write."""
        while not self._ended.wait(PAUSE):
            number = len(self.written)
            data, path = as_another(self._jpeg, number), self._folder / f"{number:06d}.jpg"
            if number % 2:
                elsewhere = self._folder.with_name("written.jpg")
                elsewhere.write_bytes(data)
                elsewhere.rename(path)
            else:
                with path.open("wb") as file:
                    file.write(data[: len(data) // 2])
                    file.flush()
                    sleep(PIECE_PAUSE)
                    file.write(data[len(data) // 2 :])
            self.written[path.name] = hashlib.sha256(data).hexdigest()

    def end(self) -> None:
        """Return when the last file is complete."""
        self._ended.set()
        self.join()


def rows_of(journal: Path) -> list[Row]:
    """The complete rows of a journal; none where it is not there yet."""
    lines = journal.read_bytes().splitlines(keepends=True) if journal.is_file() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def kill_once(command: Sequence[str], journal: Path, rng: Random, most: float, *, within_start: bool) -> int:
    """Start the watch and kill it; returns how many rows it wrote.

    Raises:
        RuntimeError: it ended by itself, or judged nothing.
    """
    n_before = len(rows_of(journal))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        if within_start:
            sleep(rng.uniform(0, STARTING))
        else:
            waited = 0.0
            while len(rows_of(journal)) == n_before and process.poll() is None and waited < WAIT:
                sleep(0.05)
                waited += 0.05
            sleep(rng.uniform(0, most))
        has_ended = process.poll() is not None
        process.kill()
        said = process.stderr.read().decode() if process.stderr else ""
    n_rows = len(rows_of(journal)) - n_before
    if has_ended or not (n_rows or within_start):
        raise RuntimeError(f"gonogo score --watch ended by itself, or judged nothing:\n{said}")
    return n_rows


def faults(written: dict[str, str], folder: Path, sorted_into: Path, rows: Sequence[Row]) -> dict[str, list[str]]:
    """The files that are not where they must be, by what is wrong with them."""
    found = [path for path in sorted_into.rglob("*") if path.is_file()]
    content = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    n_rows = Counter(row["key"] for row in rows)
    judged = {row.get("moved_to"): row for row in rows}

    def is_as_judged(path: Path) -> bool:
        row = judged.get(str(path))
        return (
            row is not None
            and Item(row["file"], path, Path(path.name)).key == row["key"]
            and path.relative_to(sorted_into).parts[0] == FOLDERS[label_of(row)]
            and written.get(Path(row["file"]).name) == content[path]
        )

    places = Counter(content.values())
    return {
        "lost": [name for name, sha256 in written.items() if not places[sha256]],
        "in_two_places": [name for name, sha256 in written.items() if places[sha256] > 1],
        "left": [path.name for path in folder.iterdir()],
        "judged_twice": [row["file"] for row in rows if n_rows[row["key"]] > 1],
        "without_verdict": [str(path.relative_to(sorted_into)) for path in found if not is_as_judged(path)],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, look, write the row, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--most", type=float, default=3.0, help="seconds between the first row and a kill")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument(
        "--sort", type=Path, help="a new folder, on another file system if you like; by default, on the same"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    rng, file = Random(asked.seed), io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), rng.randbytes(3 * SIDE * SIDE)).save(file, format="JPEG")
    with tempfile.TemporaryDirectory() as work:
        folder, journal = Path(work, "incoming"), Path(work, "rows.jsonl")
        sorted_into = asked.sort or Path(work, "sorted")
        folder.mkdir()
        words = ["score", str(asked.bundle), "--watch", str(folder), "--sort", str(sorted_into), "--out", str(journal)]
        command = [sys.executable, "-m", "gonogo.cli.main", *words, "--settle", "0.2", "--workers", "1"]
        writer = Writer(folder, file.getvalue())
        writer.start()
        by_kill = []
        for number in range(asked.kills):
            by_kill.append(kill_once(command, journal, rng, asked.most, within_start=number % 3 == 2))
            print(f"kill {number + 1}: {by_kill[-1]} rows, {len(writer.written)} files written so far", flush=True)
        writer.end()
        last = subprocess.run([*command, "--idle", "2"], capture_output=True, text=True, timeout=WAIT)
        rows = rows_of(journal)
        wrong = faults(writer.written, folder, sorted_into, rows)
    print(f"status {last.returncode} at the end, {len(writer.written)} files, {len(rows)} rows")
    for name, files in wrong.items():
        print(f"{name}: {len(files)} {files[:5] or ''}")
    row = {"what": "watch_kill", "seed": asked.seed, "n_kills": asked.kills, "n_files": len(writer.written)}
    row |= {"n_rows": len(rows), "by_kill": by_kill} | {f"n_{name}": len(files) for name, files in wrong.items()}
    versions = {name: metadata.version(name) for name in PACKAGES}
    add_row(asked.out, row | origin(1, versions), key=KEY)
    return any(wrong.values()) or last.returncode not in (0, 1)


if __name__ == "__main__":
    sys.exit(main())
