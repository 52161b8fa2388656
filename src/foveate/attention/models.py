"""The models of a RUN, as attention uses them together."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.evidence import Evidence
from foveate.attention.mind import Like, Mind, bring_to_mind, sampled
from foveate.attention.occlusion import Occlusion
from foveate.attention.periphery import FoldedPeriphery, Periphery
from foveate.attention.posterior.conditionals import PatchConditionals
from foveate.attention.posterior.paper import PaperStart
from foveate.attention.settings import CLOSER
from foveate.attention.shiftnet import Canonical, ShiftNet, canonical_image
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput, present
from foveate.runtime.precision import look_dtype
from foveate.storage.files import load_tensors, save_tensors
from foveate.storage.run import PAPER, PERIPHERY

FINE = "fine."  # what the names of its tensors begin with


@dataclass(frozen=True)
class Models:
    """A patch model, a network that moves gazes, and what counts as evidence.

    Attributes:
        gdbn: Density of the object in its canonical frame.
        shiftnet: Moves gazes towards the object.
        evidence: Turns a look into a score and a probability; None while training has not come to it.
        fine: Moves gazes that have come near by small steps, looking closer; None while it isn't trained.
        periphery: Says at one glance where an object may be; None while it isn't trained, and of older versions.
        mind: The one object that is looked for; None where any will do.
        paper: Where the paper's inference sets out; None of other runs.
    """

    gdbn: GaussianDBN
    shiftnet: ShiftNet
    evidence: Evidence | None = None
    fine: ShiftNet | None = None
    periphery: Periphery | None = None
    mind: Mind | None = None
    paper: PaperStart | None = None

    @cached_property
    def folded(self) -> FoldedPeriphery:
        """The periphery as it looks; BadInput where there is none."""
        if self.periphery is None:
            raise BadInput("the run has no periphery, which searches images: made by an older version, train again")
        return self.periphery.folded(look_dtype(self.device))

    @cached_property
    def canonical(self) -> Canonical:
        """Glimpse in [0, 1] -> v."""
        return canonical_image(self.gdbn)

    def looking_for(self, like: Like) -> "Models":
        """The same models with one object in mind; raises as `bring_to_mind`."""
        return replace(self, mind=bring_to_mind(self.canonical, like, self.others))

    @cached_property
    def others(self) -> Float[Tensor, "others 3 24 24"]:
        """Objects that the patch model makes up."""
        return sampled(self.gdbn)

    @cached_property
    def occlusion(self) -> Occlusion:
        """What tells which pixels show the object."""
        return Occlusion.of(self.gdbn, self.trained_evidence.background)

    @cached_property
    def conditionals(self) -> PatchConditionals:
        """The conditionals of v and h1 under the patch model."""
        return PatchConditionals.of(self.gdbn)

    @property
    def trained_evidence(self) -> Evidence:
        """The evidence; FoveateError where training has not come to it."""
        return present(self.evidence, "what counts as evidence")

    @property
    def device(self) -> torch.device:
        """Where the patch model is, and with it the networks."""
        return self.gdbn.grbm.W.device

    def to(self, device: str | torch.device) -> "Models":
        """The same models on another device; it moves these."""
        fine = None if self.fine is None else self.fine.to(device)
        periphery = None if self.periphery is None else self.periphery.to(device)
        return replace(
            self, gdbn=self.gdbn.to(device), shiftnet=self.shiftnet.to(device), fine=fine, periphery=periphery
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made of the models again when it is needed, and can't be pickled."""
        return {each.name: self.__dict__[each.name] for each in fields(self)}

    def save(self, run: Path) -> None:
        """Writes the models into a RUN folder, where `load` finds them."""
        self.gdbn.save(run / "gdbn.safetensors")
        self.save_networks(run / "shiftnet.safetensors")
        if self.periphery is not None:
            self.periphery.save(run / PERIPHERY)
        if self.paper is not None:
            self.paper.save(run / PAPER)
        save_tensors(run / "background.safetensors", self.trained_evidence.tensors())

    def save_networks(self, path: str | Path) -> None:
        """Writes the weights of both networks, those of the fine one under "fine."."""
        fine = {} if self.fine is None else self.fine.tensors(FINE)
        save_tensors(path, self.shiftnet.tensors() | fine)

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
        path, start = run / PERIPHERY, run / PAPER
        periphery = Periphery.load(path) if path.exists() else None
        paper = PaperStart.load(start) if start.exists() else None
        return cls(gdbn, shiftnet, evidence, fine, periphery, paper=paper)


def load_networks(path: Path) -> tuple[ShiftNet, ShiftNet | None]:
    """The networks of a file that `save_networks` wrote: the ShiftNet, and the one that looks closer, if any."""
    tensors = load_tensors(path)
    there = any(name.startswith(FINE) for name in tensors)
    fine = ShiftNet(CLOSER).filled(tensors, str(path), FINE) if there else None
    return ShiftNet.from_tensors(tensors, str(path)), fine
