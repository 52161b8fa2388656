"""How much memory a process has had at most."""

import sys
from pathlib import Path


def peak_memory() -> int:
    """The most resident memory that this process has had, bytes.

    Linux's own count of it where there is one: what getrusage gives starts, after exec, from the parent's peak, so that
    a small child of a large process seems to need nothing.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource  # not on every system

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
