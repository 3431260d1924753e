"""How much memory this process and this machine have, in bytes, as far as the system says."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GROUPS, MEMBERSHIPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # Linux: limits of control groups
STATUS = Path("/proc/self/status")  # Linux, whose getrusage also counts what the parent held when it started this one


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
    """Memory that the machine has; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows; a name that the system lacks
        return 0


def available_bytes() -> int:
    """Memory that this process may have: the machine's, or less where its control group has a limit; 0: unknown."""
    limits = [machine_bytes(), *_group_limits()]
    return min((limit for limit in limits if limit > 0), default=0)


def _group_limits() -> Iterator[int]:
    """The limits of this process's control group and of those above it, of version 2 and of version 1."""
    try:
        memberships = [line.split(":", 2) for line in MEMBERSHIPS.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):  # not Linux
        return
    for _, controllers, group in memberships:
        root, name = (GROUPS, "memory.max") if not controllers else (GROUPS / "memory", "memory.limit_in_bytes")
        if controllers and "memory" not in controllers.split(","):
            continue
        place = root / group.lstrip("/")
        for folder in (place, *place.parents):
            if folder.is_relative_to(root):
                with suppress(OSError, ValueError):  # it is not visible here, or "max": there is no limit
                    yield int((folder / name).read_text(encoding="utf-8"))


def _status(field: str) -> int:
    for line in STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 2**10
    return 0
