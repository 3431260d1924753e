"""What moved since the evidence against the certificate in use began to grow, from the inspections of the store."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import numpy as np

from gonogo.images.statistics import STATISTICS
from gonogo.monitoring.moved import Movement, most_typical, movement
from gonogo.service import schemas
from gonogo.service.service import Service
from gonogo.store.watches import SeenPart

MOST_PARTS = 2000  # on either side, the newest


async def drift_of(service: Service, status: schemas.CertificateStatus) -> schemas.Drift:
    """What moved; before is from the begin of the watch to where the strongest evidence began to grow."""
    return await asyncio.to_thread(_drift_of, service, status)


def _drift_of(service: Service, status: schemas.CertificateStatus) -> schemas.Drift:
    claim, name = strongest(status)
    watch, watches = service.standing.watch_row, service.store.watches
    split = claim.since_key
    before = [] if split is None else watches.seen(status.bundle, after=watch["after"], until=split, limit=MOST_PARTS)
    after = watches.seen(status.bundle, after=split or watch["after"], until=None, limit=MOST_PARTS)
    found = [_moved(each, before, after) for each in ("score", "p_value", "n_regions", *STATISTICS)]
    return schemas.Drift(
        claim=name,
        since=None if not before else datetime.fromtimestamp(before[-1].at, UTC),
        moved=[schemas.Moved(**vars(one)) for one in found if one is not None],
        typical_before=_typical(before),
        typical_after=_typical(after),
    )


def strongest(status: schemas.CertificateStatus) -> tuple[schemas.Claim, str]:
    """The claim with the most evidence against it, or the statistic of the images, and its name."""
    name, claim = max(status.claims.items(), key=lambda one: one[1].log_evidence)
    if not claim.statistics:
        return claim, name
    statistic, of_images = max(claim.statistics.items(), key=lambda one: one[1].log_evidence)
    return of_images, statistic


def _moved(name: str, before: list[SeenPart], after: list[SeenPart]) -> Movement | None:
    sides = [[_value(part, name) for part in side] for side in (before, after)]
    return movement(name, sides[0], sides[1])


def _value(part: SeenPart, name: str) -> float:
    return float(part.statistics.get(name, np.nan)) if name in STATISTICS else float(getattr(part, name))


def _typical(parts: list[SeenPart]) -> str | None:
    """The id of the part that looks most like all of them and whose image is kept; None where there is none."""
    kept: list[Any] = [part for part in parts if part.kept]
    if not kept:
        return None
    values = np.array([[_value(part, name) for name in ("score", *STATISTICS)] for part in kept])
    return str(kept[most_typical(values)].id)
