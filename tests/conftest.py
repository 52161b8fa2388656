"""What the tests share: the program as a user runs it, and short searches that are the same every time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

SOURCE = Path(__file__).resolve().parent.parent / "src"

# A shell that starts the tests in the background has INT ignored in them, and nohup HUP, and so in every child.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("foveate", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("foveate")


@pytest.fixture(scope="session")
def environment():
    """The environment of a child process that imports this foveate, on one thread."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return {**os.environ, **threads, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="session")
def foveate(environment):
    """Runs the program in a process of its own: `foveate("report", run)` gives the CompletedProcess, as text."""

    def call(*words, cwd=None, timeout=400, **more):
        command = [sys.executable, "-m", "foveate", *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=timeout, check=False, **more
        )

    return call
