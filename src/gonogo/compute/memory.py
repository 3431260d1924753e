"""How much memory this process and this machine have, in bytes, as far as the system says."""

import os
import sys
from pathlib import Path

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


def _status(field: str) -> int:
    for line in STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 2**10
    return 0
