"""The density of a gaze and its gradient: against plain code and known densities."""

import math

import numpy as np
import pytest
import torch
from moving import full, keys, patches, random_gazes, three_images
from plain_glimpse import plain_glimpses

from foveate.attention.posterior import hmc
from foveate.attention.posterior.hmc import Box, Keyed
from foveate.attention.posterior.prior import log_prior, prior_rows
from foveate.attention.posterior.target import NormalDensity, gaze_targets, of_glimpses
from foveate.attention.settings import GazePrior
from foveate.scenes.gaze import from_chart, from_scale_angle, to_chart
from foveate.scenes.pyramid import Pyramids


@pytest.fixture(scope="module")
def pyramids() -> Pyramids:
    return three_images()


def targets_at(pyramids, gazes, seed: int = 0, pyramid: bool = True, index=None, compiled: bool = True):
    """Densities of chains at `gazes` under a prior that is flat between any bounds: ours, and by plain torch in
    float64; and where they are in their charts, whose unit of every place is a half-side."""
    index = np.zeros(len(gazes), np.int64) if index is None else index
    mean, weight = patches(len(gazes), seed)
    targets = gaze_targets(pyramids, index, gazes, 24, GazePrior(scale_range=(1e-9, 1e9)), pyramid)
    fit = NormalDensity(mean, weight)
    glimpses = plain_glimpses(pyramids, index, mean, 24, 1.0, pyramid)

    def plain(position):
        with torch.enable_grad():
            q = position.detach().requires_grad_()
            value = fit(glimpses(from_chart(q, targets.length))) + 2 * q[:, 0]
            (gradient,) = torch.autograd.grad(value.sum(), q)
        return value.detach(), gradient

    return (
        of_glimpses(targets, fit if compiled else (lambda seen: fit(seen.double())), 1.0),
        plain,
        to_chart(gazes, targets.length),
    )


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("pyramid", [True, False])
@pytest.mark.parametrize("low_high", [(0.5, 12), (12, 48), (48, 200), (200, 3000)])
def test_value_and_gradient_are_those_of_autograd_through_plain_torch(pyramids, low_high, pyramid, compiled):
    gazes = random_gazes(24, *low_high, seed=3)
    gazes[:6, 2:] *= 0.02  # some at the corner, half outside
    ours, plain, position = targets_at(pyramids, gazes, 0, pyramid, np.arange(24) % 3, compiled)
    found = hmc.init(position, ours)
    expected, by_autograd = plain(position)
    assert torch.allclose(found.logdensity, expected, rtol=1e-6)
    # Float32 inside: relative to the largest entry of all gradients.
    assert (found.gradient - by_autograd).abs().max() < 2e-4 * by_autograd.abs().max()


@pytest.mark.parametrize("level", range(8))
def test_gradient_is_the_slope_of_the_value_at_every_level_of_the_pyramid(pyramids, level: int):
    """Central differences of the float64 value at lambda = level + 1/3 (the last level of these images is 8)."""
    gazes = random_gazes(4, 1, 2, seed=level)
    gazes[:, :2] *= 12 * 2 ** (level + 1 / 3) / torch.hypot(gazes[:, :1], gazes[:, 1:2])
    ours, plain, position = targets_at(pyramids, gazes, level)
    gradient = ours(position)[1]
    h = 1e-7  # small, lest a sample cross into the next pixel, where bilinear interpolation has a kink
    for d in range(4):
        shift = torch.zeros_like(position)
        shift[:, d] = h
        slope = (plain(position + shift)[0] - plain(position - shift)[0]) / (2 * h)
        assert torch.allclose(gradient[:, d], slope, rtol=1e-4, atol=float(1e-5 * gradient.abs().max()))


def test_the_level_of_the_pyramid_is_part_of_the_gradient(pyramids):
    """Growing and shrinking change the blur too: without that term the slope along log s is another one."""
    ours, plain, position = targets_at(pyramids, random_gazes(8, 20, 100, seed=5))
    h = torch.tensor([1e-7, 0, 0, 0])
    slope = (plain(position + h)[0] - plain(position - h)[0]) / 2e-7
    found = ours(position)[1][:, 0]
    assert torch.allclose(found, slope, rtol=2e-3, atol=0.05)


ODD = {
    "no size": (0.0, 0.0, 50.0, 50.0),
    "tiny": (1e-6, 0.0, 50.0, 50.0),
    "huge": (1e6, 1e5, 50.0, 50.0),
    "outside": (20.0, 5.0, -500.0, 50.0),
    "far outside": (20.0, 5.0, 1e12, -1e15),
    "on the border": (10.0, 0.0, 0.0, 300.0),
}


@pytest.mark.parametrize("pyramid", [True, False])
def test_gradients_are_finite_everywhere_and_the_prior_s_alone_where_nothing_is_seen(pyramids, pyramid: bool):
    gazes = torch.tensor(list(ODD.values()), dtype=torch.float64)
    ours, plain, position = targets_at(pyramids, gazes, 0, pyramid)
    found = hmc.init(position, ours)
    assert torch.isneginf(found.logdensity[0]) and torch.isfinite(found.logdensity[1:]).all()
    assert torch.isfinite(found.gradient).all()
    flat = torch.tensor([2.0, 0, 0, 0], dtype=torch.float64).expand(2, 4)  # the prior's, p(log s) growing as s^2
    assert torch.allclose(found.gradient[3:5], flat, atol=1e-6)
    assert torch.allclose(found.logdensity[1:], plain(position)[0][1:], rtol=1e-6)


@pytest.mark.parametrize("angle", [None, (0.4, 0.3), (-3.0, 1.5)])
@pytest.mark.parametrize("log_scale", [None, (3.0, 0.4)])
def test_the_prior_is_a_density_with_the_slope_it_says(angle, log_scale):
    prior = GazePrior(log_scale=log_scale, angle=angle)
    turn = torch.linspace(-math.pi, math.pi, 2001, dtype=torch.float64)
    q = torch.zeros(len(turn), 4, dtype=torch.float64)
    q[:, 0], q[:, 1] = 3.2, turn
    values = log_prior(q, prior_rows(prior, len(q)))[0]
    if angle is None:
        assert (values == values[0]).all()
    else:  # wrapped round the circle the normal density loses nothing: its mass is sqrt(2 pi) times its deviation
        of_scale = log_prior(q, prior_rows(GazePrior(log_scale=log_scale), len(q)))[0]
        mass = torch.trapezoid((values - of_scale).exp(), turn)
        assert float(mass) == pytest.approx(math.sqrt(2 * math.pi) * angle[1], rel=1e-4)
    q = torch.tensor([[3.2, 2.9, 0.0, 0.0], [1.0, -9.0, 0.0, 0.0], [5.0, 0.1, 0.0, 0.0]], dtype=torch.float64)
    slopes, h = log_prior(q, prior_rows(prior, 3))[1], 1e-6 * torch.eye(4, dtype=torch.float64)
    for d in range(4):
        ahead, behind = (log_prior(q + sign * h[d], prior_rows(prior, 3))[0] for sign in (1, -1))
        torch.testing.assert_close(slopes[:, d], (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-6)


def test_under_a_flat_likelihood_and_prior_scale_has_a_density_proportional_to_itself():
    """All see one colour: the posterior is the prior, flat in (a, b, tx, ty), s in [10, 100] and t in a box.

    p(s) is proportional to s: mean 67.3, mean of s^2 5050. (Without the Jacobian the mean is 39.1.) Angle and centre
    are uniform and independent of s. Charts keep the length of their start, 10 to 60 pixels. Bounds are 5 standard
    errors, of independent chains.
    """
    n, sweeps = 20_000, 25
    grey = Pyramids.from_images([np.full((4, 4, 3), 99, np.uint8)])
    starts = from_scale_angle(
        torch.linspace(12, 60, n, dtype=torch.float64), full(n, 0.3), full(n, 5000.0), full(n, -3000.0)
    )
    prior = GazePrior(scale_range=(10.0, 100.0), region=(4900.0, -3300.0, 5100.0, -2700.0))
    targets = gaze_targets(grey, np.zeros(n, np.int64), starts, 2, prior)
    length = targets.length
    density = of_glimpses(targets, NormalDensity(torch.full((n, 3, 2, 2), 0.3), torch.ones(1, 3, 2, 2)), 1.0)
    scale = torch.stack((full(n, 0.7), full(n, 1.8), 60 / length, 180 / length), 1)
    state = hmc.init(to_chart(starts, length), density)
    for t in range(sweeps):
        state, _ = hmc.step(Keyed(torch.arange(n), t), state, density, full(n, 0.7), scale, 3, 0.3, targets.box)
    u = from_chart(state.position, length)
    s, turn = torch.hypot(u[:, 0], u[:, 1]), torch.atan2(u[:, 1], u[:, 0])
    assert s.min() >= 10 - 1e-9 and s.max() <= 100 + 1e-9
    exact_mean, exact_square = (2 / 3) * (100**3 - 10**3) / (100**2 - 10**2), (100**2 + 10**2) / 2
    assert exact_mean == pytest.approx(67.27, abs=0.01)
    uniform = {
        "s": (s - exact_mean) / s.std(),
        "s^2": (s.square() - exact_square) / s.square().std(),
        "cos": torch.cos(turn) * math.sqrt(2),
        "sin": torch.sin(turn) * math.sqrt(2),
        "x": (u[:, 2] - 5000) / (200 / math.sqrt(12)),
        "y": (u[:, 3] + 3000) / (600 / math.sqrt(12)),
    }
    for name, z in uniform.items():
        assert abs(float(z.mean())) < 5 / math.sqrt(n), name
        if name != "s^2":
            assert abs(float(z.square().mean()) - 1) < 5 * math.sqrt(2 / n), name
            assert name == "s" or abs(float((z * uniform["s"]).mean())) < 5 / math.sqrt(n), name


def test_absurd_steps_and_starts_are_divergences_and_nothing_worse(pyramids):
    n = 6
    density, _, position = targets_at(pyramids, random_gazes(n, 15, 60, seed=9), 0, True, np.arange(n) % 2)
    scale = torch.full((n, 4), 0.05, dtype=torch.float64)
    walls = Box(*(torch.full((n, 4), bound, dtype=torch.float64) for bound in (-math.inf, math.inf)))
    state = hmc.init(position, density)
    after, info = hmc.step(Keyed(keys(n), 0), state, density, full(n, 1e300), scale, 4, box=walls)
    assert info.diverged.all() and not info.accepted.any() and torch.equal(after.position, position)
    position = position.clone()
    position[0, 0], position[1, 0], position[2, 2] = 800.0, -800.0, torch.nan  # s overflows, s underflows, no place
    state = hmc.init(position, density)
    assert torch.isneginf(state.logdensity[[0, 2]]).all() and torch.isfinite(state.gradient).all()
    _, info = hmc.step(Keyed(keys(n), 0), state, density, full(n, 0.1), scale, 4)
    assert info.diverged[[0, 2]].all() and info.accepted[3:].any()
