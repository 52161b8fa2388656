"""The one file that an evaluation of a bound keeps: all that it has computed, to go on after a kill or to be merged."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.errors import BadInput
from foveate.storage.checkpoints import NoCheckpoints
from foveate.storage.files import load_metadata, load_tensors, save_tensors

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = "foveate.evaluation"


class EvaluationState(NoCheckpoints):
    """Named sets of tensors in one safetensors file, with the face of `Checkpoints`; without a file in memory alone.

    A file that exists is refused without `resume`, and one of another `identity` (what is evaluated, and how) always.
    """

    def __init__(self, path: str | os.PathLike | None, identity: Mapping[str, Any], resume: bool = False):
        self.path = None if path is None else Path(path)
        self.identity = dict(identity)
        self._sets: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {}
        self._finished: list[str] = []
        self._earlier, self._opened = 0.0, time.monotonic()
        if self.path is not None and self.path.exists():
            if not resume:
                raise BadInput(f"{self.path} exists: resume it, or name another file")
            self._read(self.path)

    @classmethod
    def open(cls, path: str | os.PathLike) -> "EvaluationState":
        """What an evaluation has left, whatever it is of."""
        return cls(path, _record(Path(path))["identity"], resume=True)

    def save(self, name: str, tensors: "Mapping[str, Tensor]", meta: Mapping[str, Any] | None = None) -> None:
        """Replace the set `name`, and write the file."""
        self._sets[name] = dict(tensors), dict(meta or {})
        if self.path is None:
            return
        record = {"format": _FORMAT, "identity": self.identity, "finished": self._finished, "seconds": self.seconds()}
        record["meta"] = {name: meta for name, (_, meta) in self._sets.items()}
        every = {f"{name}/{field}": t for name, (tensors, _) in self._sets.items() for field, t in tensors.items()}
        save_tensors(self.path, every, record)

    def finish(
        self, name: str, tensors: "Mapping[str, Tensor] | None" = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Mark the set `name` as done, and write the file."""
        if name not in self._finished:
            self._finished.append(name)
        self.save(name, self._sets.get(name, ({}, {}))[0] if tensors is None else tensors, meta)

    def load(self, name: str) -> "tuple[dict[str, Tensor], dict[str, Any]] | None":
        """The set `name` and what was said with it, or None."""
        return self._sets.get(name)

    def done(self, name: str) -> bool:
        """Whether `finish(name)` was called."""
        return name in self._finished

    def seconds(self) -> float:
        """Time spent on the evaluation, by earlier runs too (up to the last state that they wrote)."""
        return self._earlier + time.monotonic() - self._opened

    def _read(self, path: Path) -> None:
        record = _record(path)
        for name, value in self.identity.items():
            if record["identity"].get(name) != value:
                raise BadInput(f"{path}: from another evaluation ({name} differs)")
        self._sets = {name: ({}, meta) for name, meta in record["meta"].items()}
        for full_name, tensor in load_tensors(path).items():
            name, field = full_name.rsplit("/", 1)
            self._sets[name][0][field] = tensor
        self._finished, self._earlier = record["finished"], record["seconds"]


def _record(path: Path) -> dict[str, Any]:
    record = load_metadata(path)
    if record.get("format") != _FORMAT:
        raise BadInput(f"{path}: not the state of an evaluation")
    return record
