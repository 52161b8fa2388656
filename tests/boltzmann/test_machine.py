"""A stranger adds a kind of unit: spins, in this file alone, are enumerated, annealed, tempered, sampled and trained.

And a machine without a matrix, whose hidden units gate precisions, asks nothing but the face's own default forms.
"""

import itertools
import math

import pytest
import torch
from torch import nn

from foveate.boltzmann import BernoulliRBM, GaussianBernoulliRBM, Machine, RestrictedBoltzmannMachine, Units
from foveate.boltzmann.draws import Generated
from foveate.boltzmann.log_z.bracket import bracket_log_z, forward_log_z
from foveate.boltzmann.log_z.exact import exact_samples, log_z_exact
from foveate.boltzmann.precision import PrecisionRBM
from foveate.boltzmann.training.ascent import Ascent, Samples, slopes
from foveate.boltzmann.training.contrastive import METHODS, init, persistent
from foveate.boltzmann.training.fit import train_rbm
from foveate.boltzmann.training.settings import Rule
from foveate.boltzmann.units import BINARY, GAUSSIAN
from foveate.errors import BadInput


class Spin(Units):
    """-1 and 1: p(s) = exp(eta s) / (2 cosh eta)."""

    states_each = 2
    stored = torch.int8

    def log_normaliser(self, eta):
        return torch.logaddexp(eta[0], -eta[0]).sum(-1)

    def dot(self, eta, s):
        return (eta[0] * s).sum(-1)

    def mean(self, eta):
        return torch.tanh(eta[0])

    def draw(self, eta, random):
        up = torch.sigmoid(2 * eta[0])
        return 2 * (random.uniform(up) < up).to(up.dtype) - 1

    def fitted(self, s, smoothing):
        up = ((1 + s) / 2).sum(0) + smoothing
        return (0.5 * (torch.log(up) - torch.log(len(s) + 2 * smoothing - up)),)

    def states(self, index, units):
        return 2 * ((index[:, None] >> torch.arange(units)) & 1).double() - 1

    def check(self, data):
        super().check(data)
        if not (data.abs() <= 1).all():
            raise BadInput("spins are from -1 to 1")


class SpinRBM(RestrictedBoltzmannMachine):
    """E(v, h) = -b.v - c.h - v.W h, all of them -1 or 1."""

    visible = Spin()
    hidden = Spin()


class GatedPrecision(Machine):
    """A machine without a matrix: h moves the mean of a real v, s its precision; both are binary, side by side.

    -E(x, h, s) = -1/2 |x|^2 (1 + lambda.s) + x.m h + c.(h, s)
    """

    visible = GAUSSIAN
    hidden = BINARY

    def __init__(self, n_visible, n_mean, n_gate):
        super().__init__()
        self.m = nn.Parameter(torch.zeros(n_visible, n_mean), requires_grad=False)
        self.scale = nn.Parameter(torch.zeros(n_gate), requires_grad=False)
        self.c = nn.Parameter(torch.zeros(n_mean + n_gate), requires_grad=False)

    n_visible = property(lambda self: self.m.shape[0])
    n_hidden = property(lambda self: len(self.c))

    def visible_own(self, v):
        return -0.5 * v.square().sum(1)

    def hidden_own(self, h):
        return h @ self.c

    def hidden_natural(self, v):
        return (torch.cat([v @ self.m, -0.5 * v.square().sum(1, keepdim=True) * self.scale], 1) + self.c,)

    def visible_natural(self, h):
        means, gates = h.split([self.m.shape[1], len(self.scale)], 1)
        return means @ self.m.T, (1 + gates @ self.scale)[:, None].expand(-1, self.n_visible)

    def begin(self, data, seed):
        self.m.normal_(0, 0.1, generator=torch.Generator().manual_seed(seed))
        self.scale.fill_(0.1)

    def constrain(self, rule):
        self.scale.clamp_(min=0.0)


def spins(visible=6, hidden=5, size=0.5, seed=0):
    return randomised(SpinRBM(visible, hidden), size, seed)


def gates(seed=0):
    machine = randomised(GatedPrecision(2, 2, 3), 1.0, seed)
    machine.scale.abs_()
    return machine


def randomised(machine, size, seed):
    source = torch.Generator().manual_seed(seed)
    for value in machine.parameters():
        value.copy_(size * torch.randn(value.shape, generator=source))
    return machine


def every(values, units):
    return torch.tensor(list(itertools.product(values, repeat=units)), dtype=torch.float64)


def plain_log_z(machine):
    """log of the sum of exp(b.v + c.h + v.W h) over all spins, term by term."""
    W, b, c = machine.W.tolist(), machine.b.tolist(), machine.c.tolist()
    terms = []
    for v in itertools.product((-1, 1), repeat=len(b)):
        for h in itertools.product((-1, 1), repeat=len(c)):
            coupled = sum(v[i] * W[i][j] * h[j] for i in range(len(b)) for j in range(len(c)))
            terms.append(sum(x * s for x, s in zip(b, v, strict=True)) + sum(x * s for x, s in zip(c, h, strict=True))
                         + coupled)  # fmt: skip
    top = max(terms)
    return top + math.log(math.fsum(math.exp(term - top) for term in terms))


def ising_data(n=400):
    """Four spins in two pairs that agree nine times in ten."""
    source = torch.Generator().manual_seed(3)
    pairs = 2 * (torch.rand(n, 2, generator=source) < 0.5).float() - 1
    flip = 1 - 2 * (torch.rand(n, 4, generator=source) < 0.1).float()
    return pairs[:, [0, 0, 1, 1]] * flip


def precisions(seed=0):
    """Two directions in a band, mean units of which one touches both, over pixels that are not white."""
    machine = randomised(PrecisionRBM(2, 2, torch.tensor([0, 0]), 1, 2), 0.6, seed)
    machine.precisions.abs_()
    machine.mean.copy_(torch.tensor([0.3, -0.2]))
    machine.whiten.copy_(torch.tensor([[0.9, 0.4], [-0.3, 1.2]]))
    return machine


MACHINES = {
    "spins": spins,
    "mean and precision units": precisions,
    "gated precision": gates,
    "binary": lambda: randomised(BernoulliRBM(4, 3), 1.0, 0),
    "gaussian": lambda: randomised(GaussianBernoulliRBM(2, 3), 0.6, 0),
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_four_things_that_a_machine_says_of_itself_agree(name):
    """-E = visible_own + eta_h . t(h) = hidden_own + eta_v . t(v), and the free energies are sums of exp(-E)."""
    machine = MACHINES[name]().double()
    hs = machine.hidden.states(torch.arange(2**machine.n_hidden), machine.n_hidden)
    vs = machine.draw_visible(hs, Generated(torch.Generator().manual_seed(0)))
    other = machine.hidden_own(hs) + machine.visible.dot(machine.visible_natural(hs), machine.coordinates(vs))
    assert torch.allclose(-machine.energy(vs, hs), other)
    grid = torch.stack([-machine.energy(vs, h.expand(len(vs), -1)) for h in hs], 1)
    assert torch.allclose(-machine.free_energy(vs), torch.logsumexp(grid, 1))
    assert torch.allclose(machine.log_mass(vs), torch.logsumexp(grid, 1))
    assert torch.allclose(machine.hidden_mean(vs), torch.softmax(grid, 1) @ hs)


@pytest.mark.parametrize("name", ["gated precision", "gaussian", "mean and precision units"])
def test_of_real_units_the_free_energy_of_h_is_an_integral(name):
    machine = MACHINES[name]().double()
    line = torch.linspace(-20, 20, 801, dtype=torch.float64)
    vs = torch.cartesian_prod(line, line)
    for h in machine.hidden.states(torch.arange(2**machine.n_hidden), machine.n_hidden)[::3]:
        log_integral = torch.logsumexp(-machine.energy(vs, h.expand(len(vs), -1)), 0) + 2 * math.log(
            float(line[1] - line[0])
        )
        assert torch.allclose(-machine.free_energy_hidden(h[None])[0], log_integral, atol=1e-6)


def test_spins_are_enumerated_from_either_side():
    for shape in ((4, 6), (6, 4)):
        machine = spins(*shape)
        assert log_z_exact(machine) == pytest.approx(plain_log_z(machine), abs=1e-9)


def test_samples_of_spins_have_their_distribution():
    machine, n = spins(4, 7, 0.8), 3000
    vs = every((-1, 1), 4)
    p = torch.softmax(-machine.double().free_energy(vs), 0)
    place = 2 ** torch.arange(3, -1, -1)
    counts = torch.bincount((((exact_samples(machine, range(n), 0) + 1) / 2).long() * place).sum(1), minlength=16)
    assert float(((counts - n * p) ** 2 / (n * p)).sum()) < 15 + 4.5 * math.sqrt(30)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("exactly", [True, False])
def test_any_machine_s_log_z_is_bracketed(name, exactly, monkeypatch):
    """With exact samples of the model, and with those of parallel tempering; from the base alone with fewer."""
    machine = MACHINES[name]()
    monkeypatch.setattr("foveate.boltzmann.log_z.schedules.PILOT_STEPS", 300)
    if not exactly:
        monkeypatch.setattr("foveate.boltzmann.log_z.model_samples.enumerable", lambda machine: False)
        monkeypatch.setattr("foveate.boltzmann.log_z.bracket.MIN_SWEEPS", 600)
    states = machine.hidden.states(torch.arange(2**machine.n_hidden), machine.n_hidden).float()
    data = machine.sample_visible(states, torch.Generator().manual_seed(0))
    found = bracket_log_z(machine, data, chains=50, temperatures=300)
    assert found.exact == pytest.approx(log_z_exact(machine), abs=1e-6)
    assert found.lower - 1e-3 <= found.exact <= found.upper + 1e-3
    assert found.upper - found.lower < 0.5 and found.doubts == []
    if exactly:
        alone = forward_log_z(machine, data, temperatures=500)
        assert abs(alone.log_z - found.exact) < 4 * alone.stderr + 1e-3


@pytest.mark.parametrize("method", sorted(METHODS))
def test_spins_learn_to_their_exact_maximum_likelihood(method):
    """Within 0.01 nats of two pairs of spins that agree nine times in ten: log 4 + the entropy of the flips a pair."""
    data, machine = ising_data(), SpinRBM(4, 2)
    together = data[:, 0] * data[:, 1], data[:, 2] * data[:, 3]
    agree = [float((pair > 0).double().mean()) for pair in together]
    best = -2 * math.log(2) + sum(q * math.log(q) + (1 - q) * math.log(1 - q) for q in agree)

    def likelihood():
        return float(-machine.free_energy(data).double().mean()) - log_z_exact(machine)

    rule = Rule(rate=0.2, sweeps=10 if method == "cd" else 1, fast_rate=0.02, average=0.99)
    machine.begin(data, 0)
    before = likelihood()
    train_rbm(machine, data, method, epochs=400, rule=rule, batch_size=400, chains=1000, cool_from=0.3)
    assert before < best - 0.3 and abs(likelihood() - best) < 0.03


def test_gates_learn_a_scale_that_no_gaussian_has_by_the_face_s_default_forms():
    """v is narrow or wide as a whole: the machine's exact likelihood rises well above the best Gaussian's."""
    source = torch.Generator().manual_seed(1)
    wide = torch.where(torch.rand(2000, 1, generator=source) < 0.3, 1.0, 0.3)
    data = wide * torch.randn(2000, 2, generator=source)
    machine = GatedPrecision(2, 1, 2)
    train_rbm(machine, data, "pcd", epochs=150, rule=Rule(rate=0.1, average=0.99), batch_size=500, chains=1000)
    gaussian = -1 - math.log(2 * math.pi) - math.log(float(data.square().mean()))
    reached = float(-machine.free_energy(data).double().mean()) - log_z_exact(machine)
    assert reached > gaussian + 0.1 and (machine.scale >= 0).all()


@pytest.mark.parametrize("name", MACHINES)
def test_the_plain_slope_is_finite_differences_of_the_energy(name):
    machine = MACHINES[name]().double()
    hs = machine.hidden.states(torch.arange(8), machine.n_hidden)
    v, w = (machine.draw_visible(hs, Generated(torch.Generator().manual_seed(seed))) for seed in (0, 1))
    samples = Samples(v, machine.hidden_mean(v), w, machine.hidden_mean(w), hs, hs, 8, 8)

    def difference():
        return float((machine.energy(w, samples.h_model) - machine.energy(v, samples.h_data)).mean())

    for (name, value), slope in zip(machine.named_parameters(), slopes(machine, samples), strict=True):
        for index in itertools.product(*(range(n) for n in value.shape)):
            ends = []
            for step in (1e-5, -1e-5):
                value[index] += step
                ends.append(difference())
                value[index] -= step
            assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(slope[index]), rel=1e-5, abs=1e-7), (name, index)


class _Plain(Ascent):
    """The default, where a machine has one of its own."""


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_centred_step_of_a_binary_machine_is_the_plain_one(momentum):
    """Three steps from the same draws; without centring both climb the same gradient."""
    data = (torch.rand(64, 4, generator=torch.Generator().manual_seed(2)) < 0.4).float()
    rule = Rule(rate=0.1, centre=0.0, average=0.5, momentum=momentum)
    machine = MACHINES["binary"]()
    compiled, plain = init(machine, data, 20, 0), init(machine, data, 20, 0)
    plain.machine.ascent = _Plain()
    for _ in range(3):
        compiled, one = persistent(compiled, data, rule)
        plain, other = persistent(plain, data, rule)
        assert one.hidden_data == pytest.approx(other.hidden_data, abs=1e-6) and one.motion == pytest.approx(
            other.motion
        )
    for part in ("machine", "average"):
        for a, b in zip(getattr(compiled, part).parameters(), getattr(plain, part).parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def test_what_a_machine_can_t_take_is_named():
    with pytest.raises(BadInput, match="spins are from -1 to 1"):
        bracket_log_z(spins(), torch.full((3, 6), 2.0))
    with pytest.raises(BadInput, match=r"expected \[N, 6\]"):
        bracket_log_z(spins(), torch.zeros(3, 5))
