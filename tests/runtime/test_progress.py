"""Progress shows what takes long, is silent about the rest, and passes on the wish to stop."""

import io

import pytest

from foveate.errors import Interrupted
from foveate.runtime import progress, signals
from foveate.runtime.progress import Bars, Quiet, describe, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    times = {"now": 1000.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: times["now"])
    return times


def test_what_takes_under_two_seconds_shows_nothing(clock, capsys):
    with Bars().phase("quick", total=3) as tick:
        for done in range(1, 4):
            clock["now"] += 0.6
            tick(done)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_there_is_a_line_every_ten_seconds_with_the_time_left(clock, capsys):
    with Bars().phase("grbm", total=100) as tick:
        for done in range(1, 41):
            clock["now"] += 1.0
            tick(done, error=0.5)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 5  # at 2, 12, 22, 32 seconds and at the end
    assert lines[1] == "grbm: 12/100, 12 s, 1 min 28 s left, error 0.5"
    assert lines[-1] == "grbm: 40/100, 40 s, error 0.5"


def test_on_a_terminal_there_are_bars_and_no_text_of_a_user_is_taken_for_markup(clock, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    bars = Bars()
    with bars.phase("[red]attend", total=10) as tick:
        clock["now"] += 3
        tick(5, name="[/bad]")
        bars.say("a line [/above]")
        tick(10)
    assert "[red]attend" in screen.getvalue() and "a line [/above]" in screen.getvalue()


def test_a_total_may_be_learnt_on_the_way_and_a_tick_serves_as_done_and_total(clock):
    with Quiet().phase("read") as tick:
        tick(3, 12)
        clock["now"] += 6
        assert describe(tick, clock["now"]) == "read: 3/12, 6 s, 18 s left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200.0, "3 min 20 s"), (3840.0, "1 h 04 min")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("kind", [Quiet, Bars])
def test_a_tick_and_a_new_phase_stop_a_run_that_was_asked_to(monkeypatch, kind):
    with pytest.raises(Interrupted) as stopped, kind().phase("x") as tick:
        tick(1)
        monkeypatch.setattr(signals, "_asked", 15)
        tick(2)
    assert stopped.value.signal_number == 15
    with pytest.raises(Interrupted), kind().phase("next"):
        raise AssertionError("the phase has begun")
