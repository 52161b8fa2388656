"""Training in one call, with nothing said of rates: a new machine learns, on scikit-learn's digits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import BernoulliRBM as TheirRBM

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.log_z.exact import log_z_exact
from foveate.boltzmann.training.fit import train_rbm
from foveate.errors import BadInput

HIDDEN, FIT = 14, 1400


@pytest.fixture(scope="module")
def digits():
    """1,797 handwritten digits of 8 x 8 pixels from 0 to 16, in a fixed random order."""
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(load_digits().images.reshape(-1, 64)).float()[order]


def nats(machine, rows):
    """Mean log likelihood, log Z summed over the states of the hidden layer."""
    if isinstance(machine, BernoulliRBM):
        return float(-machine.free_energy(rows).mean()) - log_z_exact(machine)
    bits = (torch.arange(2**machine.n_hidden)[:, None] >> torch.arange(machine.n_hidden)) & 1
    log_z = torch.logsumexp(-machine.free_energy_hidden(bits.float()).double(), 0)
    return float(-machine.free_energy(rows).mean() - log_z)


@pytest.mark.parametrize("method", ["cd", "pcd", "fast_pcd"])
def test_a_new_machine_learns_more_than_its_units_apart_and_no_less_than_scikit_learn_s(digits, method):
    """Held out; independent units reach -25 nats, scikit-learn's machine of the same size after as many passes -27."""
    binary = (digits > 7).float()
    fit, held_out = binary[:FIT], binary[FIT:]
    means = (fit.sum(0) + 1) / (FIT + 2)
    apart = float((held_out * means.log() + (1 - held_out) * (1 - means).log()).sum(1).mean())
    theirs = TheirRBM(HIDDEN, n_iter=20, random_state=0).fit(fit.numpy())
    carried = BernoulliRBM(64, HIDDEN)
    for name, value in (("W", theirs.components_.T), ("b", theirs.intercept_visible_), ("c", theirs.intercept_hidden_)):
        getattr(carried, name).data.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    learned = nats(train_rbm(BernoulliRBM(64, HIDDEN), fit, method), held_out)
    assert learned > apart + 2 and learned > nats(carried, held_out)


def test_a_new_gaussian_machine_learns_more_than_its_units_apart(digits):
    """Each pixel standardised, with uniform noise of the width of a grey level, so that none is constant."""
    rows = digits + 2 * torch.rand(digits.shape, generator=torch.Generator().manual_seed(1))
    rows = (rows - rows[:FIT].mean(0)) / rows[:FIT].std(0)
    fit, held_out = rows[:FIT], rows[FIT:]
    apart = float(-0.5 * (held_out.square() + np.log(2 * np.pi)).sum(1).mean())
    assert nats(train_rbm(GaussianBernoulliRBM(64, HIDDEN), fit, "cd"), held_out) > apart + 3


def test_random_weights_depend_on_the_seed_and_on_nothing_that_the_owner_has_set():
    v = (torch.rand(60, 6, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    starts = [train_rbm(BernoulliRBM(6, 4), v, epochs=0, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(starts[0].W, starts[1].W) and not torch.equal(starts[0].W, starts[2].W)
    assert len(torch.unique(starts[0].W)) == 24
    assert torch.allclose(torch.sigmoid(starts[0].b), (v.sum(0) + 1) / 62)
    own = BernoulliRBM(6, 4)
    own.b.data.fill_(0.5)
    assert (train_rbm(own, v, epochs=0).b == 0.5).all() and own.W.any()
    own.W.data.fill_(0.25)
    own.b.data.zero_()
    assert (train_rbm(own, v, epochs=0).W == 0.25).all() and not own.b.any()


def test_numbers_that_no_binary_unit_takes_are_refused(digits):
    machine = BernoulliRBM(64, 4)
    with pytest.raises(BadInput, match="data from 0 to 16: binary units take 0 to 1"):
        train_rbm(machine, digits)
    assert not machine.W.any()


@pytest.mark.parametrize(
    "made",
    [
        np.asarray,
        lambda x: x.astype(bool),
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(">f4"),
        lambda x: x[::-1][::-1],
        torch.from_numpy,
        lambda x: torch.from_numpy(x).bool(),
        lambda x: torch.from_numpy(x).half(),
    ],
)
def test_any_type_of_numbers_is_learned_from_alike(made):
    binary = (np.random.default_rng(0).random((60, 6)) < 0.4).astype(np.float64)
    learned = train_rbm(BernoulliRBM(6, 3), made(binary), epochs=2, seed=1)
    assert torch.equal(learned.W, train_rbm(BernoulliRBM(6, 3), torch.from_numpy(binary).float(), epochs=2, seed=1).W)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.array([["a"] * 6]), "data of type <U1: expected"),
        (np.zeros((3, 6), complex), "data of type complex128: expected"),
        (np.zeros(6), r"data of shape \[6\]: expected \[N, 6\]"),
        (np.full((3, 6), 200, np.uint8), "data from 200 to 200: binary units take 0 to 1"),
        (np.full((3, 6), 1e300), "finite numbers only"),
    ],
)
def test_what_can_t_be_learned_from_is_refused_in_one_line(wrong, said):
    with pytest.raises(BadInput, match=said) as caught:
        train_rbm(BernoulliRBM(6, 3), wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1e-4, 1e-3, 1e4])
def test_a_gaussian_machine_learns_the_same_density_at_any_scale_but_for_the_jacobian(scale):
    source = torch.Generator().manual_seed(0)
    data = torch.randn(400, 5, generator=source) @ torch.randn(5, 5, generator=source) + 1
    reached = []
    for factor in (1.0, scale):
        machine, rows = GaussianBernoulliRBM(5, 6), data.double() * factor
        train_rbm(machine, rows, "pcd", epochs=10, seed=1)
        exact = machine.exactly()
        reached.append(float(-exact.free_energy(rows).mean()) - log_z_exact(machine) + 5 * np.log(factor))
    assert reached[1] == pytest.approx(reached[0], abs=1e-3)
