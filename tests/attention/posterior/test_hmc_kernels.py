"""The compiled density of a gaze, its gradient, and whole trajectories: against plain code and known densities."""

import math

import numpy as np
import pytest
import torch
from moving import full, keys, patches, random_gazes, targets_for, three_images

from foveate.attention.posterior import hmc, hmc_kernels
from foveate.attention.posterior.hmc import Keyed
from foveate.attention.posterior.prior import log_prior, log_prior_reference, log_priors, prior_rows
from foveate.attention.posterior.target import gaze_targets, reference
from foveate.attention.settings import GazePrior
from foveate.scenes.gaze import from_chart, from_scale_angle, to_chart
from foveate.scenes.pyramid import Pyramids


@pytest.fixture(scope="module")
def pyramids() -> Pyramids:
    return three_images()


def targets_at(pyramids, gazes, seed: int = 0, pyramid: bool = True, index=None):
    """Densities of chains at `gazes` under a prior that is flat between any bounds, and where they are in their charts.

    The value and the gradient that they have are the density's in (log s, angle, tx / s, ty / s): a half-side is the
    unit of every place.
    """
    index = np.zeros(len(gazes), np.int64) if index is None else index
    mean, weight = patches(len(gazes), seed)
    prior = GazePrior(scale_range=(1e-9, 1e9))
    targets = gaze_targets(pyramids, index, gazes, mean, weight, prior, 1.0, pyramid)
    return targets, to_chart(gazes, torch.from_numpy(targets.length))


@pytest.mark.parametrize("pyramid", [True, False])
@pytest.mark.parametrize("low_high", [(0.5, 12), (12, 48), (48, 200), (200, 3000)])
def test_value_and_gradient_are_those_of_autograd_through_plain_torch(pyramids, low_high, pyramid: bool):
    gazes = random_gazes(24, *low_high, seed=3)
    gazes[:6, 2:] *= 0.02  # some at the corner, half outside
    targets, position = targets_at(pyramids, gazes, 0, pyramid, np.arange(24) % 3)
    found = hmc_kernels.init(position, targets)
    expected, by_autograd = reference(targets)(position)
    assert torch.allclose(found.logdensity, expected, rtol=1e-6)
    # Float32 inside: relative to the largest entry of all gradients.
    assert (found.gradient - by_autograd).abs().max() < 2e-4 * by_autograd.abs().max()


@pytest.mark.parametrize("level", range(8))
def test_gradient_is_the_slope_of_the_value_at_every_level_of_the_pyramid(pyramids, level: int):
    """Central differences of the float64 value at lambda = level + 1/3 (the last level of these images is 8)."""
    gazes = random_gazes(4, 1, 2, seed=level)
    gazes[:, :2] *= 12 * 2 ** (level + 1 / 3) / torch.hypot(gazes[:, :1], gazes[:, 1:2])
    targets, position = targets_at(pyramids, gazes, level)
    gradient, plain = hmc_kernels.init(position, targets).gradient, reference(targets)
    h = 1e-7  # small, lest a sample cross into the next pixel, where bilinear interpolation has a kink
    for d in range(4):
        shift = torch.zeros_like(position)
        shift[:, d] = h
        slope = (plain(position + shift)[0] - plain(position - shift)[0]) / (2 * h)
        assert torch.allclose(gradient[:, d], slope, rtol=1e-4, atol=float(1e-5 * gradient.abs().max()))


def test_the_level_of_the_pyramid_is_part_of_the_gradient(pyramids):
    """Growing and shrinking change the blur too: without that term the slope along log s is another one."""
    targets, position = targets_at(pyramids, random_gazes(8, 20, 100, seed=5))
    plain, h = reference(targets), torch.tensor([1e-7, 0, 0, 0])
    slope = (plain(position + h)[0] - plain(position - h)[0]) / 2e-7
    found = hmc_kernels.init(position, targets).gradient[:, 0]
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
    targets, position = targets_at(pyramids, gazes, 0, pyramid)
    found = hmc_kernels.init(position, targets)
    assert torch.isneginf(found.logdensity[0]) and torch.isfinite(found.logdensity[1:]).all()
    assert torch.isfinite(found.gradient).all()
    assert (found.gradient[3:5] == torch.tensor([2.0, 0, 0, 0])).all()  # the flat prior's, p(log s) growing as s^2
    assert torch.allclose(found.logdensity[1:], reference(targets)(position)[0][1:], rtol=1e-6)


@pytest.mark.parametrize("angle", [None, (0.4, 0.3), (-3.0, 1.5)])
@pytest.mark.parametrize("log_scale", [None, (3.0, 0.4)])
def test_the_prior_is_a_density_with_the_slope_it_says(angle, log_scale):
    prior = GazePrior(log_scale=log_scale, angle=angle)
    row = prior_rows(prior, 1)
    turn = np.linspace(-math.pi, math.pi, 2001)
    values = np.array([log_prior(np.array([3.2, t, 0, 0]), row[0])[0] for t in turn])
    at_origin = log_prior(np.array([3.2, angle[0] if angle else 0.0, 0, 0]), row[0])[0]
    if angle is not None:
        # Wrapped round the circle the normal density loses nothing: its mass is sqrt(2 pi) times its deviation.
        scale_part = log_prior(np.array([3.2, 0, 0, 0]), prior_rows(prior, 1)[0] * np.array([1, 1, 1, 0, 0]))[0]
        mass = np.trapezoid(np.exp(values - scale_part), turn)
        assert mass == pytest.approx(math.sqrt(2 * math.pi) * angle[1], rel=1e-4)
    else:
        assert np.ptp(values) == 0
    q = torch.tensor([[3.2, 2.9, 0.0, 0.0], [1.0, -9.0, 0.0, 0.0], [5.0, 0.1, 0.0, 0.0]], dtype=torch.float64)
    q.requires_grad_()
    reference_values = log_prior_reference(q, torch.from_numpy(prior_rows(prior, 3)))
    slopes = torch.autograd.grad(reference_values.sum(), q, allow_unused=True)[0]
    for n in range(3):
        found = log_prior(q[n].detach().numpy(), row[0])
        expected = (float(reference_values[n].detach()), *slopes[n, :2].tolist())
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    values_of_all, slopes_of_all = log_priors(q.detach(), prior_rows(prior, 3))
    torch.testing.assert_close(values_of_all, reference_values.detach())
    torch.testing.assert_close(slopes_of_all, slopes)
    assert math.isfinite(at_origin)


NARROW = GazePrior(log_scale=(3.4, 0.3), angle=(0.2, 0.8), region=(100.0, 70.0, 300.0, 220.0))


@pytest.mark.parametrize("prior", [None, NARROW], ids=["flat", "narrow"])
def test_compiled_trajectories_are_those_of_plain_hmc(pyramids, prior: GazePrior | None):
    n = 12
    targets, position = targets_for(pyramids, n, prior)
    plain = reference(targets)
    scale = torch.tensor([0.05, 0.05, 0.06, 0.04]).double().expand(n, 4)
    step_size = torch.linspace(0.2, 0.6, n, dtype=torch.float64)
    state, moves = hmc_kernels.transitions(
        keys(n), 5, 4, hmc_kernels.init(position, targets), targets, step_size, scale, 7, 0.3
    )
    slow = hmc.init(position, plain)
    for t in range(4):
        slow, info = hmc.step(Keyed(keys(n), 5 + t), slow, plain, step_size, scale, 7, 0.3, targets.box)
        assert torch.allclose(moves.draws[t], slow.position, atol=2e-4)
        assert torch.allclose(moves.info.acceptance[t], info.acceptance, atol=2e-3)
        assert torch.equal(moves.info.accepted[t], info.accepted)
    assert torch.allclose(state.logdensity, slow.logdensity, atol=1e-2)
    assert (moves.draws[0] - position).abs().max() > 1e-3


def test_a_chain_of_gazes_does_not_depend_on_its_company_bit_for_bit(pyramids):
    n = 10
    targets, position = targets_for(pyramids, n)
    scale = torch.full((n, 4), 0.05, dtype=torch.float64)

    def run(rows: list[int]) -> torch.Tensor:
        parts = {name: getattr(targets, name)[rows] for name in ("index", "length", "mean", "prior", "low", "high")}
        some = targets._replace(**parts)  # one weight for all
        state = hmc_kernels.init(position[rows], some)
        step_size = full(len(rows), 0.4)
        return hmc_kernels.transitions(keys(n)[rows], 0, 5, state, some, step_size, scale[rows], 5, 0.3)[1].draws

    together = run(list(range(n)))
    for rows in ([4], [9, 0], [3, 2, 1, 7, 5, 8]):
        assert torch.equal(run(rows), together[:, rows])


def test_transitions_in_one_call_are_those_of_several_calls(pyramids):
    n = 4
    targets, position = targets_for(pyramids, n)
    scale, state = torch.full((n, 4), 0.05, dtype=torch.float64), hmc_kernels.init(position, targets)
    whole = hmc_kernels.transitions(keys(n), 0, 6, state, targets, full(n, 0.4), scale, 5, 0.3)[1].draws
    for first in (0, 2, 4):
        state, moves = hmc_kernels.transitions(keys(n), first, 2, state, targets, full(n, 0.4), scale, 5, 0.3)
        assert torch.equal(moves.draws, whole[first : first + 2])


@pytest.mark.parametrize("kernel", ["compiled", "plain"])
def test_under_a_flat_likelihood_and_prior_scale_has_a_density_proportional_to_itself(kernel: str):
    """All see one colour: the posterior is the prior, flat in (a, b, tx, ty), s in [10, 100] and t in a box.

    p(s) is proportional to s: mean 67.3, mean of s^2 5050. (Without the Jacobian the mean is 39.1.) Angle and centre
    are uniform and independent of s. Charts keep the length of their start, 10 to 60 pixels. Bounds are 5 standard
    errors, of independent chains.
    """
    n, sweeps = (20_000, 25) if kernel == "compiled" else (1000, 15)
    grey = Pyramids.from_images([np.full((4, 4, 3), 99, np.uint8)])
    starts = from_scale_angle(
        torch.linspace(12, 60, n, dtype=torch.float64), full(n, 0.3), full(n, 5000.0), full(n, -3000.0)
    )
    prior = GazePrior(scale_range=(10.0, 100.0), region=(4900.0, -3300.0, 5100.0, -2700.0))
    blank, weight = torch.rand(n, 3, 2, 2, dtype=torch.float64), torch.ones(1, 3, 2, 2, dtype=torch.float64)
    targets = gaze_targets(grey, np.zeros(n, np.int64), starts, blank, weight, prior)
    length = torch.from_numpy(targets.length)
    scale = torch.stack((full(n, 0.7), full(n, 1.8), 60 / length, 180 / length), 1)
    position = to_chart(starts, length)
    if kernel == "compiled":
        start = hmc_kernels.init(position, targets)
        state, _ = hmc_kernels.transitions(torch.arange(n), 0, sweeps, start, targets, full(n, 0.7), scale, 3, 0.3)
    else:
        plain = reference(targets)
        state = hmc.init(position, plain)
        for t in range(sweeps):
            state, _ = hmc.step(Keyed(torch.arange(n), t), state, plain, full(n, 0.7), scale, 3, 0.3, targets.box)
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
    targets, position = targets_for(pyramids, n)
    targets = targets._replace(low=np.full((n, 4), -np.inf), high=np.full((n, 4), np.inf))  # no walls
    scale = torch.full((n, 4), 0.05, dtype=torch.float64)
    state = hmc_kernels.init(position, targets)
    after, moves = hmc_kernels.transitions(keys(n), 0, 3, state, targets, full(n, 1e300), scale, 4)
    assert moves.info.diverged.all() and not moves.info.accepted.any() and torch.equal(after.position, position)
    position = position.clone()
    position[0, 0], position[1, 0], position[2, 2] = 800.0, -800.0, torch.nan  # s overflows, s underflows, no place
    state = hmc_kernels.init(position, targets)
    assert torch.isneginf(state.logdensity[[0, 2]]).all() and torch.isfinite(state.gradient).all()
    _, moves = hmc_kernels.transitions(keys(n), 0, 3, state, targets, full(n, 0.1), scale, 4)
    assert moves.info.diverged[:, [0, 2]].all() and moves.info.accepted[:, 3:].any()
