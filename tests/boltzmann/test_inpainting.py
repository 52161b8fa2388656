"""Missing visible units drawn given the others: moments against sums over all hidden states, for every machine."""

import pytest
import torch

from foveate.boltzmann import BernoulliRBM, GaussianBernoulliRBM, GaussianDBN
from foveate.boltzmann.precision import PrecisionRBM

MASK = torch.tensor([[True, False, True, True, False]])
ROWS, SWEEPS = 2000, 25


def precision_machine():
    """Two bands of directions in pixels that whitening mixes: unknown pixels depend on known ones given h."""
    made = PrecisionRBM(5, 3, torch.tensor([-1, 0, 0, 1, 1]), 2, 2)
    randomise(made, 0.6)
    made.precisions.abs_()
    made.mean.copy_(torch.randn(5, generator=torch.Generator().manual_seed(1)))
    made.whiten.copy_(torch.eye(5) + 0.4 * torch.randn(5, 5, generator=torch.Generator().manual_seed(2)))
    return made


def randomise(machine, size: float):
    for k, value in enumerate(machine.parameters()):
        value.copy_(size * torch.randn(value.shape, generator=torch.Generator().manual_seed(k)))
    return machine


def network(first):
    return GaussianDBN.of(first, randomise(BernoulliRBM(first.n_hidden, 3), 1.0))


MACHINES = {
    "binary": lambda: randomise(BernoulliRBM(5, 3), 1.0),
    "Gaussian": lambda: randomise(GaussianBernoulliRBM(5, 3), 0.8),
    "precision": precision_machine,
    "network": lambda: network(randomise(GaussianBernoulliRBM(5, 3), 0.8)),
    "network over precisions": lambda: network(precision_machine()),
}


def exact_moments(model, v):
    """E[v_U] and E[v_U v_U^T] given the known units of v, U the masked ones."""
    first = getattr(model, "grbm", model).exactly()
    masked, known = MASK[0], ~MASK[0]
    if isinstance(first, BernoulliRBM):
        filled = v.double().repeat(8, 1)
        filled[:, masked] = first.visible.states(torch.arange(8), 3)
        weight, mean = torch.softmax(-first.free_energy(filled), 0), filled[:, masked]
        second = mean[:, :, None] * mean[:, None]
    else:
        h = first.hidden.states(torch.arange(2**first.n_hidden), first.n_hidden)
        mass = model.rbm.exactly().log_mass(h) if isinstance(model, GaussianDBN) else -first.free_energy_hidden(h)
        whiten = first.whiten if isinstance(first, PrecisionRBM) else torch.eye(5).double()
        covariance = torch.linalg.inv((whiten.T * first.visible_natural(h)[1][:, None]) @ whiten)
        seen, across = covariance[:, known][:, :, known], covariance[:, masked][:, :, known]
        mu, gain = first.visible_mean(h), across @ torch.linalg.inv(seen)
        away = v.double()[0, known] - mu[:, known]
        normal = torch.distributions.MultivariateNormal(torch.zeros(2).double(), seen)
        weight = torch.softmax(mass + normal.log_prob(away), 0)
        mean = mu[:, masked] + (gain @ away[:, :, None])[..., 0]
        second = covariance[:, masked][:, :, masked] - gain @ across.mT + mean[:, :, None] * mean[:, None]
    return weight @ mean, (weight[:, None, None] * second).sum(0)


@pytest.mark.parametrize("kind", list(MACHINES))
def test_missing_units_have_the_moments_of_the_exact_conditional(kind):
    """Within 4.5 standard errors of independent chains; 12 moments."""
    model = MACHINES[kind]()
    v = torch.tensor([[torch.nan, 1.0, torch.nan, torch.nan, 0.0]])
    drawn = model.inpaint(v.expand(ROWS, -1), MASK, torch.Generator().manual_seed(3), SWEEPS)
    assert torch.equal(drawn[:, ~MASK[0]], v.expand(ROWS, -1)[:, ~MASK[0]])
    units = drawn[:, MASK[0]].double()
    for exact, each in zip(exact_moments(model, v), (units, units[:, :, None] * units[:, None]), strict=True):
        error = each.std(0) / ROWS**0.5
        assert ((each.mean(0) - exact).abs() < 4.5 * error + 1e-6).all(), (each.mean(0), exact, error)


def test_the_draws_are_the_generator_s_and_each_row_has_a_mask_of_its_own():
    model, v = precision_machine(), torch.zeros(2, 5)
    mask = torch.stack([MASK[0], ~MASK[0]])
    one, other = (model.inpaint(v, mask, torch.Generator().manual_seed(5), 3) for _ in range(2))
    assert torch.equal(one, other) and (one[~mask] == 0).all() and (one[mask] != 0).all()
