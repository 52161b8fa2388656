"""How the C library keeps memory that large tensors let go of, and how much there was at most."""

import ctypes
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_large_blocks() -> bool:
    """Lets freed blocks of up to 128 MB be used again instead of going back to the system; whether the C library can.

    By default glibc maps each block of 32 MB or more anew, and the kernel clears and faults in its pages at every
    use: a sixth of the time of a training step with activations of 36 MB. What is larger, such as a gallery's pixels,
    still goes back to the system.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    limit = ctypes.c_int(1 << 27)
    return bool(mallopt(_M_MMAP_THRESHOLD, limit)) and bool(mallopt(_M_TRIM_THRESHOLD, limit))


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
