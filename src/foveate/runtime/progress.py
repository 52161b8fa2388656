"""How far a long job is, with the time left; also where a job learns that it was asked to stop.

Every long loop opens a phase and ticks at least once a second:

    with progress.phase("first layer", total=epochs) as tick:
        tick(epoch + 1, error=error)

A tick raises `foveate.errors.Interrupted` once INT or TERM has come, so state must be consistent wherever one ticks.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from foveate.runtime import signals

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

Step = TypeVar("Step")

PATIENCE = 2.0  # seconds that a phase runs before anything is shown of it
LINE_EVERY = 10.0  # seconds between two lines where stderr is no terminal
FRAME = 0.1  # seconds between two redraws on a terminal


class Tick:
    """Called with the number of steps done; `total` may be learnt on the way, figures are shown beside the bar.

    Raises `Interrupted` once the process was asked to stop.
    """

    def __init__(self, progress: "Progress", name: str, total: int | None):
        self.name, self.total, self.done = name, total, 0
        self.figures: dict[str, Any] = {}
        self.started = time.monotonic()
        self.shown_at = 0.0
        self._progress = progress

    def __call__(self, done: int, total: int | None = None, **figures: Any) -> None:
        signals.check()
        self.done, self.total, self.figures = done, self.total if total is None else total, figures or self.figures
        self._progress.show(self)


class Progress:
    """The face, and the base: shows nothing, and still stops when asked."""

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Tick]:
        """A part of the job, with a name for people and a number of steps where it is known."""
        signals.check()
        tick = Tick(self, name, total)
        try:
            yield tick
        finally:
            self.close(tick)

    def over(self, name: str, steps: Iterable[Step], total: int) -> Iterator[Step]:
        """The steps of a phase; each is done when the next is asked for."""
        with self.phase(name, total) as tick:
            for done, step in enumerate(steps):
                yield step
                tick(done + 1)

    def show(self, tick: Tick) -> None:
        """Show how far a phase is; called at every tick."""

    def close(self, tick: Tick) -> None:
        """A phase has ended, well or not."""

    def say(self, text: str) -> None:
        """One line for people."""


Quiet = Progress


class _Shown(Progress):
    """Shows what takes two seconds or more: every so many seconds, and with the whole time at the end."""

    every: float

    def show(self, tick: Tick) -> None:
        now = time.monotonic()
        if now - tick.started >= PATIENCE and now - tick.shown_at >= self.every:
            tick.shown_at = now
            self._draw(tick, now)

    def close(self, tick: Tick) -> None:
        if tick.shown_at:
            self.say(describe(tick, time.monotonic(), ended=True))

    def _draw(self, tick: Tick, now: float) -> None:
        raise NotImplementedError


class Bars(_Shown):
    """On stderr: bars with the time left on a terminal, else a line every ten seconds."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self.every = FRAME if self._terminal else LINE_EVERY
        self._live: RichProgress | None = None
        self._tasks: dict[Tick, Any] = {}

    def close(self, tick: Tick) -> None:
        task = self._tasks.pop(tick, None)
        if task is not None and self._live is not None:
            self._live.remove_task(task)
            if not self._tasks:
                self._live.stop()
                self._live = None
        super().close(tick)

    def say(self, text: str) -> None:  # above the bars, if there are any
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            tell(text)

    def _draw(self, tick: Tick, now: float) -> None:
        if not self._terminal:
            self.say(describe(tick, now))
            return
        if self._live is None:
            self._live = _live()
            self._live.start()
        if tick not in self._tasks:
            self._tasks[tick] = self._live.add_task(tick.name, total=tick.total, figures="")
        shown = _figures(tick.figures)
        self._live.update(self._tasks[tick], completed=tick.done, total=tick.total, figures=shown, refresh=False)


class NotebookLine(_Shown):
    """In a notebook: one line below the cell, written anew every second; it stays at the end."""

    every = 1.0
    _longest = 0

    def say(self, text: str) -> None:
        self._write(text, "\n")
        self._longest = 0

    def _draw(self, tick: Tick, now: float) -> None:
        self._write(describe(tick, now))

    def _write(self, text: str, end: str = "") -> None:
        self._longest = max(self._longest, len(text))
        print(f"\r{text:{self._longest}}", end=end, file=sys.stderr, flush=True)


def shown(asked: "bool | Progress") -> Progress:
    """How Python shows how far a long call is: a bar or lines, in a notebook a line; nothing where False is asked."""
    if isinstance(asked, Progress):
        return asked
    if not asked:
        return Quiet()
    return NotebookLine() if _in_notebook() else Bars()


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def tell(text: str) -> None:
    """One line on stderr; where nobody reads it any more, the work goes on without."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


def describe(tick: Tick, now: float, ended: bool = False) -> str:
    """One line about a phase: name, steps, time spent and left, figures."""
    spent = now - tick.started
    steps = f"{tick.done}/{tick.total}" if tick.total is not None else f"{tick.done}"
    times = duration(spent)
    if not ended and tick.total and tick.done:
        times += f", {duration(spent * max(tick.total - tick.done, 0) / tick.done)} left"
    figures = _figures(tick.figures)
    return f"{tick.name}: {steps}, {times}" + (f", {figures}" if figures else "")


def duration(seconds: float) -> str:
    """Seconds as people say them: 8 s, 3 min 20 s, 1 h 04 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _figures(figures: dict[str, Any]) -> str:
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in figures.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _live() -> "RichProgress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    name, figures = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[figures]}"))
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), figures)
    return Progress(*columns, console=Console(stderr=True), refresh_per_second=8, transient=True)
