"""Simulation-based calibration: is the sampler's posterior that of the model?

Draw (u, v, h1, I) from the model, infer u from I alone, and rank the true u among the draws: if and only if the
posterior is right, ranks are uniform (Cook, Gelman & Rubin 2006; Talts et al. 2018).

The posterior takes p(u | v, I) in proportion to p(u) prod_i N(x_i(u; I); v_i, sigma_i^2), where x(u; I) are resampled
pixels. The model whose conditional this is exactly is the joint

    p(u, v, h1, I) = p(u) p(v, h1) prod_i N(x_i(u; I); v_i, sigma_i^2) p0(I) / Z

with any p0 of finite mass: all of its conditionals (u; v; h1) are those that the sampler alternates. Here p0 is a
smooth Gaussian field, I = 1/2 + kappa sum_j c_j phi_j with c ~ N(0, 1), so x(u; I) = A(u) c is linear in c, and one
can draw from the joint itself:

1. With image and v integrated out, p(u, h1) = p(u) p(h1) N(mu(h1); 0, A A' + 2 Sigma) / Z. Sum over the few h1 for
   p(u) / Z times a weight of u, and keep u from p(u) with a probability in proportion to it (rejection; the bound is
   the largest weight of a pool). Then h1 from its exact conditional.
2. v | h1, u has precision Sigma^-1 + C^-1, C = A A' + Sigma, and mean (that)^-1 Sigma^-1 mu(h1).
3. c | u, v is Gaussian: c = c0 + A'(A A' + Sigma)^-1 (v - A c0 - e), c0 ~ N(0, 1), e ~ N(0, Sigma) (Matheron's rule).

For the target "collapsed" the pixels are v themselves: prod_i N(x_i(u; I); mu_i(h1), sigma_i^2) stands in the joint in
place of the factors of v, so Sigma in place of 2 Sigma in step 1, and in step 3 mu(h1) in place of v. What it calls v
is drawn last, from v | h1, u, I.

The only departure is the rounding of pixels to 16 bits, 1e-3 of a standard deviation of v at most.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.posterior.conditionals import PatchConditionals
from foveate.attention.posterior.sample import sample
from foveate.attention.posterior.summary import coordinates
from foveate.attention.settings import GazePrior, PosteriorSettings
from foveate.boltzmann.dbn import PatchScale
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.runtime.random import generator
from foveate.scenes.gaze import from_scale_angle
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

SIDE, PATCH, KNOTS, HIDDEN = 64, 3, 12, 4
_KAPPA = 1 / 14  # the field's standard deviation is about 1: seven of them from grey to black or white
_CENTRE, _REACH, _SCALES, _TURN = SIDE / 2, 5.0, (9.0, 16.0), 0.3

PRIOR = GazePrior(
    angle=(0.0, _TURN),
    scale_range=_SCALES,
    region=(_CENTRE - _REACH, _CENTRE - _REACH, _CENTRE + _REACH, _CENTRE + _REACH),
)
START = torch.tensor([[12.0, 0.0, _CENTRE, _CENTRE]], dtype=torch.float64)


@dataclass(frozen=True)
class Joint:
    """Draws from the joint.

    Attributes:
        gazes: u.
        visible: v.
        hidden: h1.
        images: I, as pyramids.
    """

    gazes: Float[Tensor, "n 4"]
    visible: Float[Tensor, "n D"]
    hidden: Float[Tensor, "n H"]
    images: Pyramids


def machine(seed: int, noise: float = 1.0) -> GaussianBernoulliRBM:
    """A small RBM with a pattern to look for, hidden units that matter, and standard deviations that differ.

    `noise` multiplies the variances: with 2, "collapsed" is as sure of u as the other targets are with 1, and few
    proposals are in vain.
    """
    random = generator(seed, "sbc machine")
    grbm = GaussianBernoulliRBM(3 * PATCH * PATCH, HIDDEN)
    grbm.W.copy_(0.1 * torch.randn(grbm.W.shape, generator=random))
    grbm.b.copy_(0.8 * torch.randn(grbm.b.shape, generator=random))
    grbm.log_sigma.copy_(torch.log(0.15 + 0.1 * torch.rand(grbm.b.shape, generator=random)) + 0.5 * math.log(noise))
    # With c = -(gain of h_j alone) no unit is on or off for good.
    gain = (grbm.W * grbm.b.unsqueeze(1) + grbm.W.square() / 2).T @ grbm.precision
    grbm.c.copy_(-gain + 0.5 * torch.randn(grbm.c.shape, generator=random))
    return grbm


def conditionals(grbm: GaussianBernoulliRBM) -> PatchConditionals:
    """The RBM as the posterior takes it: v = (pixel - 1/2) / kappa."""
    return PatchConditionals(grbm, PatchScale(torch.full((3,), 0.5), torch.full((3,), _KAPPA)))


def draw_joint(grbm: GaussianBernoulliRBM, n: int, seed: int, pool: int = 2000, collapsed: bool = False) -> Joint:
    """n draws from the joint (of "collapsed", if that is the target), from as many pools of proposals as it takes."""
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    bound = -torch.inf
    states, prior = _hidden_states(grbm)
    while sum(len(part[0]) for part in parts) < n:
        random = generator(seed, "sbc joint", len(parts))
        gazes = _prior_gazes(pool, random)
        design = _design(gazes)
        given_u = prior + _log_fit(design, states, grbm, 1.0 if collapsed else 2.0)
        weight = given_u.logsumexp(1)
        bound = weight.max() if not parts else bound
        kept = torch.rand(pool, generator=random, dtype=torch.float64) < torch.exp(weight - bound)
        probability = torch.softmax(given_u[kept], 1)
        hidden = states[torch.multinomial(probability, 1, generator=random)[:, 0]]
        if collapsed:
            mu = grbm.visible_mean(hidden).double().view(len(hidden), 3, PATCH**2)
            field = _field_given(design[kept], mu, grbm, random)
            visible = _between(mu, torch.einsum("npj,ncj->ncp", design[kept], field), grbm, random)
        else:
            visible = _visible_given(design[kept], hidden, grbm, random)
            field = _field_given(design[kept], visible, grbm, random)
        parts.append((gazes[kept], visible.flatten(1), hidden, field))
    gazes, visible, hidden, field = (torch.cat(tensors)[:n] for tensors in zip(*parts, strict=True))
    images = 0.5 + _KAPPA * torch.einsum("ncj,jyx->nyxc", field, _basis())
    return Joint(gazes, visible, hidden, Pyramids.from_images(list(images.numpy())))


def ranks(joint: Joint, grbm: GaussianBernoulliRBM, settings: PosteriorSettings, seed: int, kept: int = 5) -> Tensor:
    """Ranks of the true (log s, angle, tx, ty) among `kept` draws of each chain, and of a v and an h1 among the
    chains' last.

    Returns:
        [n, 6] ranks; the first four from 0 to chains * kept, the others from 0 to chains.
    """
    n = len(joint.gazes)
    found = sample(
        joint.images, np.arange(n), START.repeat(n, 1), [f"sbc {i}" for i in range(n)], conditionals(grbm),
        replace(settings, prior=PRIOR), seed,
    )  # fmt: skip
    every = settings.draws // kept
    draws = found.draws[:, :, every - 1 :: every]
    together = torch.cat((joint.gazes[:, None, None].expand(-1, draws.shape[1], 1, -1), draws), 2)
    values = coordinates(together)  # the truth, once a chain, in place 0
    below = (values[..., 1:] < values[..., :1, :1]).sum((2, 3))
    random = generator(seed, "sbc ties")
    direction = torch.randn(len(grbm.b), generator=random)
    lower = ((found.visible @ direction) < (joint.visible.float() @ direction).unsqueeze(1)).sum(1)
    on, truly_on = found.hidden.sum(2), joint.hidden.sum(1, keepdim=True)
    fewer, tied = (on < truly_on).sum(1), (on == truly_on).sum(1)
    coin = (torch.rand(n, generator=random) * (tied + 1)).long()
    return torch.cat((below, lower.unsqueeze(1), (fewer + coin).unsqueeze(1)), 1)


def chi_square(rank: Tensor, greatest: int) -> tuple[float, float]:
    """(statistic, p-value) of uniform ranks 0 ... greatest."""
    counts = torch.bincount(rank, minlength=greatest + 1).double()
    expected = len(rank) / (greatest + 1)
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float(statistic), float(torch.special.gammaincc(torch.tensor(greatest / 2).double(), statistic / 2))


def _prior_gazes(n: int, random: torch.Generator) -> Tensor:
    """Flat in (a, b, tx, ty) within the prior's bounds, so p(s) grows as s; times the wrapped normal of the angle."""
    uniform = torch.rand(3, n, generator=random, dtype=torch.float64)
    low, high = _SCALES
    s = torch.sqrt(low**2 + uniform[0] * (high**2 - low**2))
    turn = _TURN * torch.randn(n, generator=random, dtype=torch.float64)
    x, y = _CENTRE + _REACH * (2 * uniform[1:] - 1)
    return from_scale_angle(s, turn, x, y)


def _hidden_states(grbm: GaussianBernoulliRBM) -> tuple[Float[Tensor, "states H"], Float[Tensor, " states"]]:
    """All h1 and log p(h1)."""
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * grbm.n_hidden)
    return states, torch.log_softmax(-grbm.free_energy_hidden(states).double(), 0)


def _log_fit(design: Tensor, states: Tensor, grbm: GaussianBernoulliRBM, times: float) -> Float[Tensor, "n states"]:
    """log N(mu(h1); 0, A A' + times Sigma), a sum over the channels."""
    covariance = _noise(grbm, times) + (design @ design.transpose(1, 2)).unsqueeze(1)
    root = torch.linalg.cholesky(covariance)
    mu = grbm.visible_mean(states).double().view(len(states), 3, -1).permute(1, 2, 0)
    white = torch.linalg.solve_triangular(root, mu.expand(len(design), -1, -1, -1), upper=False)
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum((1, 2))
    return -0.5 * white.square().sum((1, 2)) - log_det.unsqueeze(1)


def _visible_given(
    design: Tensor, hidden: Tensor, grbm: GaussianBernoulliRBM, random: torch.Generator
) -> Float[Tensor, "n 3 points"]:
    mu = grbm.visible_mean(hidden).double().view(len(hidden), 3, -1)
    own = torch.linalg.inv(_noise(grbm, 1.0))
    precision = own + torch.linalg.inv(_covariance(design, grbm))
    root = torch.linalg.cholesky(precision)
    mean = torch.linalg.solve(precision, (own @ mu.unsqueeze(-1)))
    noise = torch.randn(mean.shape, generator=random, dtype=torch.float64)
    return (mean + torch.linalg.solve_triangular(root.transpose(-2, -1), noise, upper=True)).squeeze(-1)


def _between(mu: Tensor, x: Tensor, grbm: GaussianBernoulliRBM, random: torch.Generator) -> Float[Tensor, "n 3 points"]:
    """v | h1, u, I: N((mu + x) / 2, Sigma / 2)."""
    noise = torch.randn(mu.shape, generator=random, dtype=torch.float64)
    return (mu + x) / 2 + noise * grbm.sigma.double().view(3, -1) / 2**0.5


def _basis() -> Float[Tensor, "j y x"]:
    """Bumps on a grid of knots, scaled so that their sum with N(0, 1) weights has a variance of about 1."""
    knots = torch.linspace(0, SIDE, KNOTS, dtype=torch.float64)
    width = 0.6 * float(knots[1])
    line = torch.exp(-0.5 * ((torch.arange(SIDE, dtype=torch.float64) + 0.5 - knots[:, None]) / width) ** 2)
    bumps = torch.einsum("jy,kx->jkyx", line, line).flatten(0, 1)
    return bumps / bumps.square().sum(0).mean().sqrt()


def _design(gazes: Float[Tensor, "n 4"]) -> Float[Tensor, "n points j"]:
    """A(u): what each bump contributes to each sample, by the very glimpse that the posterior takes."""
    basis = _basis()
    n_images = -(-len(basis) // 3)
    padded = torch.zeros(3 * n_images, SIDE, SIDE, dtype=torch.float64)
    padded[: len(basis)] = basis
    top = float(basis.max())
    pyramids = Pyramids.from_images(list((padded / top).view(n_images, 3, SIDE, SIDE).permute(0, 2, 3, 1).numpy()))
    index = np.tile(np.arange(n_images), len(gazes))
    seen = glimpses(pyramids, index, gazes.repeat_interleave(n_images, 0), PATCH).double() * top
    return seen.view(len(gazes), 3 * n_images, PATCH**2)[:, : len(basis)].transpose(1, 2)


def _noise(grbm: GaussianBernoulliRBM, times: float) -> Float[Tensor, "3 points points"]:
    return times * torch.diag_embed(torch.exp(2 * grbm.log_sigma.double()).view(3, -1))


def _covariance(design: Tensor, grbm: GaussianBernoulliRBM) -> Float[Tensor, "n 3 points points"]:
    return (design @ design.transpose(1, 2)).unsqueeze(1) + _noise(grbm, 1.0)


def _field_given(
    design: Tensor, visible: Tensor, grbm: GaussianBernoulliRBM, random: torch.Generator
) -> Float[Tensor, "n 3 j"]:
    """c given u and v (Matheron's rule)."""
    n, _, j = design.shape
    free = torch.randn(n, 3, j, generator=random, dtype=torch.float64)
    noise = torch.randn(visible.shape, generator=random, dtype=torch.float64) * grbm.sigma.double().view(3, -1)
    missing = visible - torch.einsum("npj,ncj->ncp", design, free) - noise
    solved = torch.linalg.solve(_covariance(design, grbm), missing.unsqueeze(-1)).squeeze(-1)
    return free + torch.einsum("npj,ncp->ncj", design, solved)
