"""gonogo retrain: make a gauge anew whose certificate is withdrawn, once enough parts were reviewed, and propose it."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import add_store, count, non_negative
from gonogo.cli.exit_status import DONE, REJECTED
from gonogo.cli.names import known_categories

try:
    import fcntl
except ImportError:  # Windows has no such lock
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from gonogo.store.schema import Row
    from gonogo.store.store import Store

LOG, LOCK, ARCHIVE = "retrain.jsonl", "retrain.lock", "retrain.zip"  # in the folder of the store
HOUR = 3600.0
WORK = Path(".dvc/tmp/retrain")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Where the certificate of a category is withdrawn, enough good parts were newly reviewed and the last attempt "
        "is long enough ago: accept these parts, run `dvc repro` in a clone of the project, compare the gauge with the "
        "one in production on the same test images, and propose it as a branch if the gate passes. Run it in the "
        "project's root, from a timer. Exit status 0: proposed, or nothing to do; 1: the gate does not pass."
    )
    parser.add_argument("category", metavar="CATEGORY")
    add_store(parser)
    parser.add_argument("--role", choices=["fit", "calibrate"], default="calibrate", help="of the parts; calibrate")
    parser.add_argument("--min-reviewed", type=count, default=30, metavar="N", help="good parts newly reviewed; 30")
    parser.add_argument(
        "--cool-down", type=non_negative, default=24.0, metavar="HOURS", help="since the last attempt, at least; 24"
    )
    parser.add_argument("--by", metavar="NAME", help="in whose name; default: git's user.name")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help=f"of the clone; {WORK}")
    parser.add_argument(
        "--promote",
        action="store_true",
        help="promote the gauge at once, where the gate passes; otherwise a person does",
    )
    parser.add_argument(
        "--bundles",
        type=Path,
        metavar="DIR",
        help="with --promote: put the bundle into the service's folder of bundles",
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Retrain, if it is time.

    Raises:
        UsageError: --bundles without --promote.
        DataError: the folder or the database cannot be used.
        PipelineError: git, DVC or a stage failed, or another `gonogo retrain` runs; the project is as it was.
    """
    from gonogo.errors import GateError, UsageError
    from gonogo.files import append_json_line
    from gonogo.project.accept import git_user
    from gonogo.project.retrain import retrained
    from gonogo.store.store import Store

    if arguments.bundles is not None and not arguments.promote:
        raise UsageError("--bundles needs --promote", command="gonogo retrain")
    (category,) = known_categories([arguments.category], command="gonogo retrain")
    by = arguments.by or git_user()
    store = Store(arguments.data, arguments.database)
    try:
        with _alone(arguments.data / LOCK):
            watch, why_not = _due(arguments, store)
            if watch is None or why_not is not None:
                return Answer({"ok": True, "action": "none", "reason": why_not}, f"{category}: {why_not}")
            archive = arguments.data / ARCHIVE
            event: dict[str, Any] = {"at": time.time(), "category": category, "watch": watch["id"], "by": by}
            reason = f"certificate withdrawn since {_moment(watch['withdrawn'])}"
            try:
                proposal = retrained(category, archive, role=arguments.role, by=by, reason=reason, work=arguments.work)
            except GateError as error:
                append_json_line(arguments.data / LOG, event | {"action": "gate failed", "why": str(error)})
                text = f"{category}: retrained, and the gate does not pass; the project is as it was\n{error}"
                return Answer({"ok": False, "action": "gate failed", "reason": str(error)}, text, REJECTED)
            except BaseException as error:
                append_json_line(arguments.data / LOG, event | {"action": "failed", "why": str(error)})
                raise
            finally:
                archive.unlink(missing_ok=True)
            append_json_line(arguments.data / LOG, event | {"action": "proposed", "branch": proposal.branch})
    finally:
        store.close()
    text = (
        f"{category}: gauge {proposal.bundle[:12]} with {proposal.n_accepted} parts more passes the gate; it is in the "
        f"branch {proposal.branch}"
    )
    report = {"ok": True, "action": "proposed", "proposal": asdict(proposal)}
    if not arguments.promote:
        return Answer(report, f"{text}\nto promote it: gonogo promote {category} --rev {proposal.branch} --reason TEXT")
    promoted = _promote(arguments, proposal.branch, by, reason)
    return Answer(report | {"action": "promoted", **promoted}, f"{text}, and promoted; commit registry.jsonl", DONE)


def _due(arguments: argparse.Namespace, store: "Store") -> tuple["Row | None", str | None]:
    """The watch whose certificate is withdrawn, with the archive written; or why there is nothing to do."""
    from gonogo.data.prepare.accepted import read_history
    from gonogo.images.dataset import MANIFEST
    from gonogo.params import project_path
    from gonogo.project.accept import Project, n_unknown
    from gonogo.store.reviewed import reviewed_images, write_archive

    history = store.watches.history(arguments.category, limit=1)
    if not history:
        return None, "no gauge of it was in use yet"
    if history[0]["withdrawn"] is None:
        return None, "the certificate is not withdrawn"
    since_last = time.time() - _last_attempt(arguments.data / LOG, arguments.category)
    if since_last < HOUR * arguments.cool_down:
        return (
            None,
            f"the last attempt was {since_last / HOUR:.1f} hours ago; at least {arguments.cool_down:g} must pass",
        )
    found = reviewed_images(store, arguments.category)
    accepted = {
        image.sha256
        for event in read_history(project_path("accepted"))
        if event.category == arguments.category and event.rolled_back is None
        for image in event.images
    }
    new = [image.sha256 for image in found.images if image.label == "good" and image.sha256 not in accepted]
    n_new = len(new)
    if n_new >= arguments.min_reviewed and project_path("prepared", arguments.category, MANIFEST).is_file():
        n_new = n_unknown(Project.here(arguments.category), [store.images.path_of(one) for one in new])
    if n_new < arguments.min_reviewed:
        held = f"; {len(new) - n_new} more are images that the data have already" if n_new < len(new) else ""
        return None, f"{n_new} good parts are newly reviewed; it takes {arguments.min_reviewed}{held}"
    write_archive(arguments.data / ARCHIVE, store, found)
    return history[0], None


def _last_attempt(log: Path, category: str) -> float:
    """When the last attempt was, in seconds since 1970; 0: there was none."""
    from gonogo.data.listing import json_lines

    lines = json_lines(log) if log.is_file() else ()
    return max((float(event["at"]) for _, event in lines if event["category"] == category), default=0.0)


def _promote(arguments: argparse.Namespace, branch: str, by: str, reason: str) -> dict[str, Any]:
    """Promote the gauge of a branch, and put its bundle where the service finds it."""
    from gonogo.params import project_path
    from gonogo.project.dvc import get_artifact
    from gonogo.project.registry import promote

    entry = promote(arguments.category, "production", branch, by=by, reason=reason)
    if arguments.bundles is not None:
        place = arguments.bundles / f"{arguments.category}-{entry.bundle[:12]}"
        get_artifact(project_path("bundles", arguments.category), entry.commit, place)
    return {"entry": asdict(entry)}


def _moment(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """While this lasts, no other `gonogo retrain` of this store runs; where the system has no such lock, it may.

    Raises:
        PipelineError: one runs.
    """
    from gonogo.errors import PipelineError

    with lock.open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PipelineError(f"another gonogo retrain holds {lock}; wait for its end") from error
        yield
