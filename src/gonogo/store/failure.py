"""What kind of failure it is when a file or a row cannot be written or read."""

import errno
from typing import Literal

import sqlalchemy as sa

FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_STATES = ("SQLITE_FULL", "53100")  # SQLite's name of the error, and PostgreSQL's SQLSTATE
OUTAGES = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError, sa.exc.DisconnectionError)


def failure_of(error: BaseException) -> Literal["full", "unavailable"] | None:
    """Whether a disk is full, or a disk or database cannot be used now; None: the error is of another kind.

    Unavailable are, for example, a database that another program has locked, one that does not answer, and a folder
    that can only be read. An error that is a mistake in a statement is of another kind.
    """
    if isinstance(error, OSError):
        return "full" if error.errno in FULL_ERRORS else "unavailable"
    if isinstance(error, OUTAGES):
        cause = getattr(error, "orig", None)
        state = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
        return "full" if state in FULL_STATES else "unavailable"
    return None


def summary_of(error: BaseException) -> str:
    """The failure in one line, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return next(iter(str(cause).splitlines()), type(cause).__name__)
