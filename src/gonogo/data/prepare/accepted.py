"""The history of images that a person accepted as good: who, when, why, and what was taken back.

One JSON object per line, in git. Lines are only ever added: an acceptance is undone by one more line, and both stay.
The images themselves are copies below the raw folder, so that nothing depends on where they came from.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gonogo.data.listing import json_lines
from gonogo.data.names import ACCEPTED
from gonogo.data.sample import Sample
from gonogo.errors import ConfigError, DataError
from gonogo.files import append_json_line
from gonogo.images.dataset import RAW, located

AcceptedRole = Literal["fit", "calibrate"]

ACCEPTED_ROLES: tuple[AcceptedRole, ...] = ("fit", "calibrate")  # never test, which must not be chosen
COPY = re.compile(rf"{ACCEPTED}/[^/]+/(?:fit|calibrate)/[0-9a-f]{{12}}_[^/]+")


@dataclass(frozen=True, kw_only=True)
class AcceptedImage:
    """One image of an acceptance.

    Attributes:
        path: of the copy; `raw/` stands for the raw folder, as in the manifest.
        sha256: of its bytes.
        group_id: of the part that it shows; None: it stands alone.
        score, threshold, verdict: what the gauge of that day said of it; None where there was none.
    """

    path: str
    sha256: str
    group_id: str | None = None
    score: float | None = None
    threshold: float | None = None
    verdict: Literal["pass", "reject"] | None = None


@dataclass(frozen=True, kw_only=True)
class RollBack:
    """When and by whom an acceptance was taken back, and why."""

    date: str
    by: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """Images of one category that were accepted into one role together; `date` in UTC, as 2026-11-21."""

    id: str
    date: str
    by: str
    reason: str | None
    category: str
    role: AcceptedRole
    images: tuple[AcceptedImage, ...]
    rolled_back: RollBack | None = None

    @property
    def sentence(self) -> str:
        """It in a line, for people."""
        n, verdicts = len(self.images), [image.verdict for image in self.images if image.verdict]
        judged = f", {verdicts.count('reject')} of them rejected then" if verdicts else ""
        reason = f": {self.reason}" if self.reason else ""
        images = f"{n} image{'s' * (n != 1)} of {self.category} to {self.role}{judged}"
        said = f"{self.id}  {self.date}  {self.by} accepted {images}{reason}"
        if self.rolled_back is None:
            return said
        why = f": {self.rolled_back.reason}" if self.rolled_back.reason else ""
        return f"{said}; rolled back {self.rolled_back.date} by {self.rolled_back.by}{why}"


def copy_name(category: str, role: AcceptedRole, sha256: str, file: Path) -> str:
    """Where the copy of `file` lies, below the raw folder."""
    return f"{ACCEPTED}/{category}/{role}/{sha256[:12]}_{file.name[-100:]}"


def is_copy(name: str) -> bool:
    """Whether a raw file's name is that of a copy that was accepted; no source may find it a second time."""
    return COPY.fullmatch(name) is not None


def read_history(path: Path) -> list[Acceptance]:
    """Every acceptance in the order of the file, also those that were taken back; none where there is no file.

    Raises:
        DataError: a line is no event, or takes back what was not accepted.
    """
    found: dict[str, Acceptance] = {}
    for where, event in json_lines(path) if path.is_file() else ():
        kind = event.pop("event", None)
        try:
            if kind == "accept":
                acceptance = _acceptance(event)
                if acceptance.id in found:
                    raise ValueError(f"the id {acceptance.id!r} stands there twice")
                found[acceptance.id] = acceptance
            elif kind == "roll back":
                id_ = event.pop("id")
                if id_ not in found or found[id_].rolled_back:
                    raise ValueError(f"{id_!r} is not accepted at this point")
                found[id_] = replace(found[id_], rolled_back=RollBack(**event))
            elif kind != "begin":  # a first line, since DVC warns of an empty file at each run
                raise ValueError(f"event is {kind!r}; expected 'accept' or 'roll back'")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: no event of the history: {error}; restore the line as git has it") from error
    return list(found.values())


def append_acceptance(path: Path, acceptance: Acceptance) -> None:
    """Add an acceptance to the history, as one line that is there whole or not at all."""
    event = asdict(acceptance)
    del event["rolled_back"]
    append_json_line(path, {"event": "accept", **event})


def append_roll_back(path: Path, id_: str, roll_back: RollBack) -> None:
    """Add to the history that an acceptance is taken back.

    Raises:
        ConfigError: as `active_acceptance`.
    """
    active_acceptance(path, id_)
    append_json_line(path, {"event": "roll back", "id": id_, **asdict(roll_back)})


def active_acceptance(path: Path, id_: str) -> Acceptance:
    """The acceptance `id_`, which can be taken back.

    Raises:
        ConfigError: there is none of this id, or it was taken back before.
    """
    history = {acceptance.id: acceptance for acceptance in read_history(path)}
    active = ", ".join(id_ for id_, acceptance in history.items() if acceptance.rolled_back is None) or "none"
    if id_ not in history:
        raise ConfigError(f"{path} has no acceptance {id_!r}; those that can be rolled back: {active}")
    if before := history[id_].rolled_back:
        raise ConfigError(
            f"{id_} was rolled back already, on {before.date} by {before.by}; those that can be: {active}"
        )
    return history[id_]


def accepted_samples(acceptances: Iterable[Acceptance], raw: Path) -> list[Sample]:
    """The images that are accepted now, as good samples of exactly their role."""
    return [
        Sample(
            name=image.path.removeprefix(RAW),
            image=located(image.path, Path(), raw),
            label=0,
            defect_type="good",
            roles=(acceptance.role,),
            group_id=image.group_id,
            sha256=image.sha256,
            accepted={name: getattr(acceptance, name) for name in ("id", "date", "by", "reason")},
        )
        for acceptance in acceptances
        if acceptance.rolled_back is None
        for image in acceptance.images
    ]


def _acceptance(event: Mapping[str, Any]) -> Acceptance:
    acceptance = Acceptance(**{**event, "images": tuple(AcceptedImage(**image) for image in event["images"])})
    if acceptance.role not in ACCEPTED_ROLES or not acceptance.images:
        raise ValueError(f"role is {acceptance.role!r} of {len(acceptance.images)} images")
    for image in acceptance.images:
        if not image.path.startswith(RAW) or not is_copy(image.path.removeprefix(RAW)):
            raise ValueError(f"{image.path!r} is not where accepted images lie")
    return acceptance
