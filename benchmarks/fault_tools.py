"""What the fault run does things with: the program in processes of its own, signals, small disks, lines of a table."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


class Row:
    """A line of the table."""

    def __init__(self, what: str):
        self.what, self.runs, self.good, self.notes = what, 0, 0, Counter()
        self.slowest = 0.0

    def add(self, good: bool, note: str = "", seconds: float = 0.0) -> None:
        """One more run; `note` is counted, `seconds` is how long it took to stop."""
        self.runs += 1
        self.good += good
        self.notes[note] += 1
        self.slowest = max(self.slowest, seconds)
        print(f"  {self.what} {self.runs}: {'as promised' if good else 'NOT as promised'} {note}", file=sys.stderr)

    def __str__(self) -> str:
        notes = ", ".join(f"{note} {count}" for note, count in sorted(self.notes.items()) if note)
        slow = f"; stopped in {self.slowest:.1f} s at most" if self.slowest else ""
        return f"{self.what:58} {self.good:3} of {self.runs:3}   {notes}{slow}"


def foveate(*words: object) -> subprocess.Popen:
    """The program, started."""
    command = [sys.executable, "-m", "foveate", *map(str, words)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finished(*words: object) -> tuple[int, str]:
    """Exit status and last line on stderr of the program, run to its end."""
    child = foveate(*words)
    _, said = child.communicate()
    return child.returncode, said.splitlines()[-1] if said else ""


def must(*words: object) -> None:
    """Run the program where anything but success ends the benchmark."""
    status, said = finished(*words)
    if status != 0:
        raise SystemExit(f"foveate {' '.join(map(str, words))}: status {status}, {said}")


def stop(child: subprocess.Popen, number: signal.Signals, after: float) -> tuple[int | None, float]:
    """Signal a child after some seconds: its exit status (None where it had ended before) and seconds to the end."""
    try:
        child.wait(after)
        child.communicate()
        return None, 0.0
    except subprocess.TimeoutExpired:
        child.send_signal(number)
        began = time.monotonic()
        child.communicate()
        return child.returncode, time.monotonic() - began


def promised(status: int | None, number: signal.Signals) -> bool:
    """Whether a signalled process ended with the status that is promised (or before the signal, with 0)."""
    return status in (None, 0) or status == (-number if number == signal.SIGKILL else 128 + number)


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A small disk mounted at `folder`; what it yields changes its options ("size=400m", "ro")."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True) and None
    finally:
        subprocess.run(["umount", str(folder)], check=True)
