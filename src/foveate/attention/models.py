"""The models of a RUN, as attention uses them together."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from foveate.attention.evidence import Evidence
from foveate.attention.patch_conditionals import PatchConditionals
from foveate.attention.settings import CLOSER
from foveate.attention.shiftnet import Canonical, ShiftNet, canonical_image
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput, present
from foveate.storage.files import load_tensors, save_tensors

FINE = "fine."  # what the names of its tensors begin with


@dataclass(frozen=True)
class Models:
    """A patch model, a network that moves gazes, and what counts as evidence.

    Attributes:
        gdbn: Density of the object in its canonical frame.
        shiftnet: Moves gazes towards the object.
        evidence: Turns a look into a score and a probability; None while training has not come to it.
        fine: Moves gazes that have come near by small steps, looking closer; None while it isn't trained.
    """

    gdbn: GaussianDBN
    shiftnet: ShiftNet
    evidence: Evidence | None = None
    fine: ShiftNet | None = None

    @cached_property
    def canonical(self) -> Canonical:
        """Glimpse in [0, 1] -> v."""
        return canonical_image(self.gdbn)

    @cached_property
    def conditionals(self) -> PatchConditionals:
        """The conditionals of v and h1 under the patch model."""
        return PatchConditionals.of(self.gdbn)

    @property
    def trained_evidence(self) -> Evidence:
        """The evidence, where training has come to it.

        Raises:
            FoveateError: It has not.
        """
        return present(self.evidence, "what counts as evidence")

    @property
    def device(self) -> torch.device:
        """Where the patch model is, and with it the networks."""
        return self.gdbn.grbm.W.device

    def to(self, device: str | torch.device) -> "Models":
        """The same models on another device; it moves these."""
        evidence = None if self.evidence is None else self.evidence.to(device)
        fine = None if self.fine is None else self.fine.to(device)
        return Models(self.gdbn.to(device), self.shiftnet.to(device), evidence, fine)

    def save_networks(self, path: str | Path) -> None:
        """Writes the weights of both networks, those of the fine one under "fine."."""
        fine = {} if self.fine is None else self.fine.tensors(FINE)
        save_tensors(path, self.shiftnet.tensors() | fine, {})

    @classmethod
    def load(cls, run: str | Path) -> "Models":
        """Reads the models of a RUN folder.

        Raises:
            BadInput: A file is missing, damaged, or does not fit; the text names it.
        """
        run = Path(run)
        gdbn = GaussianDBN.load(run / "gdbn.safetensors")
        if gdbn.grbm.b.numel() != 3 * 24 * 24:
            raise BadInput(f"{run}: attention needs a patch model of D = 1728, this one has {gdbn.grbm.b.numel()}")
        tensors = load_tensors(run / "background.safetensors")
        try:
            evidence = Evidence.from_tensors(tensors)
        except KeyError as missing:
            raise BadInput(f"{run / 'background.safetensors'}: tensor {missing.args[0]} is missing") from None
        shiftnet, fine = load_networks(run / "shiftnet.safetensors")
        return cls(gdbn, shiftnet, evidence, fine)


def load_networks(path: Path) -> tuple[ShiftNet, ShiftNet | None]:
    """The networks of a file that `save_networks` wrote: the ShiftNet, and the one that looks closer, if there is one.

    Raises:
        BadInput: A tensor is missing, of the wrong shape, or not finite.
    """
    tensors = load_tensors(path)
    there = any(name.startswith(FINE) for name in tensors)
    fine = ShiftNet.from_tensors(tensors, f"{path}, fine", FINE, CLOSER) if there else None
    return ShiftNet.from_tensors(tensors, str(path)), fine
