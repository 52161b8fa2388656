"""Weighed points say what chains say, and what the weights' tail says of them is what arviz says."""

import math

import arviz
import numpy as np
import pytest
import torch
from pictures import blob_image

from foveate.attention.posterior.conditionals import PatchConditionals
from foveate.attention.posterior.importance import (
    POINTS,
    Normal,
    Weighed,
    adapted,
    law_of_error,
    smooth,
    weigh,
)
from foveate.attention.posterior.sample import sample
from foveate.attention.posterior.summary import circular_std, mean_gaze
from foveate.attention.posterior.target import gaze_targets
from foveate.attention.settings import GazePrior, PosteriorSettings
from foveate.boltzmann.dbn import PatchScale
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.scenes.gaze import angle, angle_difference, from_scale_angle, scale
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

SIZE = 8
SPREAD = torch.tensor([0.06, 0.08, 0.05, 0.05], dtype=torch.float64)


def at(s: float, degrees: float, x: float, y: float) -> torch.Tensor:
    return from_scale_angle(*torch.tensor([s, math.radians(degrees), x, y], dtype=torch.float64))


PYRAMIDS = Pyramids.from_images([blob_image(3)])
TRUE = at(20, 20, 80, 80)
SEEN = glimpses(PYRAMIDS, np.zeros(1, np.int64), TRUE[None], SIZE)[0]


def likeness(glimpse: torch.Tensor, sigma: float = 0.1) -> torch.Tensor:
    """A density of what the true gaze sees, with independent noise."""
    return -0.5 * ((glimpse - SEEN) / sigma).square().sum((1, 2, 3))


TRUSTED = 1 - 1 / math.log10(POINTS)


def posterior(gazes, temperature, before=None, prior=None, names=None, log_density=likeness) -> Weighed:
    targets = gaze_targets(PYRAMIDS, np.zeros(len(gazes), np.int64), gazes, SIZE, prior, flat=False)
    law = law_of_error(targets, gazes, SPREAD.expand(len(gazes), 4))
    return weigh(log_density, targets, law, names or [str(k) for k in range(len(gazes))], temperature, 0, before)


def moments(weighed: Weighed, k: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean gaze, and standard deviations of (log s, angle, tx, ty)."""
    points, weight = weighed.gazes[k], weighed.weight[k]
    mean = mean_gaze(points, weight)
    turn = angle_difference(angle(points), angle(mean))
    away = torch.stack((torch.log(scale(points) / scale(mean)), turn, *(points - mean)[:, 2:].unbind(1)), 1)
    return mean, torch.sqrt(weight @ away.square())


@pytest.mark.parametrize("deviation", [0.3, 1.0, 2.0, 6.0])
def test_weights_and_their_tail_are_those_that_arviz_finds(deviation):
    log_weight = np.random.default_rng(0).normal(0, deviation, POINTS)
    theirs, k = arviz.psislw(log_weight.copy())
    weight, shape = smooth(log_weight)
    assert shape == pytest.approx(float(k), abs=1e-9)
    assert np.allclose(weight, np.exp(np.asarray(theirs)), atol=1e-12) and weight.sum() == pytest.approx(1)


def test_weights_that_say_nothing_are_even_and_those_of_nothing_are_none():
    weight, k = smooth(np.zeros(POINTS))
    assert np.allclose(weight, 1 / POINTS) and k <= TRUSTED
    weight, k = smooth(np.full(POINTS, -np.inf))
    assert not weight.any() and k > TRUSTED
    one = np.full(POINTS, -np.inf)
    one[5] = 0.0
    weight, k = smooth(one)
    assert weight.tolist() == [0.0] * 5 + [1.0] + [0.0] * (POINTS - 6) and k > TRUSTED


def test_where_the_patch_says_nothing_the_posterior_is_the_law_of_error():
    gazes = torch.stack([at(20, 178, 80, 70), at(12, -20, 60, 90)])
    weighed = posterior(gazes, 1e12)
    for k, u in enumerate(gazes):
        mean, spread = moments(weighed, k)
        expected = SPREAD * torch.tensor([1.0, 1.0, scale(u), scale(u)])
        assert torch.allclose(spread, expected, rtol=0.05)
        assert abs(float(angle_difference(angle(mean), angle(u)))) < 0.1 * float(SPREAD[1])
        assert ((mean - u)[2:].abs() < 0.1 * expected[2:]).all()
        assert weighed.ess[k] == pytest.approx(POINTS) and weighed.k[k] <= TRUSTED


def test_points_of_several_proposals_give_the_same_posterior():
    left = at(20.4, 21.5, 80.4, 79.7)[None]
    first = posterior(left, 8.0)
    mean, spread = moments(first)
    other, also = moments(posterior(left, 8.0, posterior(left, 8.0, first)))
    assert torch.allclose(spread, also, rtol=0.3)
    assert (torch.log(scale(mean) / scale(other)).abs() < 0.35 * spread[0]) and (
        (mean - other)[2:].abs() < 0.35 * spread[2:]
    ).all()


def template() -> PatchConditionals:
    """The same density for chains: h1 of no effect, mu(h1) = b = what the true gaze sees."""
    grbm = GaussianBernoulliRBM(3 * SIZE * SIZE, 2)
    grbm.b.copy_(SEEN.flatten())
    grbm.log_sigma.fill_(math.log(0.1))
    return PatchConditionals(grbm, PatchScale(torch.zeros(3), torch.ones(3)))


def test_points_say_what_chains_of_hamiltonian_monte_carlo_say():
    left = at(20.5, 22, 80.5, 79.5)[None]
    settings = PosteriorSettings(chains=16, warm_up=40, draws=120, moves=1, temperature=20.0, target="collapsed")
    index = np.zeros(1, np.int64)
    chains = sample(PYRAMIDS, index, left, ["a"], template(), settings, seed=0, around=SPREAD[None])
    weighed = posterior(left, 20.0)
    assert weighed.k[0] <= TRUSTED and weighed.ess[0] > 20
    mean, spread = moments(weighed)
    theirs = chains.mean[0]
    expected = chains.spread[0]
    assert torch.allclose(spread, expected, rtol=0.25)
    away = torch.stack((torch.log(scale(mean) / scale(theirs)), angle(mean) - angle(theirs), *(mean - theirs)[2:]))
    assert (away.abs() < 0.35 * expected).all()


def test_a_density_far_sharper_than_the_law_of_error_is_not_trusted():
    weighed = posterior(at(21.5, 24, 82, 78.5)[None], 1e-3)
    assert weighed.k[0] > TRUSTED


def test_a_proposal_adapted_to_points_that_are_not_trusted_gives_points_that_are():
    """A likelihood as narrow as a sixth of the law, off its middle: few of the first points weigh anything."""
    left = at(21.2, 23.5, 81, 79)[None]
    first = posterior(left, 0.5)
    second = posterior(left, 0.5, first)
    third = posterior(left, 0.5, second)
    assert not first.trusted[0] and first.k[0] > TRUSTED and first.ess[0] < 12
    assert second.trusted[0] and second.ess[0] > 40 and third.ess[0] > second.ess[0]
    assert torch.allclose(moments(second)[1], moments(third)[1], rtol=0.1)
    assert ((moments(second)[0] - moments(third)[0])[2:].abs() < 0.2 * moments(third)[1][2:]).all()


def test_weights_of_several_proposals_are_those_of_their_mixture():
    """By hand, with normalised densities: w = target / mean of the proposals; no tail is smoothed where it is light."""
    left = at(20.4, 21.5, 80.4, 79.7)[None]
    both = posterior(left, 50.0, posterior(left, 50.0))
    assert len(both.proposals) == 2 and both.weight.shape == (1, 2 * POINTS)
    density = torch.zeros(2 * POINTS, dtype=torch.float64)
    (middle, spread), (between, factor) = both.proposals
    for mean, lower in ((middle[0], torch.diag(spread[0])), (between[0], factor[0])):
        normal = torch.distributions.MultivariateNormal(mean, scale_tril=lower)
        density += normal.log_prob(both.position[0]).exp() / 2
    weight = both.log_target[0].exp() / density
    weight /= weight.sum()
    light = weight.argsort()[: int(1.5 * POINTS)]
    ratio = both.weight[0, light] / weight[light]
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-6) and ratio[0] == pytest.approx(1, abs=0.05)


def test_an_adapted_proposal_has_the_points_covariance_widened_and_never_flat():
    """Points on a line in (log s, x): the proposal is along it, and has a quarter of the law across it."""
    first, t = posterior(TRUE[None], 50.0), torch.linspace(-1, 1, POINTS, dtype=torch.float64)
    line = torch.stack((t, 0 * t, 2 * t, 0 * t), 1)[None]
    even = torch.full((1, POINTS), 1 / POINTS, dtype=torch.float64)
    law = Normal(torch.zeros(1, 4).double(), torch.full((1, 4), 0.4).double())
    proposal = adapted(first._replace(position=line, weight=even), law)
    along = float((t * t).mean())
    expected = 2.25 * along * torch.tensor([[1, 0, 2, 0], [0, 0, 0, 0], [2, 0, 4, 0], [0, 0, 0, 0]]) + 0.01 * torch.eye(
        4
    )
    assert torch.allclose(proposal.factor[0] @ proposal.factor[0].mT, expected.double())
    rng = torch.Generator().manual_seed(0)
    drawn = proposal.at(torch.rand(1, 100_000, 4, generator=rng, dtype=torch.float64).clamp(1e-9, 1 - 1e-9))[0]
    assert torch.allclose(torch.cov(drawn.T), expected.double(), atol=0.05)


def test_what_the_prior_rules_out_weighs_nothing():
    weighed = posterior(TRUE[None], 1e12, prior=GazePrior(region=(80.0, 0.0, 160.0, 160.0)))
    heavy = weighed.weight[0] > 0
    assert (weighed.gazes[0, heavy, 2] >= 80).all() and 0.4 < heavy.double().mean() < 0.6
    nowhere = posterior(TRUE[None], 1.0, prior=GazePrior(region=(0.0, 0.0, 5.0, 5.0)))
    assert not nowhere.weight.any() and nowhere.k[0] == np.inf


def test_a_gaze_s_points_are_its_own_whatever_stands_beside_it():
    gazes = torch.stack([at(20, 20, 80, 80), at(15, 90, 60, 90)])
    both = posterior(gazes, 30.0, names=["a", "b"])
    alone = posterior(gazes[1:], 30.0, names=["b"])
    assert torch.equal(both.gazes[1], alone.gazes[0]) and torch.equal(both.weight[1], alone.weight[0])
    assert not torch.equal(both.gazes[0] - gazes[0], both.gazes[1] - gazes[1])


def test_the_width_of_an_angle_is_circular():
    points = torch.stack([at(20, degrees, 0, 0) for degrees in (179.0, -179.0)])
    even = torch.full((2,), 0.5, dtype=torch.float64)
    assert float(torch.rad2deg(circular_std(angle(points), even))) == pytest.approx(1.0, abs=0.01)
    assert abs(float(angle(mean_gaze(points, even)))) == pytest.approx(math.pi)
