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

    The body of the request must have been read. The work is done by the task of the request itself: each further task
    that has to wake another one would be a turn of the event loop.

    Raises:
        Problem: the deadline is over, or no client waits any more.
    """
    loop, hung_up = asyncio.get_running_loop(), False
    watching: asyncio.Task[None] | None = None

    async def watch() -> None:
        nonlocal hung_up
        while (await request.receive())["type"] != "http.disconnect":
            pass
        hung_up = True
        limit.reschedule(loop.time())

    def begin_to_watch() -> None:
        nonlocal watching
        watching = loop.create_task(watch())

    patience = loop.call_later(PATIENCE, begin_to_watch)
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError as error:
        if not limit.expired():  # it is the work's own
            raise
        raise (DisconnectedError() if hung_up else deadline_problem(seconds)) from error
    finally:
        patience.cancel()
        if watching is not None:
            watching.cancel()
