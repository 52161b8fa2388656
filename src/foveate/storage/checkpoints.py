"""Checkpoints: named sets of tensors from which an interrupted run goes on, bit for bit.

A checkpoint is one safetensors file that is replaced as a whole, so the last one is good whenever the run dies. States
of random generators are tensors too: `generator.get_state()` is uint8.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.errors import BadInput
from foveate.storage.files import allowed_to, load_metadata, load_tensors, save_tensors

if TYPE_CHECKING:
    from torch import Tensor

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._-]*[A-Za-z0-9])?")


class Checkpoints:
    """A folder of checkpoints, one file a name, the newest only; the folder is made at the first `save`.

    `log_position`, called just before each save, gives the length in bytes of the log that belongs to the state being
    saved (`Run` has one), so that a resumed run can drop the records written after it.
    """

    def __init__(self, folder: str | os.PathLike, log_position: Callable[[], int] | None = None):
        self.folder = Path(folder)
        self._log_position = log_position

    def save(self, name: str, tensors: Mapping[str, "Tensor"], meta: Mapping[str, Any] | None = None) -> None:
        """Replace the checkpoint `name`; `meta` is what isn't a tensor (epoch, step, ...), anything that JSON has.

        Raises:
            CannotWrite: The file can't be written; the checkpoint before it is as it was.
        """
        self._write(name, tensors, meta or {}, done=False)

    def finish(
        self, name: str, tensors: Mapping[str, "Tensor"] | None = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Mark the phase `name` as done, with its result; without `tensors` the last saved state is the result."""
        if tensors is None:
            kept, kept_meta = self.load(name) or ({}, {})
            tensors, meta = kept, kept_meta if meta is None else meta
        self._write(name, tensors, meta or {}, done=True)

    def load(self, name: str) -> "tuple[dict[str, Tensor], dict[str, Any]] | None":
        """The tensors and meta last given to `save` or `finish`, or None when there is no such checkpoint.

        Raises:
            BadInput: The file is damaged.
        """
        path = self.path(name)
        return (load_tensors(path), _record(path)["meta"]) if path.exists() else None

    def done(self, name: str) -> bool:
        """Whether `finish(name)` was called."""
        path = self.path(name)
        return path.exists() and bool(_record(path)["done"])

    def within(self, name: str) -> "Checkpoints":
        """The checkpoints of a part of the work, in a folder of their own below these; the log is the same."""
        return Checkpoints(self.path(name).parent / name, self._log_position)

    def empty(self) -> bool:
        """Whether there is nothing to go on from, in the parts neither."""
        return next(self.folder.rglob("[!.]*.safetensors"), None) is None

    def log_end(self) -> int | None:
        """The length of the log at the newest checkpoint, 0 where there is none; None, where one was made without the
        log's position, and nothing can be dropped."""
        records = [load_metadata(path) for path in self.folder.rglob("[!.]*.safetensors")]
        ends = [record["log_end"] for record in records if "log_end" in record]
        return None if None in ends else max(ends, default=0)

    def path(self, name: str) -> Path:
        """The file of the checkpoint `name`."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"checkpoint name {name!r}: expected letters, digits, spaces, dots, dashes, underscores")
        return self.folder / f"{name}.safetensors"

    def _write(self, name: str, tensors: Mapping[str, "Tensor"], meta: Mapping[str, Any], done: bool) -> None:
        path = self.path(name)
        with allowed_to(f"write {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
        log_end = self._log_position() if self._log_position else None
        save_tensors(path, tensors, {"meta": dict(meta), "done": done, "log_end": log_end})


class NoCheckpoints:
    """The face of `Checkpoints`, keeping nothing: for models trained outside a RUN."""

    def save(self, name: str, tensors: Mapping[str, "Tensor"], meta: Mapping[str, Any] | None = None) -> None:
        """As `Checkpoints.save`."""

    def finish(
        self, name: str, tensors: Mapping[str, "Tensor"] | None = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """As `Checkpoints.finish`."""

    def load(self, name: str) -> None: ...

    def done(self, name: str) -> bool:
        return False


def _record(path: Path) -> dict[str, Any]:
    record = load_metadata(path)
    if not {"meta", "done", "log_end"} <= record.keys():
        raise BadInput(f"{path}: not a checkpoint of foveate")
    return record
