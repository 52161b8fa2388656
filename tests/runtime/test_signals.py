"""INT and TERM end any phase within three seconds, with one line, and no process stays."""

import os
import signal
import subprocess
import sys
import time

import pytest

TICKING = """
with Quiet().phase("work") as tick:
    print("at work", flush=True)
    for step in range(10**9):
        time.sleep(0.01)
        tick(step)
"""
STUCK = """
import hashlib  # one call into C that takes minutes, lets other threads run and looks at no flag
print("at work", flush=True)
hashlib.pbkdf2_hmac("sha512", b"x", b"y", 10**9)
"""
WORKERS = """
import hashlib
from concurrent.futures import ThreadPoolExecutor
with Quiet().phase("work") as tick, ThreadPoolExecutor(2) as pool:
    for _ in range(8):
        pool.submit(hashlib.pbkdf2_hmac, "sha512", b"x", b"y", 10**9)
    print("at work", flush=True)
    for step in range(10**9):
        time.sleep(0.01)
        tick(step)
"""
ENDING = """
import atexit
atexit.register(lambda: (print("closing down", flush=True), time.sleep(3)))
print("at work", flush=True)
"""
SLOW_TO_STOP = """
with Quiet().phase("work") as tick:
    print("at work", flush=True)
    try:
        for step in range(10**9):
            time.sleep(0.01)
            tick(step)
    finally:
        time.sleep(60)
"""


@pytest.fixture
def program(tmp_path, environment):
    """Starts the command line with a command whose body is given, and waits until it is at work."""
    started = []

    def start(body):
        script = (
            "import sys, time\nfrom foveate.cli import main as cli\nfrom foveate.runtime.progress import Quiet\n"
            "def work():\n" + "".join(f"    {line}\n" for line in body.strip().splitlines()) + "\n"
            "cli.call = lambda name, words: work()\nsys.argv = ['foveate', 'train']\nsys.exit(cli.main())\n"
        )
        path = tmp_path / "program.py"
        path.write_text(script)
        child = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        started.append(child)
        assert child.stdout.readline() == "at work\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def stop(child, *numbers, pause=0.0):
    """Sends signals; gives exit status, seconds until the end, and what was said."""
    for number in numbers:
        child.send_signal(number)
        began = time.monotonic()
        time.sleep(pause)
    _, said = child.communicate(timeout=20)
    with pytest.raises(ProcessLookupError):  # nobody is left in its process group
        os.killpg(child.pid, 0)
    return child.returncode, time.monotonic() - began, said


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_ticking_phase_ends_at_once_with_one_line(program, number, status):
    code, seconds, said = stop(program(TICKING), number)
    assert (code, said) == (status, "foveate: interrupted\n")
    assert seconds < 3


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_phase_that_never_ticks_ends_within_three_seconds(program, number, status):
    code, seconds, said = stop(program(STUCK), number)
    assert (code, said) == (status, "foveate: interrupted\n")
    assert seconds < 3.5  # 2.5 of patience, and a machine that does other things as well


def test_a_second_interrupt_ends_at_once(program):
    code, seconds, said = stop(program(SLOW_TO_STOP), signal.SIGINT, signal.SIGINT, pause=0.2)
    assert (code, said) == (130, "foveate: interrupted\n")
    assert seconds < 1.5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_when_all_is_done_changes_nothing(program, number):
    child = program(ENDING)
    assert child.stdout.readline() == "closing down\n"
    code, _, said = stop(child, number)
    assert (code, said) == (0, "")


def test_threads_that_never_end_do_not_hold_the_process(program):
    code, seconds, said = stop(program(WORKERS), signal.SIGTERM)
    assert (code, said) == (143, "foveate: interrupted\n")
    assert seconds < 3.5


def test_importing_foveate_takes_no_signal(environment):
    script = (
        "import signal, foveate.cli.main, foveate.runtime.progress\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "True\n"


def test_a_hangup_that_the_parent_ignores_stays_ignored(environment):
    script = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from foveate.runtime import signals\nsignals.install()\n"
        "signal.raise_signal(signal.SIGHUP); signals.check(); print('goes on')"
    )
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "goes on\n"
