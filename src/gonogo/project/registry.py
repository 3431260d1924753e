"""The registry: which gauge of a category is in staging or production, who let it pass, and why.

`registry.jsonl` lies in git, and lines are only added. Each has the hash of the line before, so that a change of an
earlier line shows. A gauge gets into it by `promote` alone, which holds it against the gauge that it would replace by
the rules of `tolerances.yaml`; `check` computes every gate again from the commits that a line names. Tags of GTO mirror
the lines for `dvc artifacts get`; nothing is read from them.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from gonogo.data.listing import json_lines
from gonogo.errors import DataError, GateError, PipelineError
from gonogo.files import append_json_line
from gonogo.images.dataset import MANIFEST
from gonogo.images.roles import TEST
from gonogo.inference.bundle import Bundle, read_bundle
from gonogo.inference.scorer import Scorer
from gonogo.inference.self_check import check_network
from gonogo.params import project_path
from gonogo.project.compare import compare
from gonogo.project.dvc import get_artifact
from gonogo.project.git import place_in_repository
from gonogo.project.revision import Revisions

REGISTRY, TOLERANCES = Path("registry.jsonl"), Path("tolerances.yaml")
FIRST = "0" * 64  # in the place of the hash of the line before the first

Alias = Literal["staging", "production"]
Action = Literal["promote", "roll back"]


@dataclass(frozen=True)
class Gauge:
    """A gauge that may be in use; the attributes are those of `Entry`."""

    category: str
    bundle: str
    commit: str
    gate: str | None


@dataclass(frozen=True)
class Entry:
    """One line of the registry.

    id: 1 for the first line.
    at: UTC, as 2026-11-29T16:40:00Z.
    bundle: the gauge's fingerprint.
    commit: where its bundle, metrics and records are.
    gate: SHA-256 of the comparison with the gauge that it replaces, as JSON; None: it replaces none.
    replaces: id of the line whose gauge was in use under this alias before; None: there was none.
    restores: of a roll-back, the id of the promotion whose gauge is in use again.
    previous: SHA-256 of the line before.
    """

    id: int
    at: str
    action: Action
    category: str
    alias: Alias
    bundle: str
    commit: str
    gate: str | None
    by: str
    reason: str
    replaces: int | None
    restores: int | None
    previous: str

    @property
    def gauge(self) -> Gauge:
        """The gauge that it put into use."""
        return Gauge(self.category, self.bundle, self.commit, self.gate)


def read_registry(path: Path = REGISTRY) -> list[Entry]:
    """All lines, in their order; none where there is no file.

    Raises:
        DataError: a line is none of the registry, or does not follow the line before it.
    """
    entries: list[Entry] = []
    previous = FIRST
    for where, content in json_lines(path) if path.is_file() else ():
        try:
            entry = Entry(**content)
            if entry.action not in get_args(Action) or entry.alias not in get_args(Alias):
                raise ValueError(f"action {entry.action!r} with alias {entry.alias!r}")
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}: no line of the registry: {error}; restore it as git has it") from error
        if (entry.previous, entry.id) != (previous, len(entries) + 1):
            raise DataError(
                f"{where} does not follow the line before it: a line was changed, removed, or added by hand or by a "
                "merge; restore the file as git has it, and promote again what is missing"
            )
        entries.append(entry)
        previous = _digest(content)
    return entries


def in_use(entries: Sequence[Entry], category: str, alias: Alias) -> Entry | None:
    """The line whose gauge is in use; None where the category has none under this alias."""
    return next((one for one in reversed(entries) if (one.category, one.alias) == (category, alias)), None)


def promote(category: str, alias: Alias, revision: str, *, by: str, reason: str) -> Entry:
    """Put the gauge of a category at a revision into use, if it holds the tolerances against the one in use.

    The revision is one of git, or the name of a DVC experiment.
    Both gauges are compared by the metrics and records that their commits have, on the same images. The bundle is taken
    from DVC's cache or remote as the commit names it, its hashes are checked, and its network is run.

    Raises:
        GateError: a metric of the category is beyond its tolerance; the message has all of them.
        DataError: there is no such revision, the images of the two differ, its gauge is in use already, or the registry
            is damaged.
        IntegrityError: the bundle is damaged, or its network does not run here.
        PipelineError: DVC has no bundle of it.
    """
    entries = read_registry()
    gauge = _passing(entries, category, alias, revision)
    current = in_use(entries, category, alias)
    if gauge is None and current is not None:
        raise DataError(f"{category}: this gauge is in {alias} already, since {current.at}, by {current.by}")
    assert gauge is not None
    return _append(entries, "promote", gauge, alias, by=by, reason=reason, restores=None)


def passing(category: str, alias: Alias, revision: str) -> Gauge | None:
    """The gauge of a category at a revision that `promote` would put into use; None: it is. Nothing is written.

    Raises:
        GateError, DataError, IntegrityError, PipelineError: as `promote`.
    """
    return _passing(read_registry(), category, alias, revision)


def _passing(entries: Sequence[Entry], category: str, alias: Alias, revision: str) -> Gauge | None:
    commit = Revisions(Path(), revision, None).commits[0]
    fingerprint = _bundle_at(category, commit).fingerprint
    current = in_use(entries, category, alias)
    if current is not None and current.bundle == fingerprint:
        return None
    gate = None if current is None else _passed_gate(category, current.commit, commit)
    return Gauge(category, fingerprint, commit, gate)


def roll_back(category: str, alias: Alias, *, by: str, reason: str) -> Entry:
    """Put the gauge back into use that the one in use replaced. It passed its gate when it was promoted.

    Raises:
        DataError: there is no gauge before the one in use, or the registry is damaged.
        IntegrityError: the earlier bundle is damaged.
        PipelineError: DVC has it no more.
    """
    entries = read_registry()
    current = in_use(entries, category, alias)
    replaced = None if current is None else _promotion(entries, current).replaces
    if replaced is None:
        raise DataError(f"{category}: {alias} has no earlier gauge to go back to")
    earlier = _promotion(entries, entries[replaced - 1])
    _require_same(_bundle_at(category, earlier.commit), earlier)
    return _append(entries, "roll back", earlier.gauge, alias, by=by, reason=reason, restores=earlier.id)


def check(entries: Sequence[Entry]) -> Iterator[str]:
    """What is wrong with the lines: each that `promote` or `roll_back` would not have written, and why.

    The lines' order and hashes are checked by `read_registry`. Needs every commit that a line names.
    """
    for entry in entries:
        if fault := _fault(entries, entry):
            yield f"{REGISTRY}, line {entry.id}, {entry.category} in {entry.alias}: {fault}"


def fetch(category: str, alias: Alias, folder: Path) -> Entry:
    """Write the bundle of the gauge in use to a new folder, once its line was checked; the line.

    Raises:
        DataError: no gauge is in use, the registry is damaged, or its line is not what `promote` and `roll_back` write.
        GateError: as the last, since it does not hold the tolerances.
        IntegrityError: the bundle is damaged, or its network does not run here.
        PipelineError: DVC has it no more.
    """
    entries = read_registry()
    entry = in_use(entries, category, alias)
    if entry is None:
        raise DataError(f"{category} has no gauge in {alias}; `gonogo promote {category}` puts one there")
    for line in dict.fromkeys((_promotion(entries, entry), entry)):
        if fault := _fault(entries, line):
            raise GateError(f"{REGISTRY}, line {line.id}, did not come through the gate: {fault}")
    if folder.exists():
        raise DataError(f"{folder} is there already; name a new folder")
    get_artifact(project_path("bundles", category), entry.commit, folder)
    _require_same(read_bundle(folder), entry)
    return entry


def _fault(entries: Sequence[Entry], entry: Entry) -> str | None:
    """Why neither `promote` nor `roll_back` wrote this line; None where one of them did."""
    earlier = entries[: entry.id - 1]
    before = in_use(earlier, entry.category, entry.alias)
    if entry.replaces != (None if before is None else before.id):
        return "it does not name the gauge that was in use before it"
    if entry.action == "roll back":
        target = None if before is None else _promotion(entries, before).replaces
        restored = None if target is None else _promotion(entries, entries[target - 1])
        if restored is None or (restored.id, restored.gauge) != (entry.restores, entry.gauge):
            return "it restores another gauge than the one before the gauge in use"
    elif entry.restores is not None or (before is None and entry.gate is not None):
        return "it is no promotion, or has a gate with nothing before it"
    try:
        _require_same(_bundle_at(entry.category, entry.commit), entry)
        if entry.action == "promote" and before is not None:
            if entry.gate is None:
                return "it passed no gate, though a gauge was in use"
            if _passed_gate(entry.category, before.commit, entry.commit) != entry.gate:
                return "its gate is another one than the comparison of the two commits"
    except (GateError, DataError, PipelineError) as error:
        return str(error)
    return None


def mirror(entry: Entry) -> list[str]:
    """Write the tags of GTO that say the same, for `dvc artifacts get`; return their names.

    A version is registered where the commit has none, and the stage is assigned to it.
    """
    from gto import api  # where it is used: it takes a second to import

    logging.getLogger("gto").setLevel(logging.ERROR)
    name, place = f"gauge-{entry.category}", place_in_repository(Path())
    artifact = f"{place}:{name}" if place.name else name
    message = f"{entry.action} by {entry.by}: {entry.reason}"
    event = api.assign(".", artifact, entry.alias, ref=entry.commit, message=message, force=True)
    return [str(event.tag)] if event is not None else []


def _passed_gate(category: str, old: str, new: str) -> str:
    """The hash of the comparison of two commits.

    Raises:
        GateError: it does not pass.
    """
    comparison = compare(
        Revisions(Path(), old, new),
        records=project_path("plots", "records").as_posix(),
        tolerances=TOLERANCES,
        other_data=True,
        category=category,
    )
    if comparison.other_data:
        _require_same_test_images(category, old, new)
    gate = comparison.gate
    if gate is None or not gate.passed:
        breaches = "\n".join(breach.sentence for breach in (gate.breaches if gate is not None else ()))
        raise GateError(
            f"the gauge in use stays, since the other one is beyond its tolerances; `gonogo compare {old[:12]} "
            f"{new[:12]}` has the whole comparison\n{breaches}"
        )
    return _digest({"category": category, **comparison.to_dict()})


def _require_same_test_images(category: str, *commits: str) -> None:
    """Refuse to compare two gauges that were tested on different images; their fit and calibrate images may differ."""
    tested = []
    for commit in commits:
        with TemporaryDirectory() as folder:
            place = Path(folder, MANIFEST)
            get_artifact(project_path("prepared", category) / MANIFEST, commit, place)
            records = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
        names = ("sha256", "label", "defect_type", "mask_sha256")
        tested.append(sorted([str(one[name]) for name in names] for one in records if one["role"] in TEST))
    if tested[0] != tested[1]:
        raise DataError(
            f"{category}: {commits[0][:12]} and {commits[1][:12]} were tested on different images, so that no gate can "
            "tell which gauge is better; make the gauge in use anew on the new test images, and promote that one first"
        )


def _bundle_at(category: str, commit: str) -> Bundle:
    """The bundle of a category as a commit names it, once its network has run here."""
    with TemporaryDirectory() as folder:
        path = Path(folder, category)
        get_artifact(project_path("bundles", category), commit, path)
        check_network(Scorer(path))
        return read_bundle(path)


def _require_same(bundle: Bundle, entry: Entry) -> None:
    if bundle.fingerprint != entry.bundle:
        raise DataError(
            f"the commit {entry.commit[:12]} has the gauge {bundle.fingerprint[:12]}, the registry names "
            f"{entry.bundle[:12]}"
        )


def _promotion(entries: Sequence[Entry], entry: Entry) -> Entry:
    """The line that promoted the gauge of a line: itself, or the one that a roll-back restores."""
    return entry if entry.restores is None else entries[entry.restores - 1]


def _append(
    entries: Sequence[Entry],
    action: Action,
    gauge: Gauge,
    alias: Alias,
    *,
    by: str,
    reason: str,
    restores: int | None,
) -> Entry:
    current = in_use(entries, gauge.category, alias)
    entry = Entry(
        id=len(entries) + 1,
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        action=action,
        category=gauge.category,
        alias=alias,
        bundle=gauge.bundle,
        commit=gauge.commit,
        gate=gauge.gate,
        by=by,
        reason=reason,
        replaces=None if current is None else current.id,
        restores=restores,
        previous=_digest(asdict(entries[-1])) if entries else FIRST,
    )
    append_json_line(REGISTRY, asdict(entry))
    return entry


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
