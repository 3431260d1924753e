"""The time as far as it can be trusted: a clock that jumps must neither age images nor make them young.

The database has the latest time that a service noted. A clock that is behind it stands still here, and one that is far
ahead of it counts as CLOCK_JUMP ahead, until it is right again or a person confirms it.
"""

import time

import sqlalchemy as sa

from gonogo.store.schema import clock, inspections

CLOCK_JUMP = 7 * 86_400.0  # seconds; a service that was off for longer needs a confirmation too


class Clock:
    """The wall clock, and the time that was noted last; times are in seconds since 1970."""

    def __init__(self, engine: sa.Engine) -> None:
        """Read the time noted last; a store without one begins with its latest inspection, or with now."""
        self._engine = engine
        with engine.begin() as connection:
            seen = connection.execute(sa.select(clock.c.seen)).scalar()
            if seen is None:
                seen = connection.execute(sa.select(sa.func.max(inspections.c.at))).scalar()
                seen = time.time() if seen is None else seen
                connection.execute(sa.insert(clock).values(id=1, seen=seen))
        self._seen: float = seen

    def now(self) -> float:
        """The wall clock's time, kept between the time noted last and CLOCK_JUMP after it."""
        return min(max(time.time(), self._seen), self._seen + CLOCK_JUMP)

    def jump(self) -> float:
        """Note the time, and return 0; or note nothing, and return the seconds of a jump of more than CLOCK_JUMP.

        Raises:
            SQLAlchemyError: the database refuses.
        """
        with self._engine.begin() as connection:
            self._seen = connection.execute(sa.select(clock.c.seen)).scalar_one()  # it may have been confirmed
            ahead = time.time() - self._seen
            if ahead > CLOCK_JUMP:
                return ahead
            if ahead > 0:
                connection.execute(sa.update(clock).values(seen=self._seen + ahead))
                self._seen += ahead
        return 0.0

    def confirm(self) -> None:
        """Trust the wall clock's time from now on."""
        with self._engine.begin() as connection:
            self._seen = time.time()
            connection.execute(sa.update(clock).values(seen=self._seen))
