"""v, h and s given the gaze, where pixels are independent in whitened coordinates only."""

import math

import numpy as np
import torch

from foveate.attention.posterior.conditionals import PatchConditionals
from foveate.attention.posterior.sample import sample
from foveate.attention.settings import PosteriorSettings
from foveate.boltzmann.dbn import PatchScale
from foveate.boltzmann.draws import Generated
from foveate.boltzmann.precision import PrecisionRBM
from foveate.runtime.random import generator
from foveate.scenes.gaze import from_scale_angle
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

D = 12


def machine(dim=D, seed=0, sigma=1.0):
    made, source = PrecisionRBM(dim, 4, torch.arange(dim) % 3 - 1, 2, 2), generator(seed, "machine")
    for value in made.parameters():
        value.copy_(0.5 * torch.randn(value.shape, generator=source))
    made.precisions.abs_()
    made.W[5:] = 0
    made.log_sigma.add_(math.log(sigma))
    made.mean.copy_(0.3 * torch.randn(dim, generator=source))
    made.whiten.copy_(torch.eye(dim) + (0.5 / dim**0.5) * torch.randn(dim, dim, generator=source))
    return made


def conditionals(made):
    return PatchConditionals(made, PatchScale(torch.tensor([0.5, 0.45, 0.55]), torch.tensor([0.2, 0.25, 0.3])))


def test_conditionals_are_those_of_the_machine_and_of_its_noise_on_the_glimpse():
    """v given (h, s) and x is the product of N(v; mu, C) and N(x; v, C): moments of 50,000 draws, 5 deviations."""
    made = machine()
    patch, n, random = conditionals(made), 50_000, generator(1)
    h = torch.bernoulli(torch.full((1, 8), 0.5), generator=random)
    x, v = torch.randn(1, D, generator=random), torch.randn(1, D, generator=random)
    mu = made.visible_mean(h)
    keys = torch.arange(n) * 7919
    drawn = patch.sample_visible(keys, 3, h.expand(n, -1), x.expand(n, -1))
    noise = made.draw_visible(h.expand(n, -1), Generated(generator(2))) - mu
    covariance, own = torch.cov(drawn.T), torch.cov(noise.T) / 2
    spread = own.diag().sqrt()
    assert ((drawn.mean(0) - (mu[0] + x[0]) / 2).abs() < 5 * spread / math.sqrt(n)).all()
    assert ((covariance - own).abs() / torch.outer(spread, spread)).max() < 10 / math.sqrt(n)
    on, probability = patch.sample_hidden(keys, 3, v.expand(n, -1)).mean(0), made.hidden_mean(v)[0]
    assert ((on - probability).abs() < 5 * torch.sqrt(probability * (1 - probability) / n) + 1e-9).all()


def test_the_density_given_a_patch_is_a_normal_one_with_the_patch_s_own_precisions():
    made = machine()
    patch, random = conditionals(made), generator(4)
    x, centre = torch.randn(3, D, generator=random), torch.randn(3, D, generator=random)
    h = torch.bernoulli(torch.full((3, 8), 0.5), generator=random)
    x.requires_grad_()
    value = -0.25 * patch.misfit(x, centre, patch.precision(h))
    (gradient,) = torch.autograd.grad(value.sum(), x)
    x = x.detach()
    for row in range(3):
        precision = made.whiten.T @ torch.diag(made.visible_natural(h[row][None])[1][0]) @ made.whiten
        away = x[row] - centre[row]
        assert torch.allclose(value[row].detach().float(), -0.25 * away @ precision @ away, rtol=1e-4)
        assert torch.allclose(gradient[row], -0.5 * precision @ away, rtol=1e-3, atol=1e-4)


def test_chains_of_every_target_stay_where_the_patch_model_s_own_patch_lies():
    """Four chains each; the model's mean is what a gaze of size 26 at (75, 85) sees."""
    side = 4
    picture = torch.rand(24, 24, 3, generator=generator(6)).repeat_interleave(8, 0).repeat_interleave(8, 1)
    pyramids = Pyramids.from_images([picture.numpy().astype(np.float32)])
    truth = from_scale_angle(*torch.tensor([26.0, 0.3, 75.0, 85.0], dtype=torch.float64))
    made = machine(3 * side * side, sigma=0.2)
    made.W.zero_()
    made.b.zero_()
    patch = conditionals(made)
    seen = patch.scale.standardise(glimpses(pyramids, np.zeros(1, np.int64), truth[None], side))
    made.mean.copy_(seen[0])
    for target in ("collapsed", "marginal", "paper"):
        settings = PosteriorSettings(chains=4, warm_up=12, draws=10, n_leapfrog=4, target=target)
        found = sample(pyramids, np.zeros(1, np.int64), truth[None], ["a"], patch, settings)
        assert torch.allclose(found.mean[0, 2:], truth[2:], atol=1.0), target
        assert torch.isfinite(found.visible).all() and float(found.acceptance.mean()) > 0.5
