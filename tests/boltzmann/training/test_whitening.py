"""Claims about the whitened space and the GRBM that starts there."""

import itertools
import math

import numpy as np
import pytest
import torch

from foveate.boltzmann.training.whitening import fit_whitening, held_out, share_out, start_from_marginals
from foveate.errors import BadInput

pytest.importorskip("sklearn")


def correlated(rows, seed=0, dim=6):
    """Heavy-tailed, correlated vectors: mixtures of scales, mixed by a fixed matrix."""
    rng = np.random.default_rng(seed)
    wide = np.where(rng.random((rows, dim)) < 0.15, 3.0, 0.5)
    mix = np.random.default_rng(99).normal(size=(dim, dim))
    return torch.from_numpy((wide * rng.normal(size=(rows, dim))) @ mix + 0.3).float()


def exact_log_density(machine, x):
    """By a sum over all hidden states, written out here."""
    h = torch.tensor(list(itertools.product((0.0, 1.0), repeat=machine.n_hidden)), dtype=torch.float64)
    W, b, c = machine.W.double(), machine.b.double(), machine.c.double()
    sigma = machine.log_sigma.double().exp()
    mu = b + h @ W.T
    log_weight = h @ c + ((mu**2 - b**2) / (2 * sigma**2)).sum(1)
    log_weight = log_weight - torch.logsumexp(log_weight, 0)
    z = (x.double()[:, None] - mu) / sigma
    log_normal = -0.5 * (z**2).sum(2) - sigma.log().sum() - 0.5 * x.shape[1] * math.log(2 * math.pi)
    return torch.logsumexp(log_weight + log_normal, 1)


def test_the_map_has_the_determinant_it_says_and_an_inverse():
    v = correlated(500)
    whitening = fit_whitening(v)
    assert math.isclose(whitening.log_det, float(torch.linalg.slogdet(whitening.matrix.double())[1]), abs_tol=1e-3)
    assert torch.allclose(whitening.inverse(whitening(v)), v, atol=1e-3)
    covariance = torch.cov(whitening(v).T)
    assert (covariance - covariance.diag().diag()).abs().max() < 1e-4
    # Shrinkage widens the smallest of the covariance's axes, so its coordinate comes out narrower.
    assert ((covariance.diag()[:4] - 1).abs() < 0.1).all() and (covariance.diag() < 1.1).all()


def test_without_weights_the_machine_is_the_full_covariance_gaussian():
    from sklearn.covariance import LedoitWolf

    fit, test = correlated(400), correlated(200, seed=1)
    whitening = fit_whitening(fit)
    x = whitening(test)
    log_normal = -0.5 * (x.double() ** 2).sum(1) - 3 * math.log(2 * math.pi) + whitening.log_det
    assert math.isclose(float(log_normal.mean()), LedoitWolf().fit(fit.double().numpy()).score(test), abs_tol=1e-3)


def test_marginals_of_heavy_tails_beat_the_gaussian_on_new_data():
    fit, test = correlated(3000), correlated(2000, seed=1)
    whitening = fit_whitening(fit)
    machine = start_from_marginals(held_out(fit, torch.arange(len(fit))), 12, seed=0)
    x = whitening(test)
    gaussian = -0.5 * (x.double() ** 2).sum(1) - 3 * math.log(2 * math.pi)
    assert float((exact_log_density(machine, x) - gaussian).mean()) > 0.1


def test_spare_units_do_next_to_nothing():
    x = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    few, many = (start_from_marginals(x, units, seed=0) for units in (1, 10))
    difference = exact_log_density(many, x[:50]) - exact_log_density(few, x[:50])
    assert difference.abs().mean() < 0.15, "Gaussian coordinates are worth no units, and random weights are small"


def test_held_out_coordinates_are_wider_than_those_the_covariance_saw():
    v = correlated(60, dim=40)
    own, new = fit_whitening(v)(v), held_out(v, torch.arange(60))
    assert new.var() > own.var()


def test_units_go_where_they_are_worth_most():
    gain = np.array([[0.0, 0.1, 0.5, 0.5], [0.0, 0.3, 0.35, 0.36], [0.0, 0.001, 0.002, 0.003]])
    assert share_out(gain, 3).tolist() == [2, 1, 0]
    assert share_out(gain, 1).sum() <= 1
    assert share_out(gain, 100)[2] == 0, "less than the least worth"


def test_one_patch_cannot_be_whitened():
    with pytest.raises(BadInput, match="at least two"):
        fit_whitening(torch.zeros(1, 4))
