"""How much memory this process and this machine have, in bytes, as far as the system says, and what is kept of it."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
STATUS = Path("/proc/self/status")  # Linux, whose getrusage also counts what the parent held when it started this one

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def keep_freed_memory() -> None:
    """Let this process keep what it frees, where the C library is glibc; for one that computes and ends.

    What torch computes of a few images takes tens of megabytes, which glibc gives back to the system after each layer.
    The system clears them before it gives them out again, which is a sixth of the time that parity takes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Within it Python does not look for garbage; for work that makes many small objects and keeps most of them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def peak_bytes() -> int:
    """Largest resident size of this process so far; 0 where the system does not say."""
    if STATUS.is_file():
        return _status("VmHWM")
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 2**10


def resident_bytes() -> int:
    """Resident size of this process now; where the system does not say, the largest so far."""
    return _status("VmRSS") if STATUS.is_file() else peak_bytes()


def machine_bytes() -> int:
    """Memory that the machine has, or the container where its limit is lower; 0 where the system does not say."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows; a name that the system lacks
        return 0
    return min([installed, *(limit for limit in map(_limit_in, CONTAINER_LIMITS) if limit)])


def _limit_in(file: Path) -> int:
    """The number in a file of the control groups; 0 without a limit."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # there is no such file, or it says "max"
        return 0


def _status(field: str) -> int:
    for line in STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 2**10
    return 0
