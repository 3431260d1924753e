"""Deliveries of a webhook that were given up: kept in its queue, with the reason, until a person decides."""

import json
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gonogo.errors import DataError
from gonogo.files import sync_folder

QUEUED, DEAD = ".json", ".dead"  # the endings of the files of deliveries


@dataclass(frozen=True)
class Letter:
    """A delivery that has not arrived.

    id: of the delivery.
    dead: whether it was given up; the others are tried again.
    status: of the receiver's last answer; None if there was none, or the delivery is not dead.
    reason: why it was given up; None if it was not.
    at: when, in ISO 8601; None if it was not.
    n_tries: until then.
    body: what is posted.
    """

    id: str
    dead: bool
    status: int | None
    reason: str | None
    at: str | None
    n_tries: int | None
    body: dict[str, Any]


def bury(path: Path, *, status: int, reason: str | None, n_tries: int) -> None:
    """Give a delivery up: its file becomes a dead letter.

    Args:
        status: of the receiver's last answer; 0 if there was none, for `reason`.

    Raises:
        OSError: the queue cannot be written.
    """
    letter = {
        "status": status or None,
        "reason": f"the receiver answered {status}" if status else f"no answer: {reason}",
        "at": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        "n_tries": n_tries,
        "body": path.read_text(encoding="utf-8"),
    }
    write_synced(path.with_suffix(DEAD), json.dumps(letter))
    path.unlink()
    sync_folder(path.parent)


def count_dead(queue: Path) -> int:
    """The number of dead letters in a queue."""
    with os.scandir(queue) as found:
        return sum(entry.name.endswith(DEAD) for entry in found)


def letters(queue: Path) -> list[Letter]:
    """The deliveries of a queue that have not arrived, by id.

    Raises:
        DataError: the folder or a file of it cannot be read.
    """
    found = []
    try:
        for path in sorted(queue.iterdir()):
            if path.suffix == QUEUED:
                found.append(Letter(path.stem, False, None, None, None, None, json.loads(path.read_bytes())))
            elif path.suffix == DEAD:
                letter = json.loads(path.read_bytes())
                found.append(Letter(path.stem, True, **letter | {"body": json.loads(letter["body"])}))
    except FileNotFoundError as error:
        if not queue.is_dir():
            raise DataError(f"{queue} is not a folder; expected FILE.webhook beside the FILE of --out") from error
        return letters(queue)  # one of them has arrived meanwhile
    except OSError as error:
        raise DataError(f"{queue} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is no delivery of gonogo score: {error}; remove it") from error
    return found


def revive(queue: Path, ids: Collection[str]) -> list[str]:
    """Make dead letters deliveries again, all of them if no id is given; the ids of those that are queued now.

    A `gonogo score` that is running posts them soon, otherwise the next one with this queue.

    Raises:
        DataError: there is no dead letter of an id, or the queue cannot be read or written.
    """
    dead = {letter.id for letter in letters(queue) if letter.dead}
    if unknown := sorted(set(ids) - dead):
        raise DataError(f"{queue} has no dead letter {unknown[0]}; `gonogo webhook list {queue}` lists them")
    chosen = sorted(set(ids) or dead)
    try:
        for name in chosen:
            path = queue / (name + DEAD)
            write_synced(queue / (name + QUEUED), json.loads(path.read_bytes())["body"])
            path.unlink()
        sync_folder(queue)
    except OSError as error:
        raise DataError(f"{queue} cannot be written: {error.strerror or error}") from error
    return chosen


def write_synced(path: Path, text: str) -> None:
    """Write a file whole; its content is on the disk when this returns, its name with the next `sync_folder`."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
