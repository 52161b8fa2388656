"""Simple densities beside a bound: each against a formula of its own."""

import math

import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from foveate.boltzmann.baselines import COMPONENTS, mean_nats
from foveate.errors import BadInput


def correlated(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn((12, 12), generator=torch.Generator().manual_seed(9)) * torch.linspace(2, 0.1, 12)
    return torch.randn((n, 12), generator=generator) @ mixing.T + 1.0


def test_each_baseline_is_the_mean_log_density_of_its_gaussian():
    fit, patches = correlated(400), correlated(300, seed=1)
    found = mean_nats(fit, patches)
    x, y = fit.double(), patches.double()
    diagonal = torch.distributions.Normal(x.mean(0), x.std(0, correction=0)).log_prob(y).sum(1).mean()
    assert found["diagonal"] == pytest.approx(float(diagonal), abs=1e-6)
    shrunk = torch.from_numpy(LedoitWolf().fit(x.numpy()).covariance_)
    full = torch.distributions.MultivariateNormal(x.mean(0), shrunk).log_prob(y).mean()
    assert found["ledoit_wolf"] == pytest.approx(float(full), abs=1e-6)
    ours = [PCA(n, svd_solver="full").fit(x.numpy()).score(y.numpy()) for n in COMPONENTS if n < 12]
    assert min(abs(found["ppca"] - each) for each in ours) < 1e-6
    assert found["ppca"] > max(ours) - 1.0
    assert found["diagonal"] < found["factor_analysis"] < 0


def test_constant_pixels_and_few_patches_give_finite_nats():
    fit = correlated(6)
    fit[:, 3] = 0.5
    assert all(math.isfinite(value) for value in mean_nats(fit, fit).values())


def test_too_few_patches_or_another_dimension_are_refused():
    with pytest.raises(BadInput, match="expected \\[5 or more, 12\\]"):
        mean_nats(correlated(4), correlated(10))
    with pytest.raises(BadInput, match="12"):
        mean_nats(torch.zeros(10, 3), correlated(10))
