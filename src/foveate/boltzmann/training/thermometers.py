"""Where the second layer starts: as the first layer's own prior, corrected by the data.

A comb (`combs.py`) writes a position along its direction as a thermometer: units in order of their thresholds, on up
to a level i and off above it. In the first layer nothing but the visible units keeps that order; a second layer that
starts with small random weights would have to learn it, and costs hundreds of nats until then. Here a Bernoulli RBM
gets, for a group of n units, n - 1 hidden units of weight a at kinks l = 1 .. n - 1, so that with N units on
    log p*(h) = sum_j b_j h_j + S(N),   S(N) = sum_l softplus(a (N - l)),
and S is convex: two states of the same N differ by b alone, and b falls steeply enough that the ordered one wins by
e^a. The biases b_j = log P(level j) - log P(level j - 1) - S(j) + S(j - 1) give every level its share of the data. (The
first layer's own prior, the start of Hinton, Osindero, Teh 2006, has S(N) = w^2 N^2 / 2; a smaller a mixes.)
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.dbn import FirstLayer
from foveate.runtime.random import generator

ORDER = 6.0  # a: neighbours change places with probability e^-6, which costs a few nats in 2,000 units and still mixes
ALIKE = 0.7  # cosine of the weights of mean units above which they share a direction


def thermometers(first: FirstLayer) -> list[slice]:
    """Runs of two or more hidden units, neighbours by index, that share a direction, thresholds rising.

    Mean units do where the cosine of their weights, in units of sigma, is above `ALIKE`; those of a band do.
    """
    W = first.W / first.log_sigma.exp()[:, None]
    W = W / W.norm(dim=0).clamp(min=1e-12)
    together = ((W[:, 1:] * W[:, :-1]).sum(0) > ALIKE) & (first.c[1:] < first.c[:-1])
    together = torch.cat([together.cpu(), first.chained_gates()])
    runs, start = [], 0
    for unit in range(1, first.n_hidden + 1):
        if unit == first.n_hidden or not together[unit - 1]:
            if unit - start > 1:
                runs.append(slice(start, unit))
            start = unit
    return runs


def start_from_prior(
    grbm: FirstLayer, hidden: Float[Tensor, "batch hidden1"], n_hidden: int, seed: int
) -> BernoulliRBM:
    """A second layer that keeps the first one's thermometers in order; its other units are independent.

    `hidden` is E[h1 | v] on data. Hidden units that no thermometer needs start with small random weights; where they
    are too few, the longest thermometers come first.
    """
    machine = BernoulliRBM(grbm.n_hidden, n_hidden)
    mean = hidden.mean(0, dtype=torch.float64)
    least = 0.5 / (len(hidden) + 1)
    mean = mean.clamp(least, 1 - least)
    b = torch.log(mean) - torch.log1p(-mean)
    machine.W.copy_(0.01 * torch.randn(machine.W.shape, generator=generator(seed, "weights")))
    machine.c.fill_(-1.0)
    used = 0
    for run in sorted(thermometers(grbm), key=lambda run: run.start - run.stop):
        kinks = run.stop - run.start - 1
        if used + kinks > n_hidden:
            continue
        mine = slice(used, used + kinks)
        machine.W[:, mine] = 0
        machine.W[run, mine] = ORDER
        machine.c[mine] = -ORDER * torch.arange(1, kinks + 1)
        b[run] = _level_biases(mean[run], least)
        used += kinks
    machine.b.copy_(b)
    return machine


def _level_biases(mean: Float[Tensor, " units"], least: float) -> Float[Tensor, " units"]:
    """b_j of a thermometer from the units' means on data: P(level i) = E[h_i] - E[h_(i+1)], each at least `least`."""
    level = -torch.cat((mean.new_ones(1), mean, mean.new_zeros(1))).diff().clamp(max=-least)
    count = torch.arange(len(mean) + 1, dtype=mean.dtype)
    convex = softplus(ORDER * (count[:, None] - torch.arange(1, len(mean), dtype=mean.dtype))).sum(1)
    return (level.log() - convex).diff()
