"""Annealed importance sampling against plain sums over all states, written without the package's helpers."""

import itertools
import math

import numpy as np
import pytest
import torch

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.log_z import schedules
from foveate.boltzmann.log_z.ais import BLOCK, AISState, anneal, init, kernel
from foveate.boltzmann.log_z.exact import log_z_exact
from foveate.boltzmann.log_z.fused import binary_pass, gaussian_pass, hidden_pass
from foveate.boltzmann.log_z.path import Path
from foveate.boltzmann.log_z.schedules import make_schedule, pilot_spread
from foveate.boltzmann.log_z.weights import effective_sample_size, estimate, log_mean_exp, log_mean_stderr
from foveate.errors import BadInput
from foveate.runtime.random import key


def plain_log_z(rbm):
    """log of the sum of exp(-E) over every visible state, hidden units summed one by one."""
    W, b, c = rbm.W.tolist(), rbm.b.tolist(), rbm.c.tolist()
    terms = []
    for v in itertools.product((0, 1), repeat=len(b)):
        on = [i for i, bit in enumerate(v) if bit]
        inputs = [c[j] + sum(W[i][j] for i in on) for j in range(len(c))]
        terms.append(sum(b[i] for i in on) + sum(max(x, 0) + math.log1p(math.exp(-abs(x))) for x in inputs))
    top = max(terms)
    return top + math.log(math.fsum(math.exp(term - top) for term in terms))


def random_rbm(visible, hidden, scale, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rbm = BernoulliRBM(visible, hidden)
    for parameter, size in ((rbm.W, scale), (rbm.b, 1.0), (rbm.c, 1.0)):
        parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return rbm


def two_modes(visible, hidden):
    """All on or all off, equally heavy, and nothing between."""
    rbm = BernoulliRBM(visible, hidden)
    rbm.W.fill_(1.0)
    rbm.b.fill_(-hidden / 2)
    rbm.c.fill_(-visible / 2)
    return rbm


MODELS = {
    "no couplings": lambda: random_rbm(9, 6, 0.0),
    "weak": lambda: random_rbm(10, 7, 0.2),
    "strong": lambda: random_rbm(9, 8, 2.0),
    "two modes": lambda: two_modes(8, 6),
    "more hidden than visible": lambda: random_rbm(5, 30, 0.7),
}


def activities_of(rbm, seed=1):
    return torch.rand((20, rbm.n_visible), generator=torch.Generator().manual_seed(seed))


def run(rbm, temperatures, chains=100, seed=0, schedule="linear", activities=None):
    path = rbm.path(activities_of(rbm) if activities is None else activities)
    betas = make_schedule(path, schedule, temperatures, seed)
    return estimate(path.log_z_base + anneal(path, betas, range(chains), seed, "test").log_weight)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("schedule", ["linear", "sigmoid", "adaptive"])
def test_log_z_is_within_four_standard_errors_of_the_sum_over_all_states(name, schedule):
    rbm = MODELS[name]()
    found = run(rbm, 400, schedule=schedule)
    assert abs(found.log_z - plain_log_z(rbm)) < 4 * found.stderr + 1e-4
    assert found.ess > 25


@pytest.mark.parametrize("temperatures", [1, 10, 1000])
@pytest.mark.parametrize("base", ["data", "uniform"])
def test_without_couplings_log_z_is_exact_at_any_number_of_temperatures(temperatures, base):
    rbm = random_rbm(30, 20, 0.0)
    activities = activities_of(rbm) if base == "data" else torch.full((1, 30), 0.5)
    exact = sum(math.log1p(math.exp(x)) for x in rbm.b.tolist() + rbm.c.tolist())
    found = run(rbm, temperatures, activities=activities)
    assert abs(found.log_z - exact) < 1e-4
    assert found.ess == pytest.approx(100, abs=1e-9)
    assert found.stderr < 1e-9


@pytest.mark.parametrize("chains", [1, 7, 100])
def test_the_mean_weight_is_z_whatever_the_number_of_chains(chains):
    # Five temperatures, so that weights differ much; 300 independent runs, of which Z is averaged, not log Z.
    rbm = random_rbm(5, 4, 1.0)
    path = rbm.path(activities_of(rbm))
    weights = anneal(path, schedules.linear(5), range(300 * chains), 3, "unbiased").log_weight
    runs = torch.exp(path.log_z_base + weights - plain_log_z(rbm)).reshape(300, chains).mean(1)
    assert abs(runs.mean() - 1) < 4 * runs.std() / math.sqrt(300)


def test_the_error_shrinks_with_temperatures_and_stays_within_its_standard_error():
    rbm = random_rbm(12, 10, 0.3)
    exact = plain_log_z(rbm)
    found = [run(rbm, temperatures) for temperatures in (10, 100, 1000)]
    assert found[0].stderr > 2 * found[1].stderr > 4 * found[2].stderr
    assert all(abs(each.log_z - exact) < 4 * each.stderr for each in found)
    assert abs(found[2].log_z - exact) < 0.02


def test_weights_keep_their_nats_over_many_small_steps():
    # log Z is near 860: float32 sums of the increments would be off by more than the standard error.
    rbm = random_rbm(10, 400, 0.1)
    rbm.c.fill_(2.0)
    found = run(rbm, 4000, chains=25)
    assert abs(found.log_z - plain_log_z(rbm)) < 4 * found.stderr
    assert found.stderr < 0.02


def test_enumeration_agrees_with_plain_sums_whichever_layer_is_smaller():
    for visible, hidden in ((7, 5), (5, 7)):
        rbm = random_rbm(visible, hidden, 1.0)
        assert log_z_exact(rbm) == pytest.approx(plain_log_z(rbm), abs=1e-9)


def test_enumeration_refuses_what_would_take_for_ever():
    with pytest.raises(BadInput, match="21 and 22 units"):
        log_z_exact(BernoulliRBM(21, 22))


# The fused passes and the plain step.


def gaussian_toy(visible=6):
    """A path whose base has the moments of nine vectors."""
    generator = torch.Generator().manual_seed(5)
    machine = GaussianBernoulliRBM(visible, 9)
    for value, size in ((machine.W, 1.0), (machine.b, 1.0), (machine.c, 1.0), (machine.log_sigma, 0.2)):
        value.copy_(size * torch.randn(value.shape, generator=generator))
    return machine.path(2 * torch.randn((9, visible), generator=generator))


def plainly(path, device="cpu"):
    """The same path in torch's own operations."""
    return Path(path.machine, path.base_visible, path.base_hidden, path.log_z_outside, path.coordinates).to(device)


@pytest.mark.parametrize("kind", ["binary", "gaussian"])
@pytest.mark.parametrize("temperatures", [3, 400])
def test_fused_chains_are_the_plain_ones(kind, temperatures):
    rbm = random_rbm(20, 33, 0.5)
    path = rbm.path(activities_of(rbm)) if kind == "binary" else gaussian_toy()
    betas = schedules.linear(temperatures)
    fused = anneal(path, betas, range(BLOCK), 4, "same")
    keys = torch.tensor([key(4, "annealing", "same", chain) for chain in range(BLOCK)])
    state = init(plain := plainly(path), keys)
    for old, new in itertools.pairwise(betas.tolist()):
        state = kernel(plain, state, old, new, keys)
    assert state.step == temperatures and plain.log_z_base == pytest.approx(path.log_z_base, abs=1e-5)
    # Sigmoids differ in the last bit, which flips a draw once in 10^7: allow a chain or two to part ways.
    close = (fused.log_weight - state.log_weight).abs() < 2e-3
    assert close.double().mean() > 0.9
    same = (path.leave(fused.v) - plain.leave(state.v)).abs().amax(1) < 1e-3
    assert same.double().mean() > 0.9


@pytest.mark.parametrize("kind", ["binary", "gaussian"])
def test_a_step_s_log_ratio_is_that_of_the_annealed_marginals(kind):
    """In float64 from energies: log p*_beta(v) = log sum_h exp(-(1 - beta) E_0(v, h) - beta E(v, h))."""
    rbm = random_rbm(5, 4, 1.0)
    path = rbm.path(activities_of(rbm)) if kind == "binary" else gaussian_toy()
    machine = path.machine
    hs = torch.tensor(list(itertools.product((0.0, 1.0), repeat=machine.n_hidden)), dtype=torch.float64)
    state = init(path, torch.arange(7))
    v = state.v[:, : machine.n_visible].double()

    def log_marginal(beta):
        constant = machine.visible_own(torch.zeros(1, machine.n_visible, dtype=torch.float64))
        rows = [row.expand(len(v), -1) for row in hs]
        base = [machine.visible.dot(path.base_visible, v) + machine.hidden.dot(path.base_hidden, h) for h in rows]
        own = [-machine.energy(v, h) - constant for h in rows]
        return torch.logsumexp(torch.stack([(1 - beta) * x + beta * y for x, y in zip(base, own, strict=True)]), 0)

    gained = kernel(path, state, 0.3, 0.45, torch.arange(7)).log_weight - state.log_weight
    assert torch.allclose(gained, log_marginal(0.45) - log_marginal(0.3), atol=2e-5)


def test_gaussian_draws_have_the_mean_and_variance_of_their_conditional():
    path = gaussian_toy()
    rows, beta = 4000, 0.7
    h = (torch.rand((1, path.W.shape[1]), generator=torch.Generator().manual_seed(0)) < 0.5).float()
    product = (h @ path.W.T).expand(rows, -1).contiguous()
    b_base, b_change, precision_base, precision_change = path.b
    linear = (b_base + beta * (product[0] + b_change)).double()[:6]
    precision = (precision_base + beta * precision_change).double()[:6]
    drawn = product.clone()
    keys = np.arange(rows) * 7919
    gaussian_pass(drawn.numpy(), *(p.numpy() for p in path.b), np.full(rows, beta, np.float32), 3, keys, np.zeros(rows))
    z = (drawn.double()[:, :6] - linear / precision) * precision.sqrt()
    assert (z.mean(0).abs() < 4.5 / math.sqrt(rows)).all()
    assert ((z.var(0) - 1).abs() < 4.5 * math.sqrt(2 / rows)).all()
    assert abs((z**4).mean() - 3) < 4.5 * math.sqrt(96 / (6 * rows))  # a normal's fourth moment, variance 96


def test_binary_draws_have_their_probabilities_and_no_memory_of_their_neighbours():
    rows, units = 20_000, 16
    logits = torch.linspace(-3, 3, units).expand(rows, -1).contiguous()
    zeros, keys = np.zeros(units, np.float32), np.arange(rows)
    drawn = logits.clone()
    binary_pass(drawn.numpy(), zeros, zeros, np.ones(rows, np.float32), 11, keys, np.zeros(rows))
    p = torch.sigmoid(logits[0].double())
    spread = torch.sqrt(p * (1 - p))
    assert ((drawn.double().mean(0) - p).abs() < 4.5 * spread / math.sqrt(rows)).all()
    z = (drawn.double() - p) / spread
    assert abs((z[:, 1:] * z[:, :-1]).mean()) < 4.5 / math.sqrt(rows * (units - 1))
    assert abs((z[1:] * z[:-1]).mean()) < 4.5 / math.sqrt(rows * units)


@pytest.mark.parametrize("change", [1e-5, 1e-3, 0.02, 0.5])
def test_the_weights_increment_is_the_difference_of_softplus(change):
    generator = torch.Generator().manual_seed(2)
    product = 6 * torch.randn((3, 64), generator=generator)
    c_base, c_change = torch.randn((2, 64), generator=generator)
    old, new, gained = 0.4, 0.4 + change, np.zeros(3)
    keys, hidden = np.arange(3), np.zeros((3, 64), np.float32)
    hidden_pass(product.numpy(), c_base.numpy(), c_change.numpy(), old, new, 1, keys, hidden, gained)
    s = (product + c_change).double()
    softplus = torch.nn.functional.softplus
    exact = (softplus(c_base + new * s, threshold=1e3) - softplus(c_base + old * s, threshold=1e3)).sum(1)
    assert (torch.from_numpy(gained) - exact).abs().max() < 1e-6 + 1e-6 * exact.abs().max()


# Chains are the same in any company, and after any stop.


def test_a_chain_is_the_same_to_the_last_bit_in_any_company():
    rbm = random_rbm(40, 50, 0.4)
    path, betas = rbm.path(activities_of(rbm)), schedules.linear(300)
    everyone = anneal(path, betas, range(3 * BLOCK), 0, "company")
    for ids in ([0], [BLOCK + 3], list(range(2 * BLOCK, 3 * BLOCK)), [1, BLOCK - 1, 2 * BLOCK]):
        alone = anneal(path, betas, ids, 0, "company")
        assert torch.equal(alone.log_weight, everyone.log_weight[ids])
        assert torch.equal(alone.v, everyone.v[ids])


def test_threads_change_nothing():
    rbm = random_rbm(40, 50, 0.4)
    path, betas = rbm.path(activities_of(rbm)), schedules.linear(250)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = anneal(path, betas, range(60), 0, "threads")
        torch.set_num_threads(2)
        two = anneal(path, betas, range(60), 0, "threads")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one.log_weight, two.log_weight)


@pytest.mark.parametrize("kind", ["binary", "gaussian"])
def test_a_stopped_run_goes_on_to_the_same_bits(kind):
    rbm = random_rbm(40, 50, 0.4)
    path = rbm.path(activities_of(rbm)) if kind == "binary" else gaussian_toy()
    betas = schedules.linear(900)
    whole = anneal(path, betas, range(30), 0, "stop")
    states: list[AISState] = []

    class Stop(Exception):
        pass

    def stop(done):
        if done >= 400:
            raise Stop

    with pytest.raises(Stop):
        anneal(path, betas, range(30), 0, "stop", tick=stop, keep=states.append)
    assert 0 < int(states[-1].step) < 900
    resumed = anneal(path, betas, range(30), 0, "stop", state=states[-1])
    assert torch.equal(resumed.log_weight, whole.log_weight)


def test_other_seeds_and_streams_give_other_chains():
    rbm = random_rbm(10, 8, 0.5)
    path, betas = rbm.path(activities_of(rbm)), schedules.linear(20)
    runs = [anneal(path, betas, range(5), seed, stream).log_weight for seed, stream in ((0, "a"), (1, "a"), (0, "b"))]
    assert len({tuple(each.tolist()) for each in runs}) == 3


# Schedules.


@pytest.mark.parametrize("name", ["linear", "sigmoid", "adaptive"])
@pytest.mark.parametrize("temperatures", [1, 2, 77])
def test_schedules_rise_from_zero_to_one_in_float32_numbers(name, temperatures):
    rbm = random_rbm(6, 5, 1.0)
    betas = make_schedule(rbm.path(activities_of(rbm)), name, temperatures, 0)
    assert len(betas) == temperatures + 1 and betas[0] == 0 and betas[-1] == 1
    assert (betas.diff() > 0).all()
    assert torch.equal(betas, betas.float().double())


def test_adaptive_steps_keep_the_same_effective_sample_size():
    """To second order a step keeps 1 / (1 + d beta^2 var) of it."""
    rbm = random_rbm(12, 60, 1.0)
    spread = pilot_spread(rbm.path(activities_of(rbm)), 0)
    betas = schedules.adaptive(round(float(spread.mean()) / 0.1), spread)
    bins = (betas[:-1] * len(spread)).long().clamp(max=len(spread) - 1)
    kept = 1 / (1 + (betas.diff() * spread[bins]) ** 2)
    assert 0.98 < kept.min() and kept.mean() == pytest.approx(0.99, abs=0.004)


def test_an_unknown_schedule_or_no_temperatures_is_named():
    path = random_rbm(3, 2, 1.0).path(torch.full((1, 3), 0.5))
    with pytest.raises(BadInput, match="schedule = 'cosine'"):
        make_schedule(path, "cosine", 10, 0)
    with pytest.raises(BadInput, match="temperatures = 0"):
        make_schedule(path, "linear", 0, 0)
    with pytest.raises(BadInput, match="ascending"):
        anneal(path, schedules.linear(2), [3, 1], 0, "x")


# Weights.


def test_log_mean_exp_against_plain_python():
    values = [-1000.5, -1001.0, -999.0, -math.inf]
    plain = -1000 + math.log(sum(math.exp(x + 1000) for x in values) / 4)
    assert float(log_mean_exp(torch.tensor(values, dtype=torch.float64))) == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize("values", [[-math.inf, -math.inf], [-math.inf, 2.0, 3.0], [1e4, -1e4]])
def test_weights_of_zero_give_no_nan(values):
    weights = torch.tensor(values, dtype=torch.float64)
    assert not torch.isnan(log_mean_exp(weights))
    assert not math.isnan(effective_sample_size(weights))


def test_effective_sample_size_and_standard_error_by_hand():
    weights = torch.log(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)) + 700
    assert effective_sample_size(weights) == pytest.approx(36 / 14)
    assert log_mean_stderr(weights) == pytest.approx(1.0 / math.sqrt(3) / 2)
    assert effective_sample_size(torch.full((4,), -math.inf, dtype=torch.float64)) == 0
    assert math.isnan(log_mean_stderr(torch.zeros(1, dtype=torch.float64)))


def test_one_dead_chain_counts_in_the_mean():
    alive, one_dead = torch.zeros(4, dtype=torch.float64), torch.tensor([0, 0, 0, -math.inf], dtype=torch.float64)
    assert float(log_mean_exp(alive) - log_mean_exp(one_dead)) == pytest.approx(math.log(4 / 3))
    assert effective_sample_size(one_dead) == pytest.approx(3)
