"""Hamiltonian Monte Carlo leaves its targets invariant, and says what happened."""

import math
from itertools import pairwise

import pytest
import torch

from foveate.attention.posterior import hmc
from foveate.attention.posterior.hmc import Box, DualAveraging, Keyed
from foveate.runtime.random import generator, key, normals

STD = torch.tensor([0.01, 1.0, 30.0, 30.0], dtype=torch.float64)
CORRELATION = torch.full((4, 4), 0.9, dtype=torch.float64).fill_diagonal_(1.0)
COVARIANCE = STD[:, None] * CORRELATION * STD
MEAN = torch.tensor([0.5, -2.0, 100.0, 0.0], dtype=torch.float64)
PRECISION = torch.linalg.inv(COVARIANCE)


def correlated(position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    pull = (position - MEAN) @ PRECISION
    return -0.5 * ((position - MEAN) * pull).sum(1), -pull


def keys(n: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor([key(seed, "chain", i) for i in range(n)])


def exact_draws(n: int, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(n, 4, generator=generator(seed, "exact"), dtype=torch.float64)
    return MEAN + noise @ torch.linalg.cholesky(COVARIANCE).T


def full(n: int, value: float) -> torch.Tensor:
    return torch.full((n,), value, dtype=torch.float64)


# Unequal masses, none of them matched to the target.
UNEVEN = STD * torch.tensor([0.5, 1.5, 0.8, 1.2], dtype=torch.float64)


@pytest.mark.parametrize("n_leapfrog", [1, 20])
def test_a_correlated_density_of_very_unequal_scales_is_left_invariant(n_leapfrog: int):
    """3,000 chains, begun with exact draws and different step sizes, have the same moments ten transitions on.

    The bound of each moment is 5 standard errors.
    """
    n = 3000
    step_size = torch.linspace(0.05, 0.35, n, dtype=torch.float64)
    state, rate = hmc.init(exact_draws(n), correlated), torch.zeros(n, dtype=torch.float64)
    start = state.position
    for t in range(10):
        state, info = hmc.step(
            Keyed(torch.arange(n), t), state, correlated, step_size, UNEVEN.expand(n, 4), n_leapfrog, 0.2
        )
        rate += info.acceptance / 10
        assert not info.diverged.any()
    moved = ((state.position - start) / STD).square().mean()
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(COVARIANCE), (state.position - MEAN).T, upper=False)
    assert (z.mean(1).abs() < 5 / math.sqrt(n)).all()
    # Var of z_i z_j is 2 on the diagonal and 1 off it.
    assert ((z @ z.T / n - torch.eye(4)).abs() < 5 * torch.sqrt((1 + torch.eye(4)) / n)).all()
    assert ((z**3).mean(1).abs() < 5 * math.sqrt(15 / n)).all()
    assert moved > 0.1  # it is no feat to leave alone what one does not touch
    # Each chain's acceptance is its own: longer steps, fewer acceptances.
    assert rate[: n // 4].mean() > rate[-n // 4 :].mean() + 0.01


def test_acceptance_as_computed_is_acceptance_as_it_happens():
    n = 4000
    state = hmc.init(exact_draws(n), correlated)
    _, info = hmc.step(Keyed(torch.arange(n), 0), state, correlated, full(n, 0.4), UNEVEN.expand(n, 4), 5)
    assert 0.3 < info.acceptance.mean() < 0.95
    assert abs(info.accepted.double().mean() - info.acceptance.mean()) < 5 * 0.5 / math.sqrt(n)


def test_energy_error_falls_with_the_square_of_the_step():
    n, errors = 200, []
    state = hmc.init(exact_draws(n), correlated)
    for halving in range(3):
        eps, steps = 0.1 / 2**halving, 10 * 2**halving
        _, info = hmc.step(Keyed(keys(n), 0), state, correlated, full(n, eps), UNEVEN.expand(n, 4), steps)
        errors.append(float(info.energy_error.abs().mean()))
    ratios = [a / b for a, b in pairwise(errors)]
    assert ratios == pytest.approx([4, 4], rel=0.1)


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_forward_turned_round_and_forward_again_is_where_it_began(steps: int):
    n = 50
    momentum = normals(keys(n), 0, 4)
    low, high = MEAN - STD, MEAN + 0.7 * STD  # walls in the way
    box = Box(low.expand(n, 4), high.expand(n, 4))
    inside = torch.rand(n, 4, generator=generator(1), dtype=torch.float64)
    start = hmc.init(box.low + (0.05 + 0.9 * inside) * (box.high - box.low), correlated)
    end, turned = hmc.leapfrog(start, momentum, correlated, 0.15 * UNEVEN.expand(n, 4), steps, box)
    back, turned_back = hmc.leapfrog(end, -turned, correlated, 0.15 * UNEVEN.expand(n, 4), steps, box)
    assert ((back.position - start.position) / STD).abs().max() < 1e-9
    assert (turned_back + momentum).abs().max() < 1e-9
    assert ((end.position - start.position) / STD).abs().max() > 0.03 * steps


def test_scale_is_a_standard_deviation():
    """With the target's own standard deviations as scale, steps of 0.5 on independent coordinates are nearly exact."""
    n = 2000

    def independent(q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return -0.5 * (q / STD).square().sum(1), -q / STD.square()

    state = hmc.init(STD * torch.randn(n, 4, generator=generator(0), dtype=torch.float64), independent)
    _, right = hmc.step(Keyed(keys(n), 0), state, independent, full(n, 0.5), STD.expand(n, 4), 3)
    _, wrong = hmc.step(Keyed(keys(n), 0), state, independent, full(n, 0.5), STD.square().expand(n, 4), 3)
    assert right.acceptance.mean() > 0.9 and wrong.acceptance.mean() < 0.5


def test_a_chain_does_not_depend_on_its_company():
    n = 9
    start, step_size = exact_draws(n), torch.linspace(0.1, 0.4, n, dtype=torch.float64)

    def run(rows: list[int]) -> torch.Tensor:
        state = hmc.init(start[rows], separately)
        for t in range(5):
            state, _ = hmc.step(
                Keyed(keys(n)[rows], t), state, separately, step_size[rows], UNEVEN.expand(len(rows), 4), 4, 0.3
            )
        return state.position

    def separately(q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # A matrix product's rounding may depend on the batch; a sum over the last dimension written out does not.
        away = q - MEAN
        pull = torch.stack([sum(away[:, j] * PRECISION[j, i] for j in range(4)) for i in range(4)], 1)
        return -0.5 * sum((away * pull)[:, i] for i in range(4)), -pull

    together = run(list(range(n)))
    for rows in ([4], [8, 0], [3, 2, 1, 7, 5]):
        assert torch.equal(run(rows), together[rows])


def cliff(q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A standard normal density that is NaN beyond 0.5, with NaN gradients beyond 0.3."""
    value, gradient = -0.5 * q.square().sum(1), -q.clone()
    value[q[:, 0] > 0.5] = torch.nan
    gradient[q[:, 0] > 0.3] = torch.nan
    return value, gradient


def test_undefined_densities_are_rejected_and_counted_and_the_rest_stays_exact():
    """The chain samples the normal density truncated at 0.5, whose mean and mean square are known.

    4,000 chains after 20 transitions; bounds of 5 standard errors.
    """
    n = 4000
    state = hmc.init(torch.zeros(n, 1, dtype=torch.float64), cliff)
    diverged = torch.zeros(n)
    for t in range(20):
        one = torch.ones(n, 1, dtype=torch.float64)
        state, info = hmc.step(Keyed(torch.arange(n), t), state, cliff, full(n, 0.4), one, 3, 0.3)
        diverged += info.diverged
        assert not (info.diverged & info.accepted).any()
        assert (info.acceptance[info.diverged] == 0).all()
    q = state.position[:, 0]
    density, below = math.exp(-0.125) / math.sqrt(2 * math.pi), 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))
    mean, square = -density / below, 1 - 0.5 * density / below
    assert q.max() <= 0.5 and (diverged > 0).double().mean() > 0.9
    assert abs(float(q.mean()) - mean) < 5 * float(q.std()) / math.sqrt(n)
    assert abs(float(q.square().mean()) - square) < 5 * float(q.square().std()) / math.sqrt(n)


@pytest.mark.parametrize("step_size", [1e3, 1e160, 1e308])
def test_absurd_steps_are_rejections_and_leave_the_chain_where_it_is(step_size: float):
    state = hmc.init(exact_draws(50), correlated)
    after, info = hmc.step(Keyed(keys(50), 0), state, correlated, full(50, step_size), UNEVEN.expand(50, 4), 5)
    assert info.diverged.all() and not info.accepted.any() and (info.acceptance == 0).all()
    assert torch.equal(after.position, state.position) and torch.isfinite(after.logdensity).all()


def test_a_chain_begun_where_the_density_is_undefined_leaves():
    state = hmc.init(torch.full((200, 1), 0.6, dtype=torch.float64), cliff)
    assert torch.isneginf(state.logdensity).all() and (state.gradient == 0).all()
    for t in range(30):
        state, _ = hmc.step(Keyed(keys(200), t), state, cliff, full(200, 0.5), torch.ones(200, 1).double(), 3)
    assert torch.isfinite(state.logdensity).all()


def test_step_sizes_come_to_the_acceptance_asked_for_whatever_they_were():
    """Averaged steps are accepted more often than asked: log eps is averaged, and acceptance is concave in it."""
    n = 24
    step_size = torch.logspace(-3, 2, n, dtype=torch.float64)
    state = hmc.init(exact_draws(n), correlated)
    averaging = DualAveraging.begin(step_size)
    for t in range(150):
        eps = averaging.log_step.exp()
        state, info = hmc.step(Keyed(keys(n), t), state, correlated, eps, UNEVEN.expand(n, 4), 5, 0.2)
        averaging = averaging.update(info.acceptance)
    adapted, rate = averaging.log_average.exp(), torch.zeros(n, dtype=torch.float64)
    for t in range(150, 250):
        state, info = hmc.step(Keyed(keys(n), t), state, correlated, adapted, UNEVEN.expand(n, 4), 5, 0.2)
        rate += info.acceptance / 100
    assert adapted.max() / adapted.min() < 2.5
    assert 0.75 < rate.mean() < 0.96 and rate.min() > 0.6


def test_dual_averaging_follows_the_published_recursion():
    averaging = DualAveraging.begin(full(1, 0.5))
    mu, h, log_bar = math.log(5.0), 0.0, math.log(0.5)
    for t, acceptance in enumerate([0.2, 0.9, 1.0, 0.0], start=1):
        averaging = averaging.update(full(1, acceptance), target=0.65)
        h = (1 - 1 / (t + 10)) * h + (0.65 - acceptance) / (t + 10)
        log_eps = mu - math.sqrt(t) / 0.05 * h
        log_bar = t**-0.75 * log_eps + (1 - t**-0.75) * log_bar
        assert float(averaging.log_step.exp()) == pytest.approx(math.exp(log_eps))
    assert float(averaging.log_average.exp()) == pytest.approx(math.exp(log_bar))


@pytest.mark.parametrize("eps", [0.3, 40.0])
def test_reflection_keeps_a_flat_density_in_a_box_flat_whatever_the_step(eps: float):
    n = 8000
    box = Box(torch.tensor([[-1.0, 5.0]]).double().expand(n, 2), torch.tensor([[2.0, 5.1]]).double().expand(n, 2))
    state = hmc.init(box.low + 0.01 * (box.high - box.low), flat)
    scale = torch.tensor([[1.0, 0.05]]).double().expand(n, 2)
    for t in range(15):
        state, info = hmc.step(Keyed(torch.arange(n), t), state, flat, full(n, eps), scale, 4, 0.3, box)
        assert info.accepted.all()
    inside = (state.position - box.low) / (box.high - box.low)
    counts = torch.histc(inside[:, 0].float(), 20, 0, 1), torch.histc(inside[:, 1].float(), 20, 0, 1)
    # Chi-square with 19 degrees of freedom: 50 has a probability of 1e-4.
    assert all(float(((c - n / 20) ** 2 / (n / 20)).sum()) < 50 for c in counts)


def flat(q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(len(q), dtype=q.dtype), torch.zeros_like(q)
