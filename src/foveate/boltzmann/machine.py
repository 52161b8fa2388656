"""The face of machines: two layers of units, those of each independent given the other.

Annealing, exact sums (`log_z/`) and learning (`training/`) ask a machine for what is here, and know no kind of it. A
new kind is a subclass in a file of its own, with units of a kind of their own (`units.py`) where need be; what it
overrides for speed is held to what is here.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from foveate.boltzmann.draws import Generated, Random
from foveate.boltzmann.log_z.path import Path
from foveate.boltzmann.training.ascent import Ascent
from foveate.boltzmann.training.settings import Rule
from foveate.boltzmann.units import Hidden, Mask, Natural, Units, Visible
from foveate.errors import BadInput


class Machine(nn.Module, ABC):
    """A density p(v) = sum_h exp(-E(v, h)) / Z, known up to Z, of two layers that are independent given each other.

    With t the units' sufficient statistics and eta their natural parameters given the other layer,

        -E(v, h) = visible_own(v) + eta_h(v) . t(h) = hidden_own(h) + eta_v(h) . t(v),

    so that what a kind of machine says of itself are these four, and the rest follows. The hidden layer may hold units
    of several kinds side by side. Parameters need no gradient: contrastive learning has its own.
    """

    visible: Units  # what kind of units the visible ones are
    hidden: Units  # what kind the hidden ones are
    ascent: Ascent = Ascent()  # how it learns from samples

    def extra_repr(self) -> str:
        return f"n_visible={self.n_visible}, n_hidden={self.n_hidden}"

    @property
    @abstractmethod
    def n_visible(self) -> int:
        """Visible units."""

    @property
    @abstractmethod
    def n_hidden(self) -> int:
        """Hidden units."""

    @abstractmethod
    def visible_own(self, v: Visible) -> Float[Tensor, " batch"]:
        """What of -E depends on v alone."""

    @abstractmethod
    def hidden_own(self, h: Hidden) -> Float[Tensor, " batch"]:
        """What of -E doesn't depend on v."""

    @abstractmethod
    def hidden_natural(self, v: Visible) -> Natural:
        """Natural parameters of the hidden units given v."""

    @abstractmethod
    def visible_natural(self, h: Hidden) -> Natural:
        """Natural parameters of the visible units given h."""

    def coordinates(self, v: Visible) -> Visible:
        """In which the visible units are independent given the hidden ones; most machines' are v itself."""
        return v

    def energy(self, v: Visible, h: Hidden) -> Float[Tensor, " batch"]:
        """E(v, h), in nats."""
        return -(self.visible_own(v) + self.hidden.dot(self.hidden_natural(v), h))

    def free_energy(self, v: Visible) -> Float[Tensor, " batch"]:
        """F(v) = -log sum_h exp(-E(v, h)), in nats; log p(v) = -F(v) - log Z."""
        return -(self.visible_own(v) + self.hidden.log_normaliser(self.hidden_natural(v)))

    def log_mass(self, v: Visible) -> Float64[Tensor, " batch"]:
        """-F(v) for differences and sums of many: in float64 where the machine need not be."""
        return -self.free_energy(v).double()

    def free_energy_hidden(self, h: Hidden) -> Float[Tensor, " batch"]:
        """-log sum_v exp(-E(v, h)), or the integral: the visible units summed out."""
        return -(self.hidden_own(h) + self.visible.log_normaliser(self.visible_natural(h)))

    def hidden_mean(self, v: Visible) -> Hidden:
        """E[h | v]: of binary units p(h_j = 1 | v)."""
        return self.hidden.mean(self.hidden_natural(v))

    def visible_mean(self, h: Hidden) -> Visible:
        """E[v | h]."""
        return self.visible.mean(self.visible_natural(h))

    def sample_hidden(self, v: Visible, generator: torch.Generator | None = None) -> Hidden:
        """A draw of h given v."""
        return self.draw_hidden(v, Generated(generator))

    def sample_visible(self, h: Hidden, generator: torch.Generator | None = None) -> Visible:
        """A draw of v given h."""
        return self.draw_visible(h, Generated(generator))

    def draw_hidden(self, v: Visible, random: Random, mean: Hidden | None = None) -> Hidden:
        """A draw of h given v, with numbers from any source; `mean`, if given, is filled with E[h | v]."""
        eta = self.hidden_natural(v)
        if mean is not None:
            mean.copy_(self.hidden.mean(eta))
        return self.hidden.draw(eta, random)

    def draw_visible(self, h: Hidden, random: Random) -> Visible:
        """A draw of v given h, with numbers from any source."""
        return self.visible.draw(self.visible_natural(h), random)

    def draw_masked(self, h: Hidden, v: Visible, mask: Mask, random: Random) -> Visible:
        """v with the units where `mask` is true drawn given h and v's other units."""
        return torch.where(mask, self.draw_visible(h, random), v)

    def inpaint(self, v: Visible, mask: Mask, generator: torch.Generator | None = None, sweeps: int = 100) -> Visible:
        """v with the units where `mask` is true drawn from p(v_masked | v's other units), whatever they held.

        Block Gibbs sampling: h given v, then the masked units given h and the others, many sweeps from E[v | h = 1/2].
        A draw for each row, not a mean: repeat a row for several, whose average nears the missing units' mean.
        """
        random, filled = Generated(generator), self.begin_masked(v, mask)
        for _ in range(sweeps):
            filled = self.draw_masked(self.draw_hidden(filled, random), v, mask, random)
        return filled

    def begin_masked(self, v: Visible, mask: Mask) -> Visible:
        """Where `inpaint` starts."""
        return torch.where(mask, self.visible_mean(v.new_full((len(v), self.n_hidden), 0.5)), v)

    def log_z_closed(self) -> float | None:
        """log Z, in nats, where it is a closed form; None where it has to be summed or estimated."""
        return None

    def moments(self) -> tuple[Tensor, Tensor] | None:
        """Mean [V] and covariance [V, V] of v, in float64, where they are known; None where v has to be drawn."""
        return None

    def path(self, data: Float[Tensor, "n visible"], smoothing: float = 1.0) -> Path:
        """The annealing path to this machine, on the CPU, from independent units that have the data's moments.

        Hidden units have those of E[h | v]: with their own biases, or none, the modes of a machine change their order
        on the way, and chains are caught in the wrong ones. `smoothing` observations keep every unit uncertain.
        """
        exact, v = self.exactly(), data.detach().to("cpu", torch.float64)
        return Path(exact, *exact.reference(v, smoothing))

    def reference(self, data: Float[Tensor, "n visible"], smoothing: float) -> tuple[Natural, Natural]:
        """Natural parameters of the base's visible and hidden units."""
        return self.visible.fitted(data, smoothing), self.hidden.fitted(self.hidden_mean(data), smoothing)

    def scattered(self, data: Float[Tensor, "n visible"], generator: torch.Generator) -> Float[Tensor, "rows visible"]:
        """[4 n, visible] states for chains that start apart, n each: a Gibbs sweep from data, and v given hidden units
        with the means of all data, anywhere, and opposite to those of data."""
        eta = self.hidden_natural(data)
        places = (eta, self.hidden.fitted(self.hidden.mean(eta), 1.0), *((k * eta[0], *eta[1:]) for k in (0, -1)))
        random = Generated(generator)
        draws = [self.hidden.draw(tuple(x.expand_as(eta[0]) for x in place), random) for place in places]
        return torch.cat([self.draw_visible(h, random) for h in draws])

    def exactly(self) -> Any:
        """A copy in float64 on the CPU."""
        return copy.deepcopy(self).to("cpu", torch.float64)

    @abstractmethod
    def begin(self, data: Float[Tensor, "n visible"], seed: int) -> None:
        """Set all parameters from data's moments and small random weights, without which hidden units stay alike."""

    def usual_rule(self, steps: int) -> Rule:
        """Settings that serve where nothing is known; averaged weights are those of the last twentieth of all steps."""
        return Rule(rate=0.1, fast_rate=0.1, average=min(max(1 - 20 / max(steps, 1), 0.0), 0.999))

    def rates(self, rule: Rule) -> dict[str, float]:
        """Rates of parameters, by name, that learn at another one than `rule.rate`."""
        return {}

    def constrain(self, rule: Rule) -> None:
        """Bring parameters back, after a step, to where they must be."""

    def figures(self, log_sigma_floor: float) -> dict[str, float]:
        """What this kind of machine says of its state in the log of a training."""
        return {}

    def like(self, fill: float | None = None) -> Any:
        """A machine of this kind and size with parameters of its own: these, or all `fill`."""
        made = copy.deepcopy(self)
        if fill is not None:
            for value in made.parameters():
                value.data.fill_(fill)
        return made

    def holding(self, parameters: Mapping[str, Tensor]) -> Any:
        """This machine with other tensors for parameters, as they are."""
        made = copy.copy(self)
        made._parameters = dict(parameters)  # type: ignore[assignment]
        return made

    def rows(self, data: Tensor | np.ndarray) -> Float[Tensor, "n visible"]:
        """Data as learning takes it: rows of this machine's type on its device, whatever numbers they were.

        Raises:
            BadInput: It is no such matrix, or empty, or not all finite, or the units don't take it.
        """
        like = next(self.parameters())
        if isinstance(data, np.ndarray) and data.dtype.kind in "biuf":
            kept = data.dtype.kind == "f" and data.dtype.itemsize <= 4  # the rest is whole, or overflows, in float64
            data = torch.from_numpy(np.array(data, np.float32 if kept else np.float64, order="C"))
        if not isinstance(data, Tensor) or data.is_complex():
            kind = getattr(data, "dtype", type(data).__name__)
            raise BadInput(f"data of type {kind}: expected a numpy array or a torch tensor of real numbers")
        if data.ndim != 2 or data.shape[1] != self.n_visible:
            raise BadInput(f"data of shape {list(data.shape)}: expected [N, {self.n_visible}]")
        rows = data.to(like)
        self.visible.check(rows)
        return rows
