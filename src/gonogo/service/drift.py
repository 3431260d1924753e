"""What moved since the evidence against the certificate in use began to grow, from the inspections of the store."""

import asyncio
import math
from datetime import UTC, datetime

import numpy as np

from gonogo.images.statistics import STATISTICS
from gonogo.monitoring.moved import NUMBERS, most_typical, strongest, what_moved
from gonogo.service import schemas
from gonogo.service.service import Service
from gonogo.store.watches import SeenPart

MOST_PARTS = 2000  # on either side, the newest


async def drift_of(service: Service, status: schemas.CertificateStatus) -> schemas.Drift:
    """What moved; before is from the begin of the watch to where the strongest evidence began to grow."""
    return await asyncio.to_thread(_drift_of, service, status)


def _drift_of(service: Service, status: schemas.CertificateStatus) -> schemas.Drift:
    name, split = strongest({name: claim.model_dump() for name, claim in status.claims.items()})
    begun, watches = service.standing.watch_row["after"], service.store.watches
    before = [] if split is None else watches.seen(status.bundle, after=begun, until=split, limit=MOST_PARTS)
    after = watches.seen(status.bundle, after=split or begun, until=None, limit=MOST_PARTS)
    return schemas.Drift(
        claim=name,
        since=datetime.fromtimestamp(before[-1].at, UTC) if before else None,
        moved=[schemas.Moved(**vars(one)) for one in what_moved(_numbers(before), _numbers(after))],
        typical_before=_typical(before),
        typical_after=_typical(after),
    )


def _numbers(parts: list[SeenPart]) -> np.ndarray:
    """(n, 10): NUMBERS of each part."""
    rows = [
        (part.score, part.p_value, part.n_regions, *(part.statistics.get(name, math.nan) for name in STATISTICS))
        for part in parts
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, len(NUMBERS))


def _typical(parts: list[SeenPart]) -> str | None:
    """The id of the part that is most like all of them and whose image is kept; None where there is none."""
    kept = [part for part in parts if part.kept]
    return kept[most_typical(_numbers(kept))].id if kept else None
