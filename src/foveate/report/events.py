"""Training curves as event files, as TensorBoard reads them."""

from pathlib import Path
from typing import Any

from foveate.errors import BadInput
from foveate.report.curves import AXES, figures, is_number
from foveate.storage.files import CannotWrite, read_lines, reason
from foveate.storage.run import METRICS

MISSING = "TensorBoard is not installed: pip install 'foveate[tensorboard]'"
SUFFIX = ".foveate"
"""How the names of our event files end."""


class EventFile:
    """A folder's event file, which holds the records of a run's metrics.jsonl; it may go on growing with them.

    A figure's tag is `phase/figure`, its step the record's epoch, step or round. What an earlier `EventFile` wrote into
    the folder is replaced.

    Args:
        run: A RUN folder.
        folder: Where the event file is made; `tensorboard --logdir` is given this folder, or one above it.

    Raises:
        BadInput: TensorBoard isn't installed.
        CannotWrite: The folder can't be written.
    """

    def __init__(self, run: Path, folder: Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise BadInput(MISSING) from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
                old.unlink()
            self._writer = SummaryWriter(str(folder), filename_suffix=SUFFIX)
        except OSError as error:
            raise CannotWrite(f"can't write {folder}: {reason(error)}") from error
        self._metrics, self._told = run / METRICS, 0

    def update(self) -> None:
        """Writes the records that have come since; from the beginning again where a resumed run has dropped some."""
        records: list[Any] = read_lines(self._metrics)[0] if self._metrics.is_file() else []
        if len(records) < self._told:
            self._told = 0
        for place, record in enumerate(records[self._told :], start=self._told):
            self._add(record, place)
        self._told = len(records)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _add(self, record: Any, place: int) -> None:
        if not isinstance(record, dict):
            return
        axis = next((axis for axis in AXES if is_number(record.get(axis))), None)
        step = int(record[axis]) if axis else place
        for name, value in figures(record).items():
            if name not in AXES:
                self._writer.add_scalar(f"{record.get('phase', 'training')}/{name}", value, step)
