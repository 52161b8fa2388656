"""Restricted Boltzmann machines whose layers are coupled through a matrix."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from foveate.boltzmann.machine import Machine
from foveate.boltzmann.training.centred import CentredAscent
from foveate.boltzmann.units import BINARY, Hidden, Natural, Units, Visible
from foveate.errors import BadInput
from foveate.runtime.random import generator


class RestrictedBoltzmannMachine(Machine):
    """A machine whose layers are coupled through a matrix: -E(v, h) = (what is v's own) + h . (c + s(v) W).

    With s(v) = v, units of one natural parameter each, and biases b: -E(v, h) = b.v + c.h + v.W h. It has W = b = c = 0
    when it is made (of so many visible and hidden units); `training/starts.py` has starts made from data.

    Attributes:
        W: [visible, hidden] couplings.
        b, c: [visible] and [hidden] biases (of Gaussian units, the mean when no hidden unit is on).
    """

    visible: Units = BINARY
    hidden: Units = BINARY
    ascent = CentredAscent()

    def __init__(self, n_visible: int, n_hidden: int):
        super().__init__()
        for name, value in (("n_visible", n_visible), ("n_hidden", n_hidden)):
            if value < 1:
                raise BadInput(f"{name} = {value}: a Boltzmann machine needs at least one unit on each side")
        self.W = nn.Parameter(torch.zeros(n_visible, n_hidden), requires_grad=False)
        self.b = nn.Parameter(torch.zeros(n_visible), requires_grad=False)
        self.c = nn.Parameter(torch.zeros(n_hidden), requires_grad=False)

    @property
    def n_visible(self) -> int:
        return self.W.shape[0]

    @property
    def n_hidden(self) -> int:
        return self.W.shape[1]

    def sent(self, v: Visible) -> Visible:
        """s(v), what the visible units send through W."""
        return v

    def hidden_input(self, v: Visible) -> Hidden:
        """c + s(v) W: of binary hidden units, their log-odds given v."""
        return torch.addmm(self.c, self.sent(v), self.W)

    def visible_input(self, h: Hidden) -> Visible:
        """b + W h: of binary visible units, their log-odds given h, of Gaussian ones their mean."""
        return torch.addmm(self.b, h, self.W.T)

    def hidden_natural(self, v: Visible) -> Natural:
        return (self.hidden_input(v),)

    def visible_natural(self, h: Hidden) -> Natural:
        return (self.visible_input(h),)

    def visible_own(self, v: Visible) -> Float[Tensor, " batch"]:
        return v @ self.b.to(v.dtype)

    def log_mass(self, v: Visible) -> Float64[Tensor, " batch"]:
        """As a machine's: products in the machine's type, everything else in float64."""
        x = (self.sent(v) @ self.W).double() + self.c.double()
        return self.visible_own(v.double()) + self.hidden.log_normaliser((x,))

    def hidden_own(self, h: Hidden) -> Float[Tensor, " batch"]:
        return h @ self.c

    def begin(self, data: Float[Tensor, "n visible"], seed: int) -> None:
        """Independent units with the data's means, but for small random weights.

        Imaginary observations keep the biases of units finite that never change (Hinton 2012, section 8).
        """
        (b,) = self.visible.fitted(data, 1.0)
        self.W.copy_(0.1 * torch.randn(self.W.shape, generator=generator(seed, "weights")))
        self.b.copy_(b)

    def reference(self, data: Float[Tensor, "n visible"], smoothing: float) -> tuple[Natural, Natural]:
        """As a machine's; a unit without couplings keeps its own bias throughout: its marginal is known, and a machine
        without couplings is exact at any number of temperatures."""
        visible, hidden = super().reference(data, smoothing)
        own = self.visible_natural(data.new_zeros(1, self.n_hidden)), self.hidden_natural(torch.zeros_like(data[:1]))
        alone = (self.W == 0).all(1), (self.W == 0).all(0)
        return tuple(
            tuple(torch.where(mask, mine[0], fit) for mine, fit in zip(kept, fitted, strict=True))
            for mask, kept, fitted in zip(alone, own, (visible, hidden), strict=True)
        )  # type: ignore[return-value]
