"""Work for a client that still waits for it: it ends with the deadline, and when the client hangs up."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request

from gonogo.service.problems import DisconnectedError, deadline_problem

PATIENCE = 0.2  # seconds; most work is done by then, and to look whether the client is there costs time too
Result = TypeVar("Result")


async def unless_abandoned(request: Request, work: Awaitable[Result], seconds: float) -> Result:
    """The result of `work`, which is cancelled when the deadline of `seconds` is over or the client has hung up.

    The body of the request must have been read.

    Raises:
        Problem: the deadline is over, or no client waits any more.
    """
    working = asyncio.ensure_future(work)
    working.add_done_callback(_retrieve)
    hung_up: asyncio.Task[None] | None = None
    try:
        done, _ = await asyncio.wait([working], timeout=min(PATIENCE, seconds))
        if not done:
            hung_up = asyncio.create_task(_hung_up(request))
            left = max(0.0, seconds - PATIENCE)
            await asyncio.wait([working, hung_up], timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        if hung_up is not None and hung_up.done():
            raise DisconnectedError
        raise deadline_problem(seconds)
    finally:
        for task in (working, hung_up):
            if task is not None:
                task.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _retrieve(ended: asyncio.Future[Result]) -> None:
    """Look at the exception of work that was given up, which asyncio would otherwise log as never retrieved."""
    if not ended.cancelled():
        ended.exception()
