"""Starts from data: the density that a comb writes down is the one that the machine has."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.training.combs import COUNTS, SPANS, fit_comb, lay_out, loss_table, quantiles, share_out
from foveate.boltzmann.training.starts import lay_combs, start_from_combs, start_small
from foveate.boltzmann.training.thermometers import ORDER, start_from_prior, thermometers
from foveate.errors import BadInput

RAMP = quantiles(np.random.default_rng(0).normal(size=200_000))


def states(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))


def exact_mean_log_density(machine, v: torch.Tensor) -> float:
    log_z = torch.logsumexp(-machine.double().free_energy_hidden(states(machine.n_hidden).double()), 0)
    return float((-machine.free_energy(v.double()) - log_z).mean())


def curved(n: int, seed: int = 0, narrow: float = 0.1) -> torch.Tensor:
    """Three numbers a row: skewed and heavy-tailed along two axes of a turned frame, narrow along the third."""
    source = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(42).normal(size=(3, 3)))[0]
    wide = np.stack((source.gamma(2.0, 3.0, n), source.standard_t(4, n) * 1.5, source.normal(0, narrow, n)), 1)
    return torch.tensor(wide @ axes.T + [1.0, -2.0, 0.5], dtype=torch.float32)


@pytest.mark.parametrize("span", [3.0, 12.0, 60.0])
def test_a_comb_of_many_units_reaches_the_gaussians_own_density_and_fewer_lose_more(span):
    own = -0.5 * math.log(2 * math.pi) - 0.5 - math.log(span)
    losses = [own - fit_comb(RAMP * span, count).nats for count in (1, 2, 4, 8, 16, 64)]
    assert all(later <= earlier + 1e-3 for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < 0.35 and (span > 12 or losses[-1] < 0.02)


def test_a_comb_is_a_mixture_that_integrates_to_one_and_its_nats_are_its_mean_log_density():
    points = quantiles(curved(5000)[:, 0].double().numpy())
    comb = fit_comb(points, 6)
    y = np.linspace(points[0] - 9, points[-1] + 9, 20_001)
    logs = comb.log_weights - 0.5 * (y[:, None] - comb.teeth) ** 2 - 0.5 * math.log(2 * math.pi)
    assert np.trapezoid(np.exp(logs).sum(1), y) == pytest.approx(1, abs=1e-6)
    logs = comb.log_weights - 0.5 * (points[:, None] - comb.teeth) ** 2 - 0.5 * math.log(2 * math.pi)
    again = np.log(np.exp(logs).sum(1)).mean()  # half a point of prior a tooth apart
    assert comb.nats == pytest.approx(again, abs=1e-2)


def test_the_machines_density_is_the_planned_mixture_along_every_direction():
    """All 2^n hidden states summed: mean log density on the data within 0.05 nats of combs times Gaussians."""
    data = curved(4000)
    start = lay_combs(data, 10)
    sigma = math.exp(start.layout.log_sigma)
    machine = start_from_combs(data, 10, seed=0)
    along = (data - start.mean) @ start.directions / sigma
    rest = ((data - start.mean).square().sum(1) / sigma**2 - along.square().sum(1)).clamp(min=0)
    expected = -3 * math.log(sigma) - 1.5 * math.log(2 * math.pi) - 0.5 * rest.double()
    for column, comb in zip(along.T.double(), start.combs, strict=True):
        teeth, weights = torch.from_numpy(comb.teeth), torch.from_numpy(comb.log_weights)
        expected += torch.logsumexp(weights - 0.5 * (column[:, None] - teeth).square(), 1)
    assert exact_mean_log_density(machine, data) == pytest.approx(float(expected.mean()), abs=0.05)


def test_the_start_beats_the_full_gaussian_on_fresh_data_that_are_not_gaussian():
    data, fresh = curved(4000, narrow=1.0), curved(4000, seed=7, narrow=1.0)
    machine = start_from_combs(data, 10, seed=0)
    gaussian = torch.distributions.MultivariateNormal(data.mean(0), torch.cov(data.T))
    assert exact_mean_log_density(machine, fresh) > float(gaussian.log_prob(fresh).mean())
    small = start_small(data, 10, seed=0)
    diagonal = torch.distributions.Normal(data.mean(0), data.std(0)).log_prob(data).sum(1).mean()
    assert exact_mean_log_density(small, data) == pytest.approx(float(diagonal), abs=0.3)


def test_units_go_where_they_gain_most_and_never_more_than_there_are():
    losses = loss_table(RAMP)
    spans = np.array([80.0, 20.0, 5.0, 1.5])
    before = None
    for units in (0, 1, 4, 12, 40, 200):
        counts, loss = share_out(spans, losses, units)
        assert counts.sum() <= units and (np.diff(counts) <= 0).all()
        assert before is None or loss <= before + 1e-9
        before = loss
    assert losses.shape == (len(SPANS), len(COUNTS))


def test_more_units_allow_a_smaller_sigma_and_promise_more_nats():
    variances = 100.0 / np.arange(1, 41) ** 2
    layouts = [lay_out(variances, RAMP, units, -5.0) for units in (5, 20, 80)]
    assert layouts[0].log_sigma > layouts[1].log_sigma > layouts[2].log_sigma
    assert layouts[0].nats < layouts[1].nats < layouts[2].nats
    assert lay_out(variances, RAMP, 80, -1.0).log_sigma >= -1.0


def test_data_without_variance_or_rows_are_refused():
    with pytest.raises(BadInput, match="no variance"):
        start_from_combs(torch.ones(10, 4), 3, seed=0)
    with pytest.raises(BadInput, match="at least 2 rows"):
        start_from_combs(torch.ones(1, 4), 3, seed=0)


def test_the_second_layers_start_gives_each_level_its_share_of_the_data():
    """Every h1 of a 10-unit first layer summed: the units' means under p(h1) are the data's, to 0.01."""
    data = curved(4000)
    first = start_from_combs(data, 10, seed=0)
    mean = first.hidden_mean(data)
    runs = thermometers(first)
    used = sum(run.stop - run.start - 1 for run in runs)
    second = start_from_prior(first, mean, used + 2, seed=0)
    hs = states(10)
    p = torch.softmax(-second.double().free_energy(hs.double()), 0)
    assert torch.allclose(p @ hs.double(), mean.double().mean(0), atol=0.01)
    for run in runs:
        out_of_order = (hs[:, run].diff(dim=1) > 0).any(1)
        assert float(p[out_of_order].sum()) < 0.02


def prior_log_z(machine: BernoulliRBM, runs: list[slice], used: int) -> float:
    """log Z of a machine as `start_from_prior` leaves it, random units without weight: a product over groups.

    A group of n units sums e^S(N) times the N-th elementary symmetric polynomial of e^b, by its recurrence.
    """
    b = machine.b.double()
    log_z = float(softplus(machine.c.double()[used:]).sum())
    grouped = torch.zeros(len(b), dtype=torch.bool)
    for run in runs:
        grouped[run] = True
        n = run.stop - run.start
        polynomial = torch.full((n + 1,), -torch.inf, dtype=torch.float64)
        polynomial[0] = 0
        for bias in b[run]:
            polynomial[1:] = torch.logaddexp(polynomial[1:], polynomial[:-1] + bias)
        count = torch.arange(n + 1, dtype=torch.float64)
        convex = softplus(ORDER * (count[:, None] - torch.arange(1, n, dtype=torch.float64))).sum(1)
        log_z += float(torch.logsumexp(polynomial + convex, 0))
    return log_z + float(softplus(b[~grouped]).sum())


def test_the_second_layers_log_z_in_closed_form_is_the_sum_over_all_states():
    data = curved(3000)
    first = start_from_combs(data, 9, seed=0)
    runs = thermometers(first)
    used = sum(run.stop - run.start - 1 for run in runs)
    second: BernoulliRBM = start_from_prior(first, first.hidden_mean(data), used + 1, seed=0)
    second.W.data[:, used:] = 0
    exact = torch.logsumexp(-second.double().free_energy(states(9).double()), 0)
    assert prior_log_z(second, runs, used) == pytest.approx(float(exact), abs=1e-4)
