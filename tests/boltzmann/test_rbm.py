"""Energies, conditionals and free energies against sums over every state."""

import itertools
import math

import pytest
import torch

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.draws import Generated, Numbered
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.units import BINARY
from foveate.errors import BadInput
from foveate.runtime.random import draw_key, generator, uniform_array


def states(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)), dtype=torch.float64)


def random_machine(kind, visible: int = 4, hidden: int = 3, seed: int = 0):
    machine = kind(visible, hidden).double()
    source = torch.Generator().manual_seed(seed)
    for value in machine.parameters():
        value.data.copy_(torch.randn(value.shape, generator=source, dtype=torch.float64))
    return machine


def pairs(machine, vs: torch.Tensor, hs: torch.Tensor) -> torch.Tensor:
    """[v, h] energies of every pair, written out in plain sums from the definition."""
    rows = []
    for v in vs:
        for h in hs:
            if isinstance(machine, GaussianBernoulliRBM):
                s2 = torch.exp(2 * machine.log_sigma)
                own = sum((v[i] - machine.b[i]) ** 2 / (2 * s2[i]) for i in range(len(v)))
                coupling = sum(v[i] / s2[i] * machine.W[i, j] * h[j] for i in range(len(v)) for j in range(len(h)))
            else:
                own = -sum(machine.b[i] * v[i] for i in range(len(v)))
                coupling = sum(v[i] * machine.W[i, j] * h[j] for i in range(len(v)) for j in range(len(h)))
            rows.append(own - sum(machine.c[j] * h[j] for j in range(len(h))) - coupling)
    return torch.stack(rows).reshape(len(vs), len(hs))


@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianBernoulliRBM])
def test_energy_is_the_definitions(kind):
    machine, hs = random_machine(kind), states(3)
    vs = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).repeat_interleave(8, 0)
    grid = pairs(machine, vs[::8], hs)
    assert torch.allclose(machine.energy(vs, hs.repeat(8, 1)), grid.flatten())


@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianBernoulliRBM])
def test_free_energy_and_hidden_mean_are_sums_over_hidden_states(kind):
    machine, hs = random_machine(kind), states(3)
    vs = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weights = -pairs(machine, vs, hs)
    assert torch.allclose(machine.free_energy(vs), -torch.logsumexp(weights, 1))
    assert torch.allclose(machine.hidden_mean(vs), torch.softmax(weights, 1) @ hs)


def test_bernoulli_visible_mean_and_hidden_free_energy_are_sums_over_visible_states():
    machine, vs, hs = random_machine(BernoulliRBM), states(4), states(3)
    weights = -pairs(machine, vs, hs)
    assert torch.allclose(machine.free_energy_hidden(hs), -torch.logsumexp(weights, 0))
    assert torch.allclose(machine.visible_mean(hs), torch.softmax(weights, 0).T @ vs)


def test_gaussian_visible_conditional_and_hidden_free_energy_are_integrals():
    """On a fine grid over both visible units: mean, variance and the integral of exp(-E)."""
    machine, hs = random_machine(GaussianBernoulliRBM, visible=2, seed=3), states(3)
    machine.log_sigma.data.copy_(torch.tensor([-0.5, 0.3]))
    line = torch.linspace(-14, 14, 401, dtype=torch.float64)
    vs = torch.cartesian_prod(line, line)
    for h in hs:
        weights = -machine.energy(vs, h.expand(len(vs), 3))
        p = torch.softmax(weights, 0)
        mean = p @ vs
        assert torch.allclose(mean, machine.visible_mean(h[None])[0], atol=1e-6)
        assert torch.allclose(p @ (vs - mean).square(), machine.sigma.square(), atol=1e-6)
        log_integral = torch.logsumexp(weights, 0) + 2 * math.log(float(line[1] - line[0]))
        assert torch.allclose(-machine.free_energy_hidden(h[None])[0], log_integral, atol=1e-6)
        density = machine.log_prob_given_hidden(vs[::97], h.expand(len(vs[::97]), 3))
        assert torch.allclose(density, weights[::97] - log_integral, atol=1e-6)


def _data_term(machine, v: torch.Tensor) -> dict[str, torch.Tensor]:
    """-dF/d(parameter) at v in closed form, which contrastive learning averages: W, b, c and log sigma."""
    h = machine.hidden_mean(v)
    if isinstance(machine, BernoulliRBM):
        return {"W": v.T @ h, "b": v.sum(0), "c": h.sum(0)}
    precision = machine.precision
    square = (v - machine.b).square() * precision
    return {
        "W": precision[:, None] * (v.T @ h),
        "b": ((v - machine.b) * precision).sum(0),
        "c": h.sum(0),
        "log_sigma": (square - 2 * v * precision * (h @ machine.W.T)).sum(0),
    }


@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianBernoulliRBM])
def test_gradients_for_every_parameter_are_finite_differences_of_brute_force_free_energy(kind):
    machine, hs = random_machine(kind, seed=5), states(3)
    v = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    exact = _data_term(machine, v)
    for name, value in machine.named_parameters():
        for index in itertools.product(*(range(n) for n in value.shape)):
            ends = []
            for step in (1e-5, -1e-5):
                value.data[index] += step
                ends.append(torch.logsumexp(-pairs(machine, v, hs), 1).sum())
                value.data[index] -= step
            slope = (ends[0] - ends[1]) / 2e-5
            assert torch.isclose(slope, exact[name][index], rtol=1e-5, atol=1e-7), (name, index)


def test_draws_have_the_conditionals_moments():
    """200,000 draws of one h and one v: shares within 5 standard errors."""
    n, source = 200_000, generator(0, "draws")
    machine = random_machine(GaussianBernoulliRBM).float()
    machine.W.data.mul_(0.2)
    v, h = torch.ones(1, 4), torch.tensor([[1.0, 0.0, 1.0]])
    p = machine.hidden_mean(v)
    share = machine.sample_hidden(v.expand(n, 4), source).mean(0)
    assert ((share - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()
    draws = machine.sample_visible(h.expand(n, 3), source)
    assert ((draws.mean(0) - machine.visible_mean(h)).abs() < 5 * machine.sigma / n**0.5).all()
    assert ((draws.std(0) / machine.sigma - 1).abs() < 5 / (2 * n) ** 0.5).all()
    binary = random_machine(BernoulliRBM).float()
    q = binary.visible_mean(h)
    share = binary.sample_visible(h.expand(n, 3), source).mean(0)
    assert ((share - q).abs() < 5 * (q * (1 - q) / n).sqrt()).all()
    assert float(BINARY.draw((torch.full((9, 9), torch.inf),), Generated(None)).min()) == 1.0


@pytest.mark.parametrize("sizes", [(0, 3), (3, -1)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(BadInput, match="at least one unit"):
        GaussianBernoulliRBM(*sizes)


def test_compiled_numbers_are_torch_s_and_the_normal_ones_are_normal():
    """10^6 numbers: moments within 5 standard errors, and the shares beyond 1 to 4 deviations likewise."""
    random, like = Numbered(draw_key(4, 7, 1), 3), torch.zeros(1000, 1000)
    assert torch.equal(random.uniform(like), uniform_array((1000, 1000), random.key, first=3))
    z = random.normal(like).double().flatten()
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((z**power).mean()) - expected) < 5 * (variance / len(z)) ** 0.5
    for bound in (1.0, 2.0, 3.0, 4.0):
        share = math.erfc(bound / 2**0.5)
        assert abs(float((z.abs() > bound).double().mean()) - share) < 5 * (share / len(z)) ** 0.5
    assert abs(float((z[1:] * z[:-1]).mean())) < 5 / len(z) ** 0.5


@pytest.mark.parametrize("first", [1, 40])
def test_a_chain_s_draws_depend_on_its_number_and_not_on_where_it_lies(first):
    key, whole = draw_key(0, 3, 2), torch.zeros(64, 37)
    all_of_them, those = Numbered(key), Numbered(key, first)
    assert torch.equal(those.uniform(whole[first:]), all_of_them.uniform(whole)[first:])
    assert torch.equal(those.normal(whole[first:]), all_of_them.normal(whole)[first:])
