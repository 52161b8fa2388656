"""Reverse annealing, the samples that it starts from, and the doubts that are told of them."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.log_z import schedules
from foveate.boltzmann.log_z.ais import anneal
from foveate.boltzmann.log_z.bracket import Bracket, bracket_log_z, forward_log_z
from foveate.boltzmann.log_z.exact import exact_samples, log_z_exact
from foveate.boltzmann.log_z.model_samples import draw_model_samples
from foveate.boltzmann.log_z.schedules import pilot_spread
from foveate.boltzmann.log_z.tempering import LEVELS, TemperingState, split_r_hat, starts_apart, temper
from foveate.boltzmann.log_z.weights import Estimate, estimate
from foveate.storage.checkpoints import Checkpoints


def random_rbm(visible, hidden, scale, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rbm = BernoulliRBM(visible, hidden)
    for parameter, size in ((rbm.W, scale), (rbm.b, 1.0), (rbm.c, 1.0)):
        parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return rbm


def two_modes(units, coupling, tilt):
    """All off or all on with nothing between, all on heavier by about `tilt` nats; and its log Z in closed form."""
    rbm = BernoulliRBM(units, units)
    rbm.W.fill_(coupling)
    rbm.b.fill_(-coupling * units / 2 + tilt / units)
    rbm.c.fill_(-coupling * units / 2)
    terms = [
        math.log(math.comb(units, on)) + on * float(rbm.b[0])
        + units * math.log1p(math.exp(float(rbm.c[0]) + coupling * on))
        for on in range(units + 1)
    ]  # fmt: skip
    return rbm, max(terms) + math.log(sum(math.exp(term - max(terms)) for term in terms))


def plain_marginals(rbm):
    """p(v) of every visible state, hidden units summed one by one, in plain Python."""
    W, b, c = rbm.W.tolist(), rbm.b.tolist(), rbm.c.tolist()
    states = list(itertools.product((0, 1), repeat=len(b)))
    mass = []
    for v in states:
        weight = math.exp(sum(x * y for x, y in zip(b, v, strict=True)))
        for j in range(len(c)):
            weight *= 1 + math.exp(c[j] + sum(W[i][j] * v[i] for i in range(len(b))))
        mass.append(weight)
    return torch.tensor(states), torch.tensor(mass, dtype=torch.float64) / sum(mass)


def coins(rbm):
    return torch.full((1, rbm.n_visible), 0.5)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4)])
def test_exact_samples_have_the_models_distribution(shape):
    rbm, n = random_rbm(*shape, 1.0), 3000
    states, p = plain_marginals(rbm)
    place = 2 ** torch.arange(shape[0] - 1, -1, -1)
    counts = torch.bincount((exact_samples(rbm, range(n), 0).long() * place).sum(1), minlength=len(p))
    assert torch.equal((states * place).sum(1), torch.arange(len(p)))
    often = n * p > 5
    chi_squared = ((counts - n * p)[often] ** 2 / (n * p)[often]).sum()
    degrees = int(often.sum()) - 1
    assert chi_squared < degrees + 4.5 * math.sqrt(2 * degrees) + 5


def test_exact_samples_depend_on_their_chain_alone():
    rbm = random_rbm(6, 25, 0.5)
    assert torch.equal(exact_samples(rbm, range(10), 0)[7:], exact_samples(rbm, range(7, 10), 0))


def test_the_mean_reverse_weight_is_the_ratio_of_the_normalisers():
    rbm, n = random_rbm(6, 5, 0.7), 4000
    path = rbm.path(coins(rbm))
    betas = schedules.linear(5)
    raw = anneal(path, betas.flip(0), range(n), 0, "down", exact_samples(rbm, range(n), 0)).log_weight
    ratio = torch.exp(raw - (path.log_z_base - log_z_exact(rbm)))
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(n)
    up = anneal(path, betas, range(n), 0, "up").log_weight
    lower, upper = (path.log_z_base + up).mean(), (path.log_z_base - raw).mean()
    assert lower < log_z_exact(rbm) < upper  # in the mean of logs the ends can't touch, at five temperatures


@pytest.mark.parametrize("shape", [(12, 9, 0.0), (12, 9, 0.3), (9, 12, 1.5), (6, 40, 0.7)])
def test_the_bracket_holds_log_z(shape):
    rbm = random_rbm(*shape)
    found = bracket_log_z(rbm, coins(rbm), chains=50, temperatures=500)
    assert found.lower - 1e-4 <= log_z_exact(rbm) <= found.upper + 1e-4
    assert found.exact == pytest.approx(log_z_exact(rbm))
    assert found.upper - found.lower < 0.7
    assert found.doubts == []


def test_a_bracket_gives_the_mean_log_likelihood_with_what_is_open_of_it():
    rbm = random_rbm(9, 12, 1.0)
    found = bracket_log_z(rbm, coins(rbm), chains=50, temperatures=500)
    v = (torch.rand(40, rbm.n_visible, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    nats = -rbm.free_energy(v).double() - log_z_exact(rbm)
    told, estimated = found.log_likelihood(rbm, v), replace(found, exact=None).log_likelihood(rbm, v)
    assert told.mean == pytest.approx(float(nats.mean()), abs=1e-4)
    assert told.stderr == pytest.approx(float(nats.std()) / 40**0.5, rel=1e-4)
    assert told.high - told.low == pytest.approx(4 * told.stderr, abs=1e-4)
    assert estimated.low <= told.low + 1e-4 and told.high <= estimated.high + 1e-4
    assert math.isnan(found.log_likelihood(rbm, v[:1]).stderr)


def test_tempered_samples_have_the_models_marginals_across_two_modes():
    # Two modes of the same mass that Gibbs sweeps hardly ever leave.
    rbm, _ = two_modes(10, 1.2, 0.0)
    path = rbm.path(coins(rbm))
    ladder = schedules.adaptive(LEVELS - 1, pilot_spread(path, 0))
    found = temper(path, ladder, starts_apart(rbm, path, torch.zeros(1, 10), LEVELS, 0), draws=500, sweeps=6000, seed=0)
    assert found.r_hat < 1.1
    assert found.arrivals > 100
    upper_mode = (found.samples.mean(2) > 0.5).double().mean(0)  # of each ensemble, all four from their own start
    # Draws that follow each other are alike: the arrivals say how many are independent.
    assert (abs(upper_mode.mean() - 0.5)) < 4 * 0.5 / math.sqrt(found.arrivals / 2)


def test_a_stopped_tempering_goes_on_to_the_same_bits():
    rbm = random_rbm(12, 11, 0.5)
    path, ladder = rbm.path(coins(rbm)), schedules.linear(LEVELS - 1)
    starts = starts_apart(rbm, path, coins(rbm), LEVELS, 0)
    whole = temper(path, ladder, starts, draws=10, sweeps=700, seed=0)
    states: list[TemperingState] = []

    def stop(done):
        if done >= 400:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        temper(path, ladder, starts, draws=10, sweeps=700, seed=0, tick=stop, keep=states.append)
    kept = TemperingState(*(value.clone() for value in states[-1]))
    resumed = temper(path, ladder, starts, draws=10, sweeps=700, seed=0, state=kept)
    assert torch.equal(resumed.samples, whole.samples)
    assert (resumed.r_hat, resumed.arrivals) == (whole.r_hat, whole.arrivals)


def test_reverse_annealing_from_tempered_samples_agrees_with_enumeration(monkeypatch):
    rbm = random_rbm(14, 12, 0.5)
    path = rbm.path(coins(rbm))
    monkeypatch.setattr("foveate.boltzmann.log_z.model_samples.enumerable", lambda rbm: False)
    samples = draw_model_samples(rbm, coins(rbm), 100, 3000, 0)
    assert samples.doubts == []
    down = anneal(path, schedules.linear(500).flip(0), range(100), 0, "down", samples.v)
    found = estimate(path.log_z_base - down.log_weight, reverse=True)
    assert abs(found.log_z - log_z_exact(rbm)) < 5 * found.stderr + 0.01


# A mode that is missed is told of.


@pytest.mark.parametrize("tilt", [0.0, 7.0])
def test_a_mode_that_is_missed_is_doubted(tilt):
    # Data shows one mode alone, the other has as much mass or nearly all of it, and nothing gets across.
    rbm, _ = two_modes(26, 2.0, tilt)
    found = bracket_log_z(rbm, torch.zeros(50, 26), chains=50, temperatures=100)
    assert found.exact is None
    assert any("disagree" in doubt for doubt in found.doubts)


def test_a_missed_mode_is_doubted_though_all_forward_chains_agree():
    # The base lies in the lighter mode, as it would after samplers that all missed the heavier one; the reverse chains
    # start from exact samples, nearly all of them in the heavier one.
    rbm, log_z = two_modes(14, 2.0, 7.0)
    path = rbm.path(torch.zeros(50, 14))
    betas = schedules.linear(100)
    forward = estimate(path.log_z_base + anneal(path, betas, range(50), 0, "forward").log_weight)
    starts = exact_samples(rbm, range(50), 0)
    back = anneal(path, betas.flip(0), range(50), 0, "reverse", starts).log_weight
    reverse = estimate(path.log_z_base - back, reverse=True)
    assert forward.ess > 10 and forward.log_z < log_z - 1  # nothing in the forward chains shows it
    found = Bracket(forward, reverse, None)
    assert found.upper > log_z - 0.1
    assert any("nats wide" in doubt for doubt in found.doubts)


def two_mixtures(hidden, visible=6, apart=8.0, sigma=0.5):
    """A Gaussian machine of two groups of modes, 16 sigma apart; the farther one weighs more by what the others add."""
    grbm = GaussianBernoulliRBM(visible, hidden)
    grbm.W.copy_(0.09 * torch.randn(grbm.W.shape, generator=torch.Generator().manual_seed(0)))
    grbm.W[:, 0] = apart / visible**0.5
    grbm.log_sigma.fill_(math.log(sigma))
    grbm.c[0] = -float(grbm.W[:, 0].square().sum()) / (2 * sigma**2)
    return grbm


@pytest.mark.parametrize("hidden", [4, 14])
def test_a_gaussian_machine_s_second_mode_is_found_though_data_lie_in_the_first_alone(hidden, monkeypatch):
    """By exact samples, and by tempering; annealing from the data's moments alone gives a wrong log Z, all chains
    agreeing."""
    grbm = two_mixtures(hidden)
    h = torch.zeros(50, hidden)
    h[:, 1:] = (torch.rand(50, hidden - 1, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    data, exact = grbm.sample_visible(h, torch.Generator().manual_seed(2)), log_z_exact(grbm)
    alone = forward_log_z(grbm, data, temperatures=500)
    assert alone.log_z < exact - 0.5 and alone.ess > 45
    for module in ("bracket", "model_samples"):
        found = bracket_log_z(grbm, data, chains=50, temperatures=500)
        assert found.lower - 0.02 <= exact <= found.upper + 0.02
        assert found.doubts == []
        monkeypatch.setattr(f"foveate.boltzmann.log_z.{module}.enumerable", lambda machine: False)


def as_estimate(log_z, stderr, ess, n=100):
    return Estimate(log_z, stderr, ess, torch.zeros(n, dtype=torch.float64))


def test_figures_that_contradict_each_other_are_doubted():
    good = as_estimate(10.0, 0.01, 90.0)
    assert Bracket(good, as_estimate(10.02, 0.01, 90.0), 10.01).doubts == []
    crossed = Bracket(good, as_estimate(9.0, 0.01, 90.0), None).doubts
    assert len(crossed) == 1 and "are not samples of the model" in crossed[0]
    # As a page once said without a doubt: log Z 316.39 between 315.69 and 316.04.
    told = Bracket(as_estimate(316.39, 0.35, 60.0), as_estimate(315.98, 0.03, 60.0), None)
    assert told.upper == pytest.approx(316.04) and any("less than forward" in doubt for doubt in told.doubts)
    assert any("off the exact one" in doubt for doubt in Bracket(good, as_estimate(10.5, 0.01, 90.0), 10.4).doubts)
    assert any("few chains" in doubt for doubt in Bracket(as_estimate(10.0, 0.3, 4.0), good, None).doubts)
    dead = as_estimate(-math.inf, math.nan, 0.0)
    assert any("nats wide" in doubt for doubt in Bracket(dead, good, None).doubts)
    assert Bracket(as_estimate(1.0, math.nan, 1.0, n=1), good, None).doubts == ["1 chains give no standard error"]


def test_r_hat_of_chains_that_stand_still_or_disagree():
    noise = torch.randn((4, 200), generator=torch.Generator().manual_seed(0)).double()
    assert split_r_hat(noise) < 1.02
    assert split_r_hat(noise + 3 * torch.arange(4)[:, None]) > 2
    assert split_r_hat(noise + torch.linspace(0, 5, 200)) > 1.2  # a drift that all chains share
    assert math.isnan(split_r_hat(torch.ones(4, 200)))
    assert split_r_hat(torch.arange(4.0)[:, None].expand(4, 200)) == math.inf
    assert math.isnan(split_r_hat(torch.zeros(4, 3)))


def test_a_bracket_goes_on_from_checkpoints_to_the_same_bits(tmp_path):
    rbm = random_rbm(24, 23, 0.4)
    whole = bracket_log_z(rbm, coins(rbm), chains=30, temperatures=600)

    class Stopping(Checkpoints):
        """Dies as it finishes the n-th phase."""

        left = 1

        def finish(self, name, tensors=None, meta=None):
            super().finish(name, tensors, meta)
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            bracket_log_z(rbm, coins(rbm), chains=30, temperatures=600, checkpoints=Stopping(tmp_path))
    resumed = bracket_log_z(rbm, coins(rbm), chains=30, temperatures=600, checkpoints=Checkpoints(tmp_path))
    assert torch.equal(resumed.forward.log_weights, whole.forward.log_weights)
    assert torch.equal(resumed.reverse.log_weights, whole.reverse.log_weights)
    assert resumed.doubts == whole.doubts
