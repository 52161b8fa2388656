"""Where a round of learning without locations keeps its models and its state: a run inside the checkpoints of another.

Models and checkpoints have names in common, so the checkpoints lie in a folder of their own, "state".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveate.storage.checkpoints import Checkpoints
from foveate.storage.run import Run


class RoundRun(Run):
    """The run of one round, by its `number`, or of a part of it."""

    def __init__(self, whole: Run, number: int, path: Path, checkpoints: Checkpoints, logged: bool = True):
        super().__init__(path)
        path.mkdir(parents=True, exist_ok=True)
        self.checkpoints, self.number = checkpoints, number
        self._whole, self._logged = whole, logged

    @classmethod
    def begin(cls, run: Run, number: int) -> "RoundRun":
        """The run of a round, taken up where it was left."""
        inner = run.checkpoints.within(f"round-{number}")
        return cls(run, number, inner.folder, inner.within("state"))

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a record, with the round's number, to the log of the whole run."""
        if self._logged:
            self._whole.log({**record, "round": self.number})

    def within(self, name: str) -> "RoundRun":
        """A run for models that are thrown away, of whose training nothing is logged."""
        return RoundRun(self._whole, self.number, self.path / name, self.checkpoints.within(name), logged=False)
