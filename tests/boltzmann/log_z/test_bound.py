"""Bounds, and the first layer's own density, against plain sums over all hidden states, written without the package."""

import itertools
import math

import pytest
import torch

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.log_z.bound import bound_terms
from foveate.boltzmann.log_z.bracket import forward_log_z
from foveate.errors import BadInput
from foveate.runtime.precision import full_precision


def make(visible, hidden1, hidden2, w1, w2, log_sigma, seed=0):
    generator = torch.Generator().manual_seed(seed)
    gdbn = GaussianDBN(visible, hidden1, hidden2)
    sizes = {
        gdbn.grbm.W: w1, gdbn.grbm.b: 0.3, gdbn.grbm.c: 0.5, gdbn.rbm.W: w2, gdbn.rbm.b: 0.5, gdbn.rbm.c: 0.5,
    }  # fmt: skip
    for parameter, size in sizes.items():
        parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    gdbn.grbm.log_sigma.copy_(log_sigma + 0.2 * torch.randn(visible, generator=generator))
    return gdbn


def two_modes():
    gdbn = make(6, 4, 3, 0.5, 0.0, 0.0)
    gdbn.rbm.W.fill_(3.0)
    gdbn.rbm.b.fill_(-4.5)
    gdbn.rbm.c.fill_(-6.0)
    return gdbn


MODELS = {
    "no couplings": lambda: make(6, 4, 3, 0.5, 0.0, 0.0),
    "weak": lambda: make(6, 4, 3, 0.2, 0.2, 0.0),
    "strong": lambda: make(6, 4, 3, 1.0, 2.0, -0.5),
    "two modes": two_modes,
    "more hidden than visible": lambda: make(3, 6, 7, 0.4, 0.7, 0.0),
    "very small sigma": lambda: make(6, 4, 3, 0.003, 0.7, -5.0),
}


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def log_sum(terms):
    top = max(terms)
    return top + math.log(math.fsum(math.exp(term - top) for term in terms))


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


class Plain:
    """A GDBN as lists of numbers, and every sum over its states written out."""

    def __init__(self, gdbn):
        grbm, rbm = gdbn.grbm, gdbn.rbm
        self.W, self.b, self.c = grbm.W.tolist(), grbm.b.tolist(), grbm.c.tolist()
        self.sigma = [math.exp(x) for x in grbm.log_sigma.tolist()]
        self.W2, self.b2, self.c2 = rbm.W.tolist(), rbm.b.tolist(), rbm.c.tolist()
        self.states = list(itertools.product((0, 1), repeat=len(self.c)))
        self.log_z = log_sum([self.log_top(h) for h in self.states])

    def log_top(self, h):
        """log p*(h1), h2 summed out."""
        inputs = [self.c2[k] + sum(h[j] * self.W2[j][k] for j in range(len(h))) for k in range(len(self.c2))]
        return dot(self.b2, h) + sum(map(softplus, inputs))

    def mean(self, h):
        return [self.b[i] + dot(self.W[i], h) for i in range(len(self.b))]

    def log_normal(self, v, h):
        return sum(
            -math.log(s) - 0.5 * math.log(2 * math.pi) - 0.5 * ((x - m) / s) ** 2
            for x, m, s in zip(v, self.mean(h), self.sigma, strict=True)
        )

    def log_density(self, v):
        return log_sum([self.log_normal(v, h) + self.log_top(h) for h in self.states]) - self.log_z

    def posterior(self, v):
        inputs = [
            self.c[j] + sum(self.W[i][j] * v[i] / self.sigma[i] ** 2 for i in range(len(v))) for j in range(len(self.c))
        ]
        return [1 / (1 + math.exp(-x)) if x > -700 else 0.0 for x in inputs]

    def bound(self, v):
        """The variational bound with every state of h1 summed over."""
        q, total = self.posterior(v), 0.0
        for h in self.states:
            mass = math.prod(p if bit else 1 - p for p, bit in zip(q, h, strict=True))
            if mass > 0:
                total += mass * (self.log_normal(v, h) + self.log_top(h) - math.log(mass))
        return total - self.log_z

    def grbm_log_z(self):
        """log of the integral of exp(-E): over v in closed form, over h state by state."""
        terms = []
        for h in self.states:
            gain = sum((m**2 - b**2) / (2 * s**2) for m, b, s in zip(self.mean(h), self.b, self.sigma, strict=True))
            terms.append(dot(self.c, h) + gain)
        return log_sum(terms) + sum(math.log(s) + 0.5 * math.log(2 * math.pi) for s in self.sigma)


def drawn(gdbn, n, seed=3):
    """Patches that the first layer could have made."""
    generator = torch.Generator().manual_seed(seed)
    h = (torch.rand((n, gdbn.grbm.n_hidden), generator=generator) < 0.5).float()
    return gdbn.grbm.sample_visible(h, generator)


@pytest.mark.parametrize("name", MODELS)
def test_the_bounds_are_ordered_and_match_sums_over_all_states(name):
    gdbn = MODELS[name]()
    plain, v = Plain(gdbn), drawn(gdbn, 8)
    terms = bound_terms(gdbn, v, range(8), samples=2000, importance_samples=4000)
    for i, patch in enumerate(v.tolist()):
        exact, bound = plain.log_density(patch), plain.bound(patch)
        found = float(terms.variational[i]) - plain.log_z
        error = math.sqrt(float(terms.sampling_variance[i]))
        # A rare state that no sample hits leaves no trace in the error: a hundredth of a nat for it and for float32.
        assert abs(found - bound) < 4.5 * error + 0.01
        assert bound <= exact + 1e-9
        weighted = float(terms.weighted[i]) - plain.log_z
        assert bound - 4 * error - 0.01 < weighted < exact + 0.25


@pytest.mark.parametrize("name", ["weak", "strong"])
def test_the_weighted_bound_is_the_variational_one_at_one_sample_and_rises_towards_the_log_density(name):
    gdbn = MODELS[name]()
    plain = Plain(gdbn)
    # Of eight patches that whose bound has most to rise: of some the posterior is one state, and it doesn't rise.
    exact, bound, v = max(
        ((plain.log_density(patch), plain.bound(patch), patch) for patch in drawn(gdbn, 8).tolist()),
        key=lambda found: found[0] - found[1],
    )
    assert exact - bound > 0.01
    many = torch.tensor(v).expand(400, -1)  # keyed on their places, so 400 independent estimates for one patch
    means, errors = [], []
    for k in (1, 10, 1000):
        weighted = bound_terms(gdbn, many, range(400), samples=1, importance_samples=k).weighted - plain.log_z
        means.append(float(weighted.mean()))
        errors.append(float(weighted.std()) / 20)
    assert abs(means[0] - bound) < 4 * errors[0] + 1e-3
    assert means[0] < means[1] < means[2] < exact + 4 * errors[2] + 1e-3
    if name == "weak":  # there q covers the posterior, so a thousand samples reach the density itself
        assert abs(means[2] - exact) < 4 * errors[2] + 1e-3


def test_a_patch_has_the_same_figures_in_any_selection():
    gdbn = MODELS["strong"]()
    v = drawn(gdbn, 9)
    everything = torch.stack(tuple(bound_terms(gdbn, v, range(9), 7, 50)))
    some = torch.stack(tuple(bound_terms(gdbn, v, [2, 5], 7, 50)))
    assert torch.equal(everything[:, [2, 5]], some)
    assert torch.stack(tuple(bound_terms(gdbn, v, [], 7, 50))).shape == (3, 0)


def test_one_sample_has_no_known_variance_and_none_is_refused():
    gdbn = MODELS["weak"]()
    terms = bound_terms(gdbn, drawn(gdbn, 2), range(2), 1, 1)
    assert torch.isnan(terms.sampling_variance).all()
    assert torch.isfinite(terms.variational).all()
    with pytest.raises(BadInput, match="importance_samples = 0"):
        bound_terms(gdbn, drawn(gdbn, 2), range(2), 1, 0)


@pytest.mark.parametrize("name", MODELS)
def test_the_first_layers_log_z_is_within_four_standard_errors_of_the_sum(name):
    gdbn = MODELS[name]()
    found = forward_log_z(gdbn.grbm, drawn(gdbn, 50), chains=100, temperatures=500)
    assert abs(found.log_z - Plain(gdbn).grbm_log_z()) < 4 * found.stderr + 2e-3
    assert found.stderr < 0.3


def test_the_first_layers_log_density_integrates_to_one():
    # Two visible units: a grid over the plane. No formula of log Z enters.
    gdbn = make(2, 5, 1, 0.8, 0.0, -0.3)
    line = torch.linspace(-12, 12, 601)
    grid = torch.cartesian_prod(line, line)
    found = forward_log_z(gdbn.grbm, drawn(gdbn, 200), chains=200, temperatures=1000)
    log_mass = torch.logsumexp(-gdbn.grbm.free_energy(grid).double(), 0) + 2 * math.log(24 / 600) - found.log_z
    assert abs(float(log_mass)) < 4 * found.stderr + 1e-3


def test_annealing_the_first_layer_doesnt_depend_on_which_data_the_base_has():
    gdbn = MODELS["strong"]()
    near, far = drawn(gdbn, 50), 3 + 4 * drawn(gdbn, 5)
    first, second = (forward_log_z(gdbn.grbm, v, chains=100, temperatures=1000) for v in (near, far))
    assert abs(first.log_z - second.log_z) < 4 * math.hypot(first.stderr, second.stderr)


@pytest.mark.parametrize("allowed", ["highest", "high", "medium"])
def test_coarse_products_are_forbidden_inside_and_allowed_again_after(allowed):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(allowed)
        backends = torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision
        with pytest.raises(KeyError), full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cuda.matmul.allow_tf32
            raise KeyError  # restored after errors too
        assert torch.get_float32_matmul_precision() == allowed
        assert backends == (torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision)
    finally:
        torch.set_float32_matmul_precision(before)
