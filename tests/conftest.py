"""What the tests share: the program as a user runs it, and short searches that are the same every time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numba
import pytest
import sparing
import torch
from elsewhere import elsewhere
from hypothesis import settings

SOURCE = Path(__file__).resolve().parent.parent / "src"

# A shell that starts the tests in the background has INT ignored in them, and nohup HUP, and so in every child.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Beside other workers a test takes one thread: as many as there are processors each would only stand in their way.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    numba.set_num_threads(1)

sparing.install()

settings.register_profile("foveate", deadline=None, derandomize=True, print_blob=False)
settings.register_profile("long", settings.get_profile("foveate"), derandomize=False, max_examples=1000)
settings.load_profile("foveate")


def pytest_runtest_setup(item):
    sparing.begin_test()


@pytest.fixture(
    params=["elsewhere", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def device(request, monkeypatch):
    """A device that is not the CPU: one that only pretends, and a GPU where there is one."""
    monkeypatch.setenv("FOVEATE_PRECISION", "float32")
    if request.param == "cuda":
        yield torch.device("cuda")
        return
    monkeypatch.setattr("foveate.runtime.workers.default_workers", lambda: 1)  # it is there in this thread alone
    with elsewhere() as there:
        yield there


@pytest.fixture(scope="session")
def environment():
    """The environment of a child process that imports this foveate, on one thread."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return {**os.environ, **threads, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A folder with `scenes` and a `run` that was trained on them, shared by all worker processes: nothing in it is to
    be changed."""
    from tiny import shared_run

    base = tmp_path_factory.getbasetemp()  # of a worker: in the folder of them all
    return shared_run((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny")


@pytest.fixture
def tiny_presets():
    """`--preset quick` is tiny."""
    from tiny import presets

    with presets():
        yield


@pytest.fixture(scope="session")
def foveate(environment):
    """Runs the program in a process of its own: `foveate("report", run)` gives the CompletedProcess, as text."""

    def call(*words, cwd=None, timeout=400, **more):
        command = [sys.executable, "-m", "foveate", *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=timeout, check=False, **more
        )

    return call
