"""Families of RBMs between one without couplings, whose log Z is a closed form, and the one in question.

At inverse temperature beta the joint is

    log p*_beta(v, h) = (1 - beta) log p*_base(v, h) + beta log p*(v, h)

which interpolates energies, hence natural parameters: biases and couplings, and for Gaussian visible units the
precisions and the means times precisions. (Interpolating means and standard deviations is not such a family, and log
weights computed along it are wrong.) The base has a bias for every unit on both sides; Salakhutdinov and Murray
(2008) have its hidden biases zero, which is the special case c_base = 0.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.fused import WIDTH
from foveate.boltzmann.rbm import BernoulliRBM


@dataclass(frozen=True)
class AnnealingPath:
    """Float32 parameters at beta = 0 and their change until beta = 1, padded with units that do nothing.

    Attributes:
        W: [V, H] couplings at beta = 1.
        b_base: [V] visible biases at beta = 0 (for Gaussian units: mean times precision).
        b_change: [V] what they gain until beta = 1.
        c_base: [H] hidden biases at beta = 0.
        c_change: [H] what they gain.
        precision_base: [V] of Gaussian visible units at beta = 0; None for binary ones.
        precision_change: [V] what they gain.
        log_z_base: log Z at beta = 0, in nats.
        log_z_outside: Added to every log Z: what was integrated out in closed form.
        n_visible, n_hidden: Numbers of units without the padding.
    """

    W: Float[Tensor, "V H"]
    b_base: Float[Tensor, " V"]
    b_change: Float[Tensor, " V"]
    c_base: Float[Tensor, " H"]
    c_change: Float[Tensor, " H"]
    precision_base: Float[Tensor, " V"] | None
    precision_change: Float[Tensor, " V"] | None
    log_z_base: float
    log_z_outside: float
    n_visible: int
    n_hidden: int

    def to(self, device: torch.device | str) -> "AnnealingPath":
        """The same path with its tensors on `device`."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


def binary_path(rbm: BernoulliRBM, activities: Float[Tensor, "n visible"], smoothing: float = 1.0) -> AnnealingPath:
    """The path to a binary RBM from independent units that have the activities' smoothed means.

    Visible unit i of the base is on with probability (sum_n v_ni + smoothing) / (N + 2 smoothing), hidden unit j with
    the smoothed mean of p(h_j = 1 | v_n). (With hidden biases of their own from the start, or of zero, the modes of a
    machine change their order on the way, and chains are caught in the wrong ones.) A unit without couplings has its
    own bias
    throughout: its marginal is known, and a machine without couplings is exact at any number of temperatures.

    Args:
        rbm: The machine.
        activities: Visible vectors, or probabilities, that show what is typical: data, or the layer below's means.
        smoothing: Imaginary observations of either state for each unit (Laplace).
    """
    weights, b, c = (value.detach().to("cpu", torch.float64) for value in (rbm.W, rbm.b, rbm.c))
    v = activities.detach().to("cpu", torch.float64)
    b_base = torch.where((weights == 0).all(1), b, smoothed_log_odds(v, smoothing))
    c_base = torch.where((weights == 0).all(0), c, smoothed_log_odds(torch.sigmoid(v @ weights + c), smoothing))
    # Rounded, so that log Z of the base belongs to the very float32 numbers that the chains move with.
    b_base, c_base = b_base.float().double(), c_base.float().double()
    return AnnealingPath(
        W=_padded(_padded(weights, 1), 0),
        b_base=_padded(b_base, 0),
        b_change=_padded(b - b_base, 0),
        c_base=_padded(c_base, 0),
        c_change=_padded(c - c_base, 0),
        precision_base=None,
        precision_change=None,
        log_z_base=float(_softplus(b_base).sum() + _softplus(c_base).sum()),
        log_z_outside=0.0,
        n_visible=len(b),
        n_hidden=len(c),
    )


def gaussian_path(
    couplings: Float[Tensor, "visible hidden"],
    linear: Float[Tensor, " visible"],
    c: Float[Tensor, " hidden"],
    base_mean: Float[Tensor, " visible"],
    base_variance: Float[Tensor, " visible"],
    c_base: Float[Tensor, " hidden"],
    log_z_outside: float,
) -> AnnealingPath:
    """The path to exp(-|z|^2/2 + linear.z + c.h + z.couplings h) from independent Gaussian and binary units.

    Args:
        couplings: [r, H] between real z and binary h.
        linear: [r] coefficients of z.
        c: [H] hidden biases.
        base_mean: [r] means of z at beta = 0.
        base_variance: [r] variances of z at beta = 0.
        c_base: [H] hidden biases at beta = 0.
        log_z_outside: See `AnnealingPath`.
    """
    precision = (1 / base_variance.double()).float().double()
    e_base = (base_mean.double() * precision).float().double()
    c_base = c_base.float().double()
    visible = 0.5 * (e_base.square() / precision + math.log(2 * math.pi) - precision.log()).sum()
    return AnnealingPath(
        W=_padded(_padded(couplings, 1), 0),
        b_base=_padded(e_base, 0),
        b_change=_padded(linear.double() - e_base, 0),
        c_base=_padded(c_base, 0),
        c_change=_padded(c.double() - c_base, 0),
        precision_base=_padded(precision, 0, 1.0),
        precision_change=_padded(1 - precision, 0),
        log_z_base=float(visible + _softplus(c_base).sum()),
        log_z_outside=log_z_outside,
        n_visible=len(linear),
        n_hidden=len(c),
    )


def smoothed_log_odds(activities: Float[Tensor, "n units"], smoothing: float) -> Float[Tensor, " units"]:
    """Log-odds of each unit's mean, with imaginary observations of either state (Laplace)."""
    on = activities.sum(0) + smoothing
    return torch.log(on) - torch.log(len(activities) + 2 * smoothing - on)


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def _padded(value: Tensor, dimension: int, fill: float = 0.0) -> Tensor:
    """Grown to a multiple of WIDTH along one dimension, in float32, in memory of its own (torch aligns it to 64
    bytes)."""
    missing = -value.shape[dimension] % WIDTH
    shape = list(value.shape)
    shape[dimension] = missing
    return torch.cat([value.float(), torch.full(shape, fill)], dimension).contiguous().clone()
