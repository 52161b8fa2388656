"""Claims about the background model and the log-ratio."""

import numpy as np
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf

from foveate.attention.evidence import fit_gaussian, log_ratio
from foveate.attention.shiftnet import canonical_image
from foveate.boltzmann.dbn import GaussianDBN


def small_gdbn():
    gdbn = GaussianDBN(1728, 7, 3)
    rng = torch.Generator().manual_seed(0)
    gdbn.grbm.W.copy_(0.1 * torch.randn(1728, 7, generator=rng))
    gdbn.grbm.b.copy_(0.2 * torch.randn(1728, generator=rng))
    gdbn.grbm.c.copy_(torch.randn(7, generator=rng))
    gdbn.grbm.log_sigma.copy_(-0.3 + 0.1 * torch.randn(1728, generator=rng))
    gdbn.patch.mean.copy_(torch.tensor([0.4, 0.5, 0.3]))
    gdbn.patch.std.copy_(torch.tensor([0.2, 0.25, 0.3]))
    return gdbn


def test_the_shrunk_covariance_is_that_of_ledoit_and_wolf():
    x = np.random.default_rng(0).normal(size=(40, 12)) @ np.random.default_rng(1).normal(size=(12, 12))
    ours = fit_gaussian(torch.from_numpy(x).float())
    precision = (ours.whiten.T @ ours.whiten).double().numpy()
    expected = LedoitWolf().fit(x.astype(np.float32).astype(np.float64)).covariance_
    assert np.allclose(np.linalg.inv(precision), expected, rtol=1e-3, atol=1e-3)


def test_the_log_density_is_that_of_the_multivariate_normal():
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(60, 5))).float()
    ours = fit_gaussian(x)
    covariance = torch.linalg.inv((ours.whiten.T @ ours.whiten).double()).numpy()
    expected = multivariate_normal(ours.mean.numpy(), covariance).logpdf(x.numpy())
    assert np.allclose(ours.log_prob(x).numpy(), expected, atol=1e-3)


def test_windows_all_alike_still_give_a_density():
    ours = fit_gaussian(torch.ones(3, 6))
    assert torch.isfinite(ours.log_prob(torch.zeros(2, 6))).all()


def test_the_log_ratio_is_the_difference_of_both_log_densities():
    gdbn, rng = small_gdbn(), torch.Generator().manual_seed(3)
    glimpse = torch.rand(4, 3, 24, 24, generator=rng)
    v = (glimpse - gdbn.patch.mean.view(3, 1, 1)) / gdbn.patch.std.view(3, 1, 1)
    assert torch.allclose(gdbn.standardise(glimpse), v.flatten(1))
    background = fit_gaussian(torch.randn(20, 1728, generator=rng))
    expected = -gdbn.grbm.free_energy(v.flatten(1)) - 5.0 - background.log_prob(v.flatten(1))
    assert torch.allclose(log_ratio(gdbn, 5.0, background, glimpse), expected, rtol=1e-5)


def test_the_canonical_image_is_the_conditional_mean_of_v(monkeypatch):
    monkeypatch.setenv("FOVEATE_PRECISION", "float32")
    gdbn = small_gdbn()
    glimpse = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(4))
    x = gdbn.standardise(glimpse)
    mean = gdbn.grbm.visible_mean(gdbn.grbm.hidden_mean(x))
    assert torch.allclose(canonical_image(gdbn)(glimpse).flatten(1), (mean + x) / 2, atol=1e-4)
