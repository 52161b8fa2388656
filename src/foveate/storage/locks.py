"""Who may write into a folder: a lock that dies with its process, and the exchange of two folders in one step."""

import ctypes
import errno
import fcntl
import os
from pathlib import Path
from typing import IO

from foveate.errors import BadInput

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux


def hold(handle: IO, of: Path) -> None:
    """Keep a file that is open for writing for this process alone, until it is closed or the process ends.

    Raises:
        BadInput: It is closed: another process uses `of`, the place that is kept by the file.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise BadInput(f"{of}: another process is using it") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            handle.close()
            raise  # file systems without locks are left unlocked: exclusive creation still guards what is new


def lock(folder: Path, of: Path) -> IO:
    """Take the lock of a folder, a file in it, made if need be; as `hold`."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = open(folder / "lock", "ab")
    hold(handle, of)
    return handle


def exchange(new: Path, old: Path) -> None:
    """Swap two folders: `old` holds what `new` held, at once where the system can (Linux's renameat2).

    Where it can't, the old folder is moved aside first: a power cut between the two moves leaves both folders whole,
    the old one as `.NAME.old`.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    arguments = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE)
    if renameat2 is not None and renameat2(*arguments) == 0:
        return
    aside = old.parent / f".{old.name}.old"
    os.rename(old, aside)
    os.rename(new, old)
    os.rename(aside, new)
