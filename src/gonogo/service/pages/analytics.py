"""The page of rates: by hour, shift, key and category, the p-chart, and distributions of each bundle."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from gonogo.service import schemas
from gonogo.service.pages.access import inspector_page_key
from gonogo.service.pages.charts import bar_chart, control_chart
from gonogo.service.pages.rendering import render
from gonogo.service.routes.access import service_of
from gonogo.service.routes.analytics import Category, KeyId, Table, counted, csv_response

HOURS = {"8": 8, "24": 24, "168": 7 * 24, "720": 30 * 24, "2160": 90 * 24}  # that can be chosen
STEP = 60.0  # seconds; the time asked for ends at the next whole minute, so that a page and its CSV agree
Hours = Literal["8", "24", "168", "720", "2160"]
Chosen = Annotated[Hours, Query()]
router = APIRouter(prefix="/analytics", dependencies=[Depends(inspector_page_key)])


@router.get("")
async def analytics(request: Request, hours: Chosen = "168", category: Category = None, key: KeyId = None) -> Response:
    """The page."""
    counts = await _counts(request, hours, category, key)
    store = service_of(request).store
    keys = {row["id"]: row["name"] for row in await asyncio.to_thread(store.all_keys)}
    chosen = {name: value for name, value in (("hours", hours), ("category", category), ("key", key)) if value}
    return render(
        request,
        "analytics.html.j2",
        counts=counts,
        hours=hours,
        choices=list(HOURS),
        category=category or "",
        chosen_key=key or "",
        keys=keys,
        categories=await asyncio.to_thread(store.analytics.categories),
        query=urlencode(chosen),
        chart=control_chart(counts.p_chart),
        bundles=[_bundle_charts(bundle) for bundle in counts.bundles],
        active=service_of(request).gauge.scorer.fingerprint,
        certificate=service_of(request).standing.standing.fields,
    )


@router.get("/{table}.csv")
async def table(
    request: Request, table: Table, hours: Chosen = "168", category: Category = None, key: KeyId = None
) -> Response:
    """A table of the page as a file."""
    return csv_response(await _counts(request, hours, category, key), table)


async def _counts(request: Request, hours: str, category: str | None, key: str | None) -> schemas.Analytics:
    end = (time.time() // STEP + 1) * STEP
    since, until = (datetime.fromtimestamp(at, UTC) for at in (end - 3600 * HOURS[hours], end))
    return await counted(request, since=since, until=until, category=category or None, key=key or None)


def _bundle_charts(bundle: schemas.BundleHistograms) -> dict[str, Any]:
    tables = ("relative_scores", "p_values", "latency_ms")
    bars = {name: getattr(bundle, name) for name in tables}
    return {"bundle": bundle.bundle, "bars": bars, "charts": {name: bar_chart(bars[name]) for name in tables}}
