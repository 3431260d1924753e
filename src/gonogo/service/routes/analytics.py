"""The routes of the counts: rates, p-chart and histograms as JSON, and one of them as CSV."""

import asyncio
import time
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query, Request
from fastapi.responses import Response

from gonogo.service import schemas
from gonogo.service.problems import Problem
from gonogo.service.rates import analytics_of, as_csv
from gonogo.service.routes.access import service_of
from gonogo.service.schemas import Moment
from gonogo.store.analytics import Selection

DAYS = 7.0  # that are counted unless `since` says otherwise
SECONDS_PER_DAY = 86_400.0
Table = Literal["by_hour", "by_shift", "by_key", "by_category", "p_chart", "p_values", "relative_scores", "latency_ms"]
Category = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
KeyId = Annotated[str | None, Query(max_length=16, pattern=r"^[0-9a-f]*$")]


async def analytics(
    request: Request,
    since: Moment | None = None,
    until: Moment | None = None,
    category: Category = None,
    key: KeyId = None,
) -> schemas.Analytics:
    """Rates of rejects with their intervals, the p-chart, and histograms; by default of the last 7 days."""
    return await counted(request, since=since, until=until, category=category, key=key)


async def analytics_csv(
    request: Request,
    table: Table,
    since: Moment | None = None,
    until: Moment | None = None,
    category: Category = None,
    key: KeyId = None,
) -> Response:
    """One of the tables as CSV; text that a spreadsheet would take for a formula is escaped."""
    counts = await counted(request, since=since, until=until, category=category, key=key)
    return csv_response(counts, table)


async def counted(
    request: Request, *, since: datetime | None, until: datetime | None, category: str | None, key: str | None
) -> schemas.Analytics:
    """The counts of a request.

    Raises:
        Problem: the time asked for ends before it begins.
    """
    end = time.time() if until is None else until.timestamp()
    begin = end - DAYS * SECONDS_PER_DAY if since is None else since.timestamp()
    if begin >= end:
        raise Problem("invalid-request", "`since` must be before `until`")
    service = service_of(request)
    return await asyncio.to_thread(
        analytics_of, service.store, Selection(begin, end, category, key), service.settings.shifts
    )


def csv_response(counts: schemas.Analytics, table: Table) -> Response:
    """A table of the counts as a file."""
    content = as_csv(counts, table)
    return Response(
        content,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{table}.csv"'},
    )
