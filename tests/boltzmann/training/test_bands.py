"""A start with precision units: scales that no Gaussian has, combs that show the object, the same at every scale."""

import math

import numpy as np
import pytest
import torch

from foveate.boltzmann.training.bands import fit_band, lay_means, start_from_bands

DIM = 24


def scaled(rows, seed=0):
    """Vectors with falling variances, turned by a fixed matrix, whose last three quarters share a random scale."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, DIM)) * np.arange(1, DIM + 1) ** -1.0
    z[:, DIM // 4 :] *= np.exp(0.7 * rng.normal(size=(rows, 1)))
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(DIM, DIM)))[0]
    return torch.from_numpy(z @ turn + 0.5).float()


def started(v, n_mean=30, bands=2, gates=3):
    return start_from_bands([v[fold::4] for fold in range(4)], n_mean, bands, gates)


def density(machine, v):
    return machine.exactly().log_mass(v.double()) - machine.log_z_closed()


def test_a_start_is_far_above_the_gaussian_on_new_vectors():
    """The scale is worth about .3 nats a direction that shares it; 0.05 nats is five standard errors of 4,000."""
    v, new = scaled(4000), scaled(4000, seed=1)
    covariance = torch.distributions.MultivariateNormal(v.double().mean(0), torch.cov(v.double().T))
    gain = density(started(v), new) - covariance.log_prob(new.double())
    assert float(gain.mean()) > 1.5 and float(gain.mean()) > 20 * float(gain.std()) / math.sqrt(len(gain))


def test_a_band_s_likelihood_is_the_density_of_its_energy():
    """Of directions that are Gaussian nothing is gained, and of a mixture of two scales its own density is reached."""
    source, n = torch.Generator().manual_seed(0), 30
    x = torch.randn(20000, n, generator=source, dtype=torch.float64)
    flat = fit_band(x.square().sum(1), n, 3)
    gaussian = -0.5 * n * (1 + math.log(2 * math.pi))
    assert abs(flat.nats - gaussian) < 0.05
    wide = torch.where(torch.rand(20000, 1, generator=source) < 0.3, 2.0, 0.5).double()
    r = (wide * x).square().sum(1)
    each = [math.log(p) - 0.5 * r / s**2 - n * math.log(s) for s, p in ((2, 0.3), (0.5, 0.7))]
    best = float(torch.logaddexp(*each).mean()) - 0.5 * n * math.log(2 * math.pi)
    assert best - 0.05 < fit_band(r, n, 1).nats < best + 0.05


def test_the_gradient_of_the_exact_likelihood_vanishes_where_the_fit_ends():
    """By finite differences of the mean log density, in log lambda, log sigma and c."""
    v = scaled(3000)
    machine = started(v, gates=2).exactly()

    def mean_density():
        return float(density(machine, v_held).mean())

    # What the start fitted: coordinates of each fold by the others; here those of the whole, nearly the same.
    v_held = v
    for name in ("precisions", "precision_c"):
        value = getattr(machine, name)
        for index in np.ndindex(*value.shape):
            at, step = value[index].clone(), 1e-3 * max(1.0, abs(float(value[index])))
            ends = []
            for sign in (1, -1):
                value[index] = at + sign * step
                ends.append(mean_density())
            value[index] = at
            assert abs(ends[0] - ends[1]) / 2 / step < 0.1, (name, index)


def test_mean_units_explain_most_of_the_variance_and_more_of_them_explain_more():
    v, new = scaled(2000), scaled(500, seed=1)
    shares = []
    for n_mean in (10, 40):
        machine = started(v, n_mean)
        assert machine.n_mean <= n_mean
        left = (new - machine.visible_mean(machine.hidden_mean(new))).square().sum()
        shares.append(1 - float(left / (new - new.mean(0)).square().sum()))
    assert 0.6 < shares[0] < shares[1] - 0.1


def test_combs_share_out_no_more_than_the_units_there_are():
    x = torch.randn(4000, 12, generator=torch.Generator().manual_seed(0))
    for units in (1, 5, 20, 60):
        sigma, combs = lay_means(x, np.arange(1, 13) ** -1.0, units)
        assert sum(len(comb.weights) for comb in combs) <= units and len(sigma) == len(combs)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1e2, 1e4])
def test_data_on_another_scale_have_the_density_of_the_jacobian(scale):
    v, new = scaled(1000), scaled(200, seed=1)
    one, other = density(started(v), new), density(started(scale * v), scale * new)
    assert float((other + DIM * math.log(scale) - one).abs().mean()) < 0.05  # rounding ends the fit elsewhere
