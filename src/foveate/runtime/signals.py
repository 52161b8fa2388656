"""INT and TERM: the run stops in good order within three seconds, whatever it is doing.

Three lines of defence:
1. the handler sets a flag, and every progress tick looks at it (`check`) and raises `Interrupted`;
2. a watcher thread, which the system itself notifies through a pipe, ends the process `GRACE` seconds after the first
   signal if no tick came by: Python's own handlers only run between two steps of the main thread, which may sit in one
   long matrix product. Ending abruptly is safe since every file is written whole or not at all;
3. a second INT ends the process at once.

Nothing happens on import: `install` is for the command line, and libraries that import foveate keep their own handlers.
"""

import os
import signal
import sys
import threading

from foveate.errors import Interrupted

GRACE = 2.5  # seconds from the first signal to the abrupt end

_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_asked: int | None = None
_settled = threading.Event()


def check() -> None:
    """Raise `Interrupted` if INT, TERM or HUP was received since `install`."""
    if _asked is not None:
        raise Interrupted(_asked)


def settle() -> None:
    """Say that the run has stopped in good order: the watcher lets go."""
    _settled.set()


def leave() -> None:
    """Say that all is done: what comes while the interpreter closes down is ignored, there being nothing to stop.

    (Python gives the signals back before its own end. One that came then ended a finished run with the status of a
    killed one.)
    """
    for number in _OURS:
        if signal.getsignal(number) is _ask:
            signal.signal(number, signal.SIG_IGN)


def install() -> None:
    """Take over INT, TERM and HUP for this process; call it once, in the main thread.

    A signal that the parent has set to be ignored (`nohup`) stays ignored.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in _OURS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ask)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), name="foveate-signals", daemon=True).start()


def _ask(number: int, frame: object) -> None:
    global _asked
    if _asked is None:
        _asked = number


def _watch(reader: int) -> None:
    first = _next_signal(reader)
    threading.Thread(target=lambda: (_next_signal(reader), _end(first)), daemon=True).start()  # at the second signal
    if not _settled.wait(GRACE):
        _end(first)


def _next_signal(reader: int) -> int:
    while (number := int.from_bytes(os.read(reader, 1))) not in _OURS:
        pass
    return number


def _end(number: int) -> None:
    """End now, from any thread, with the one line that a stopped run prints."""
    cursor = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
    try:
        os.write(2, f"{cursor}foveate: interrupted\n".encode())
    finally:
        os._exit(128 + number)
