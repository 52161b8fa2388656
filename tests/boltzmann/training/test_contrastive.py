"""Contrastive divergence, PCD and fast PCD: the gradient, the fixed point, and what makes each what it is."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.draws import Numbered, Random, _Hashed
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.training.ascent import Samples
from foveate.boltzmann.training.centred import Parameters, Slopes, _climb, ascend, centred_slopes, climb
from foveate.boltzmann.training.contrastive import (
    METHODS,
    contrastive_divergence,
    fast_persistent,
    from_tensors,
    init,
    persistent,
    to_tensors,
)
from foveate.boltzmann.training.fit import train_rbm
from foveate.boltzmann.training.parallel import ALONE
from foveate.boltzmann.training.settings import Rule
from foveate.errors import BadInput
from foveate.runtime.random import draw_key, generator

PLAIN = Rule(rate=0.1, centre=0.0, average=0.0)


def states(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))


def a_machine(kind=BernoulliRBM, visible: int = 6, hidden: int = 4, scale: float = 0.5, seed: int = 0):
    machine = kind(visible, hidden)
    source = torch.Generator().manual_seed(seed)
    for value in machine.parameters():
        value.data.copy_(scale * torch.randn(value.shape, generator=source))
    return machine


def binary_data(n: int = 200, visible: int = 6, seed: int = 1) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    shared = torch.rand(n, 2, generator=source) < 0.5
    noise = torch.rand(n, visible, generator=source) < 0.15
    return (shared[:, torch.arange(visible) % 2] ^ noise).float()


def same(a, b) -> bool:
    """Whether two machines have the same parameters."""
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def like(parameters: Parameters, fill: float) -> Parameters:
    return Parameters(*(torch.full_like(value, fill) for value in parameters))


def exact_step(machine, data: torch.Tensor, rule: Rule) -> dict[str, torch.Tensor]:
    """Plain gradient ascent's change with both expectations summed over all states."""
    vs = states(machine.n_visible)
    p = torch.softmax(-machine.free_energy(vs), 0)
    h_data, h_model = machine.hidden_mean(data), machine.hidden_mean(vs)
    return {
        "W": rule.rate * (data.T @ h_data / len(data) - (vs * p[:, None]).T @ h_model),
        "b": rule.rate * (data.mean(0) - p @ vs),
        "c": rule.rate * (h_data.mean(0) - p @ h_model),
    }


@pytest.mark.parametrize("step", [contrastive_divergence, persistent, fast_persistent])
def test_a_step_is_the_exact_likelihood_gradient_in_expectation(step):
    """Chains enough (100,000) and swept to equilibrium: each within 5 standard errors, each <= rate / (2 sqrt n)."""
    n = 100_000
    machine, data = a_machine(), binary_data()
    rows = data[torch.arange(n) % len(data)]
    state = init(machine, rows, chains=n, seed=3)
    rule = replace(PLAIN, sweeps=40)
    state, info = step(state, rows, rule)
    assert info.failed == ""
    for name, exact in exact_step(machine, data, rule).items():
        change = getattr(state.machine, name) - getattr(machine, name)
        assert ((change - exact).abs() < 5 * rule.rate / (2 * n**0.5) + 1e-6).all(), name


def test_the_gaussian_step_is_the_free_energys_gradient_in_the_units_metric():
    """Data against equilibrium samples of the same machine, the exact gradient by differences of the log-likelihood.

    The machine is a mixture of 2^3 Gaussians, so log Z and its slope are sums; 200,000 chains, bounds of 5 standard
    errors of a quantity whose deviation is at most 4.
    """
    n, step = 200_000, 1e-3
    machine = a_machine(GaussianBernoulliRBM, 2, 3, scale=0.6, seed=2)
    data = torch.randn(500, 2, generator=torch.Generator().manual_seed(4)) * torch.tensor([0.7, 1.4]) + 0.3

    def log_likelihood(m: GaussianBernoulliRBM) -> torch.Tensor:
        m = GaussianBernoulliRBM(2, 3).double().requires_grad_(False) if m is None else m
        return -m.free_energy(data.double()).mean() - torch.logsumexp(-m.free_energy_hidden(states(3).double()), 0)

    rows = data[torch.arange(n) % len(data)]
    state = init(machine, rows, chains=n, seed=5)
    rule = replace(PLAIN, rate=step, rate_log_sigma=step, sweeps=60)
    state, _ = persistent(state, rows, rule)
    wide, metric = machine.double(), machine.sigma.square().double()
    weights = {"W": metric[:, None], "b": metric, "c": torch.ones(3), "log_sigma": torch.full((2,), 0.5)}
    for name, value in list(wide.named_parameters()):
        before = value.data.clone()
        for index in itertools.product(*(range(k) for k in value.shape)):
            ends = []
            for move in (1e-5, -1e-5):
                value.data[index] = before[index] + move
                ends.append(log_likelihood(wide))
            value.data[index] = before[index]
            exact = float((ends[0] - ends[1]) / 2e-5) * float(weights[name].expand(value.shape)[index])
            moved = (float(getattr(state.machine, name)[index]) - float(before[index])) / step
            assert abs(moved - exact) < 5 * 4 / n**0.5 + 2e-3, (name, index, moved, exact)


@pytest.mark.parametrize("gaussian", [False, True])
def test_centred_and_plain_gradients_agree_where_the_gradient_is_zero_and_climb_alike(gaussian):
    """The centred step is a positive definite transform of the plain one: their inner product is positive."""
    kind = GaussianBernoulliRBM if gaussian else BernoulliRBM
    machine, data = a_machine(kind, 6, 4, seed=8), binary_data(2000)
    moves = []
    for centre in (0.0, 0.5):
        state, _ = persistent(init(machine, data, 2000, seed=9), data, replace(PLAIN, sweeps=30, centre=centre))
        changes = [getattr(state.machine, name) - getattr(machine, name) for name in ("W", "b", "c")]
        moves.append(torch.cat([change.flatten() for change in changes]))
    assert float(moves[0] @ moves[1]) > 0.1 * float(moves[0].norm() * moves[1].norm()) > 0


def test_centring_does_not_depend_on_which_value_of_a_unit_is_called_one():
    """Flip a visible unit (v -> 1 - v) and its machine alike: with centring the learned density is the flipped one.

    (The plain gradient fails this: Cho, Raiko, Ilin 2011.) Held to draws that don't matter by exact expectations.
    """
    machine, data = a_machine(seed=10), binary_data(64)
    flipped = BernoulliRBM(6, 4)
    flipped.load_state_dict(machine.state_dict())
    flipped.W.data[0] *= -1
    flipped.b.data[0] *= -1
    flipped.c.data += machine.W[0]
    changed = data.clone()
    changed[:, 0] = 1 - changed[:, 0]
    model = []
    for one, rows in ((machine, data), (flipped, changed)):
        p = Parameters(one.W.data, one.b.data, one.c.data, torch.zeros(6))
        vs = states(6)
        weight = torch.softmax(-one.free_energy(vs), 0)
        h_data, h_model = one.hidden_mean(rows), one.hidden_mean(vs)
        mu, lam = rows.mean(0), h_data.mean(0)
        slope = (rows - mu).T @ (h_data - lam) / len(rows) - ((vs - mu) * weight[:, None]).T @ (h_model - lam)
        s = Slopes(slope, rows.mean(0) - weight @ vs, torch.zeros(6), lam - weight @ h_model, mu, lam)
        ascend((p, like(p, 0.0), like(p, 1.0)), s, Rule(rate=0.3), 0.0, 1.0)
        model.append(torch.softmax(-one.free_energy(vs), 0))
    order = ((vs - torch.tensor([1.0, 0, 0, 0, 0, 0])).abs() @ (2.0 ** torch.arange(5, -1, -1))).long()
    assert torch.allclose(model[1][order], model[0], atol=1e-6)


def test_the_centred_slope_is_that_of_centred_units():
    source = torch.Generator().manual_seed(15)
    (v, h), (w, g) = (torch.rand(9, 5, generator=source), torch.rand(9, 4, generator=source)), (
        torch.rand(7, 5, generator=source), torch.rand(7, 4, generator=source))  # fmt: skip
    offsets = torch.rand(5, generator=source), torch.rand(4, generator=source)
    found, _, _ = centred_slopes(Samples(v, h, w, g, g, g, 9, 7), offsets, 0.1, False, ALONE)
    mu, lam = found.mu, found.offset_h
    assert torch.allclose(found.W, (v - mu).T @ (h - lam) / 9 - (w - mu).T @ (g - lam) / 7, atol=1e-6)


def test_what_is_compiled_computes_what_plain_torch_does():
    source = torch.Generator().manual_seed(16)
    matrices, numbers = [torch.randn(7, 5, generator=source) for _ in range(4)], (0.3, 0.9, 0.01, 0.2)
    vectors = [torch.randn(n, generator=source) for n in (7, 5, 5, 7, 7)]
    compiled = [x.clone() for x in (*matrices, *vectors)]
    total = _climb(*(x.numpy() for x in compiled), *(np.float32(x) for x in numbers))
    assert total == pytest.approx(float(climb(tuple(matrices), tuple(vectors), numbers)), rel=1e-5)
    for one, other in zip(compiled, (*matrices, *vectors), strict=True):
        torch.testing.assert_close(one, other)
    draws, logits = Numbered(draw_key(3, 1, 4), 5), 4 * torch.randn(40, 30, generator=source)
    assert torch.equal(draws.binary(logits), Random.binary(draws, logits))
    torch.testing.assert_close(draws.normal(logits), _Hashed.normal(draws, logits), rtol=1e-5, atol=1e-5)


def test_fast_pcd_is_pcd_when_the_fast_rate_is_zero():
    machine, data = a_machine(), binary_data()
    rule = Rule(rate=0.05, fast_rate=0.0, momentum=0.5)
    slow, fast = init(machine, data, 32, seed=1), init(machine, data, 32, seed=1)
    for _ in range(20):
        slow, _ = persistent(slow, data, rule)
        fast, _ = fast_persistent(fast, data, rule)
    assert same(slow.machine, fast.machine) and torch.equal(slow.hidden, fast.hidden)


def test_fast_weights_drive_the_chains_and_are_no_part_of_what_is_learned():
    """One step by hand: chains by slow + fast weights, positive phase by slow ones, both moved by one gradient.

    Neither method's learned weights are an average: with `average` kept on, the parameters are the same bits.
    """
    machine, data = a_machine(scale=1.0), binary_data()
    rule = Rule(rate=0.05, fast_rate=0.5, centre=0.0, average=0.9)
    state = init(machine, data, 64, seed=2)
    state, _ = fast_persistent(state, data, rule)
    before, fast = state.machine.like(), state.fast.like()
    assert float(fast.W.abs().max()) > 0
    driven = BernoulliRBM(6, 4)
    for name, value in driven.named_parameters():
        value.copy_(getattr(before, name) + getattr(fast, name))
    chains = persistent(
        init(driven, data, 64, seed=2)._replace(hidden=state.hidden.clone(), step=state.step), data, rule
    )[0].hidden
    tensors, meta = to_tensors(state)
    twin = from_tensors(machine, {name: value.clone() for name, value in tensors.items()}, meta)
    other, _ = fast_persistent(twin, data, replace(rule, average=0.0))
    state, _ = fast_persistent(state, data, rule)
    assert torch.equal(state.hidden, chains)
    assert same(state.machine, other.machine)
    slow_change = (state.machine.W - before.W) / rule.rate
    fast_change = (state.fast.W - rule.fast_decay * fast.W) / rule.fast_rate
    assert torch.allclose(slow_change, fast_change, atol=1e-4)
    for _ in range(20):  # the average begins as the parameters themselves
        state, _ = fast_persistent(state, data, rule)
    assert not torch.equal(state.machine.W, state.average.W)


def _log_likelihood(machine, data: torch.Tensor) -> float:
    log_z = torch.logsumexp(-machine.free_energy(states(machine.n_visible)).double(), 0)
    return float(-machine.free_energy(data).double().mean() - log_z)


def _maximum_likelihood(machine: BernoulliRBM, data: torch.Tensor) -> BernoulliRBM:
    """Exact gradient ascent on all states, to the top."""
    best = BernoulliRBM(machine.n_visible, machine.n_hidden)
    best.load_state_dict(machine.state_dict())
    best = best.double()
    values = [value.requires_grad_(True) for value in best.parameters()]
    vs, rows = states(machine.n_visible).double(), data.double()
    optimiser = torch.optim.LBFGS(values, max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = best.free_energy(rows).mean() + torch.logsumexp(-best.free_energy(vs), 0) + 1e-4 * best.W.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return best.requires_grad_(False).float()


@pytest.mark.parametrize("method", ["cd", "pcd", "fast_pcd"])
def test_learning_brings_a_tiny_machine_to_its_exact_maximum_likelihood(method):
    """Within 0.01 nats of the optimum found with all 2^4 states summed (the start lacks over 0.2)."""
    data = binary_data(400, 4)
    machine = a_machine(BernoulliRBM, 4, 2, 0.5, seed=12)
    top = _log_likelihood(_maximum_likelihood(machine, data), data)
    assert _log_likelihood(machine, data) < top - 0.2
    rule = Rule(rate=1.0, sweeps=10 if method == "cd" else 1, fast_rate=0.02, average=0.99)
    train_rbm(machine, data, method, epochs=600, seed=1, rule=rule, batch_size=400, chains=1000, cool_from=0.3)
    assert top - 0.01 < _log_likelihood(machine, data) < top + 0.01


def test_learning_brings_a_tiny_gaussian_machine_to_the_density_that_made_the_data():
    """20,000 rows of a machine with sigma (0.5, 0.8): the learned one is as likely as the true one, to 0.01 nats."""
    true = GaussianBernoulliRBM(2, 2)
    values = ([[1.5, -0.6], [0.4, 1.8]], [-0.8, 0.2], [-4.0, -1.5], [math.log(0.5), math.log(0.8)])
    for parameter, value in zip(true.parameters(), values, strict=True):
        parameter.copy_(torch.tensor(value))
    hs = states(2)
    source = generator(0, "true")
    pick = torch.multinomial(torch.softmax(-true.free_energy_hidden(hs), 0), 20_000, True, generator=source)
    data = true.sample_visible(hs[pick], source)

    def mean_log_density(machine: GaussianBernoulliRBM) -> float:
        return float(-machine.free_energy(data).mean() - torch.logsumexp(-machine.free_energy_hidden(hs), 0))

    machine = a_machine(GaussianBernoulliRBM, 2, 2, 0.1, seed=13)
    assert mean_log_density(machine) < mean_log_density(true) - 0.2
    rule = Rule(rate=0.1, rate_log_sigma=0.1, sweeps=5, average=0.99)
    train_rbm(machine, data, "pcd", epochs=40, seed=1, rule=rule, batch_size=500, chains=1000)
    assert abs(mean_log_density(machine) - mean_log_density(true)) < 0.01


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianBernoulliRBM])
def test_the_same_seed_gives_the_same_weights_and_another_does_not(kind, method):
    data = binary_data()
    ends = []
    for seed in (1, 1, 2):
        machine = a_machine(kind)
        train_rbm(machine, data, method, epochs=3, seed=seed, batch_size=50, chains=20)
        ends.append(machine.W.clone())
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_state_taken_apart_and_put_together_goes_on_with_the_same_bits(method):
    data, rule = binary_data(), Rule(fast_rate=0.05, momentum=0.5)
    state = init(a_machine(), data, 32, seed=1)
    for _ in range(5):
        state, _ = METHODS[method](state, data, rule)
    tensors, meta = to_tensors(state)
    twin = from_tensors(state.machine, {name: value.clone() for name, value in tensors.items()}, dict(meta))
    for _ in range(5):
        state, _ = METHODS[method](state, data, rule)
        twin, _ = METHODS[method](twin, data, rule)
    assert same(state.machine, twin.machine) and same(state.average, twin.average)


def test_binary_machines_keep_no_sigma_and_a_constant_pixel_stops_at_the_floor():
    data = torch.randn(500, 3, generator=torch.Generator().manual_seed(14))
    data[:, 0] = 0.25
    machine = a_machine(GaussianBernoulliRBM, 3, 2, 0.1)
    rule = Rule(rate=0.01, rate_log_sigma=0.2, log_sigma_floor=-2.0, average=0.9)
    train_rbm(machine, data, "cd", epochs=60, seed=0, rule=rule, cool_from=0.9)
    scale = float(data.std(0, correction=0).square().mean().sqrt())  # in units of which the floor is
    assert float(machine.log_sigma[0]) == pytest.approx(-2.0 + math.log(scale), abs=0.02)
    assert float(machine.log_sigma[1:].min()) > -0.5
    binary = init(a_machine(), binary_data(), 8, seed=0)
    binary, info = persistent(binary, binary_data(), Rule(rate_log_sigma=1.0))
    assert info.failed == "" and "log_sigma" not in dict(binary.machine.named_parameters())


def test_data_that_cannot_be_used_are_refused():
    machine = a_machine()
    with pytest.raises(BadInput, match=r"expected \[N, 6\]"):
        init(machine, torch.zeros(5, 7), 4, seed=0)
    with pytest.raises(BadInput, match="finite"):
        init(machine, torch.full((5, 6), float("nan")), 4, seed=0)
    with pytest.raises(BadInput, match="at least one row"):
        init(machine, torch.zeros(0, 6), 4, seed=0)
