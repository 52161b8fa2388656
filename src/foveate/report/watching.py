"""A run that is followed while it trains: its page, and its curves as TensorBoard's event files."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foveate.errors import extra
from foveate.report.curves import AXES, axis_of, figures
from foveate.report.page import write_report
from foveate.runtime.progress import Progress
from foveate.storage.files import allowed_to, read_lines
from foveate.storage.run import CONFIG, METRICS, is_whole

POLL = 0.5  # seconds between two looks at the run
REST = 10  # times as long as a page takes to write, none is written after it: training has the machine
RELOAD = 5  # seconds after which a page of an unfinished run loads itself again
SUFFIX = ".foveate"  # how the names of our event files end


def watch(run: Path, progress: Progress, also: Callable[[], None] = lambda: None, pictures: bool = True) -> Path:
    """Writes the page of a run whenever its metrics.jsonl has grown, until the run is finished; gives its path.

    `also` is called before each page is written.
    """
    log, seen, next_at, pages = run / METRICS, -1, 0.0, 0
    with progress.phase("watching") as tick:
        while True:
            whole = is_whole(run)
            size = log.stat().st_size if log.exists() else 0
            due = size != seen and time.monotonic() >= next_at and (run / CONFIG).exists()
            if whole or due or not run.is_dir():
                also()
                began = time.monotonic()
                page = write_report(run, reload=None if whole else RELOAD, pictures=pictures)
                seen, next_at, pages = size, time.monotonic() + REST * (time.monotonic() - began), pages + 1
                if whole:
                    return page
            tick(pages)
            time.sleep(POLL)


class EventFile:
    """A folder's event file, which holds the records of a run's metrics.jsonl; it may go on growing with them.

    A figure's tag is `phase/figure`, its step the record's epoch, step or round. What an earlier `EventFile` wrote into
    the folder is replaced. `tensorboard --logdir` is given the folder, or one above it.
    """

    def __init__(self, run: Path, folder: Path):
        tensorboard = extra("torch.utils.tensorboard", "TensorBoard", "tensorboard")
        with allowed_to(f"write {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
                old.unlink()
            self._writer = tensorboard.SummaryWriter(str(folder), filename_suffix=SUFFIX)
        self._metrics, self._written = run / METRICS, 0

    def update(self) -> None:
        """Writes the records that have come since; from the beginning again where a resumed run has dropped some."""
        records: list[Any] = read_lines(self._metrics)
        if len(records) < self._written:
            self._written = 0
        for place, record in enumerate(records[self._written :], start=self._written):
            if isinstance(record, dict):
                axis = axis_of(record)
                step, tag = int(record[axis]) if axis else place, str(record.get("phase", "training"))
                for name, value in figures(record).items():
                    if name not in AXES:
                        self._writer.add_scalar(f"{tag}/{name}", value, step)
        self._written = len(records)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
