"""A page that follows a run while it trains."""

import time
from collections.abc import Callable
from pathlib import Path

from foveate.report.page import write_report
from foveate.runtime.progress import Progress
from foveate.storage.run import CONFIG, METRICS, is_whole

POLL = 0.5
"""Seconds between two looks at the run."""

REST = 10
"""How many times as long as a page takes to make nothing is made after it: training has the machine."""

RELOAD = 5
"""Seconds after which a page of an unfinished run loads itself again."""


def watch(run: Path, progress: Progress, also: Callable[[], None] = lambda: None) -> Path:
    """Writes the page of a run whenever its metrics.jsonl has grown, until the run is whole.

    Args:
        run: A RUN folder, perhaps just made.
        progress: Asked at every look whether to stop.
        also: Called before each page is written.

    Returns:
        The page.

    Raises:
        BadInput: The folder is gone, or something in it is damaged.
        Interrupted: The process was asked to stop; the page is the last one written.
    """
    seen, next_at, pages = -1, 0.0, 0
    with progress.phase("watching") as tick:
        while True:
            whole = is_whole(run)
            size = _size(run / METRICS)
            due = size != seen and time.monotonic() >= next_at and (run / CONFIG).exists()
            if whole or due or not run.is_dir():
                also()
                began = time.monotonic()
                page = write_report(run, reload=None if whole else RELOAD)
                seen, next_at, pages = size, time.monotonic() + REST * (time.monotonic() - began), pages + 1
                if whole:
                    return page
            tick(pages)
            time.sleep(POLL)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
