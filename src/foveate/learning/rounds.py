"""Where a round of learning without locations keeps its state."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from foveate.storage.checkpoints import Checkpoints
from foveate.storage.files import load_tensors, save_tensors
from foveate.training.train import RunFolder


@dataclass(frozen=True)
class RoundFolder:
    """Where the maximisation step of one round keeps its models and its state: inside the run's checkpoint folder.

    Models and checkpoints have names in common, so the checkpoints lie in a folder of their own, "state".

    Attributes:
        path: Where the models lie.
        checkpoints: The state.
        number: Of the round.
        run: Whose log takes the round's records.
    """

    path: Path
    checkpoints: Checkpoints
    number: int
    run: RunFolder

    @classmethod
    def begin(cls, run: RunFolder, number: int) -> "RoundFolder":
        """The folder of a run's round, taken up where it was left."""
        inner = run.checkpoints.within(f"round-{number}")
        inner.folder.mkdir(parents=True, exist_ok=True)
        return cls(inner.folder, inner.within("state"), number, run)

    def log(self, record: Mapping[str, Any]) -> None:
        self.run.log({**record, "round": self.number})

    def within(self, name: str) -> "RoundFolder":
        """A folder of its own for a part of the round, of whose training nothing is logged."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return Unlogged(path, self.checkpoints.within(name), self.number, self.run)

    def save_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        save_tensors(self.path / f"{name}.safetensors", tensors)

    def load_tensors(self, name: str) -> dict[str, Tensor]:
        return load_tensors(self.path / f"{name}.safetensors")


class Unlogged(RoundFolder):
    """A round's folder for models that are thrown away."""

    def log(self, record: Mapping[str, Any]) -> None:
        pass
