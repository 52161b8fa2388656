"""Where a round of learning without locations keeps its state."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from foveate.attention.training import RunFolder
from foveate.checkpoints import Checkpoints
from foveate.files import load_tensors, save_tensors


@dataclass(frozen=True)
class RoundFolder:
    """Where the maximisation step of one round keeps its state: inside the run's checkpoint folder."""

    path: Path
    checkpoints: Checkpoints
    number: int
    run: RunFolder

    def log(self, record: Mapping[str, Any]) -> None:
        self.run.log({**record, "round": self.number})

    def within(self, name: str) -> "RoundFolder":
        """A folder of its own for a part of the round, of whose training nothing is logged."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return Unlogged(path, Checkpoints(path), self.number, self.run)

    def save_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        save_tensors(self.path / f"{name}.safetensors", tensors)

    def load_tensors(self, name: str) -> dict[str, Tensor]:
        return load_tensors(self.path / f"{name}.safetensors")


class Unlogged(RoundFolder):
    """A round's folder for models that are thrown away."""

    def log(self, record: Mapping[str, Any]) -> None:
        pass
