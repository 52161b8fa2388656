"""Simple densities beside a bound: each against a formula of its own."""

import math

import pytest
import torch
from scipy.stats import multivariate_t
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from foveate.boltzmann.baselines import COMPONENTS, log_densities
from foveate.boltzmann.training.whitening import Layout
from foveate.errors import BadInput


def correlated(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn((12, 12), generator=torch.Generator().manual_seed(9)) * torch.linspace(2, 0.1, 12)
    return torch.randn((n, 12), generator=generator) @ mixing.T + 1.0


def folds_of(v):
    return [v[fold::5] for fold in range(5)]


def test_each_gaussian_is_the_log_density_of_its_own():
    fit, patches = correlated(400), correlated(300, seed=1)
    folds = folds_of(fit)
    found = log_densities(folds, patches)
    x, y = fit.double(), patches.double()
    diagonal = torch.distributions.Normal(x.mean(0), x.std(0, correction=0)).log_prob(y).sum(1)
    assert torch.allclose(found["diagonal"], diagonal)
    shrunk = torch.from_numpy(LedoitWolf().fit(torch.cat(folds).double().numpy()).covariance_)
    full = torch.distributions.MultivariateNormal(x.mean(0), shrunk).log_prob(y)
    assert torch.allclose(found["ledoit_wolf"], full, atol=1e-6)
    ours = [PCA(n, svd_solver="full").fit(x.numpy()).score(y.numpy()) for n in COMPONENTS if n < 12]
    ppca = float(found["ppca"].mean())
    assert min(abs(ppca - each) for each in ours) < 1e-6 and ppca > max(ours) - 1.0
    assert found["diagonal"].mean() < found["factor_analysis"].mean() < 0
    # With many more patches than dimensions, held-out variances are the covariance's own: 0.1 nats of 12 dimensions.
    likeliest = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T)).log_prob(y)
    assert abs(float(found["held_out"].mean() - likeliest.mean())) < 0.1


def test_the_t_is_the_density_of_vectors_with_a_scale_each_and_the_mixture_lies_near_it():
    """4,000 draws of a t of 4 degrees: the fitted one within 0.05 nats of the true one, the Gaussian 0.5 below."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(5000, 12, generator=generator, dtype=torch.float64)
    chi = torch.randn(5000, 4, generator=generator, dtype=torch.float64).square().sum(1)
    v = (normal * (4 / chi).sqrt()[:, None]).float()
    found = log_densities(folds_of(v[:4000]), v[4000:])
    true = torch.from_numpy(multivariate_t(torch.zeros(12).numpy(), 1.0, 4).logpdf(v[4000:].numpy()))
    assert float((true - found["student_t"]).mean()) < 0.05
    assert float((found["student_t"] - found["held_out"]).mean()) > 0.5
    assert float((true - found["mixture"]).mean()) < 0.3


def test_of_gaussian_vectors_neither_t_nor_mixture_is_worse_than_the_gaussian():
    found = log_densities(folds_of(correlated(2000)), correlated(500, seed=1))
    for name in ("student_t", "mixture"):
        assert float((found[name] - found["held_out"]).mean()) > -0.15, name


def test_mirror_images_are_as_likely_where_the_layout_says_so():
    v = correlated(400)
    mirrored = v.unflatten(1, (3, 2, 2)).flip(-1).flatten(1)
    layout = Layout(3, 2, 2, mirror=True)
    one, other = (log_densities(folds_of(v), some, layout)["held_out"] for some in (v, mirrored))
    assert torch.allclose(one, other, atol=1e-2)


def test_constant_pixels_and_few_patches_give_finite_nats():
    fit = correlated(6)
    fit[:, 3] = 0.5
    assert all(math.isfinite(float(nats.mean())) for nats in log_densities(folds_of(fit), fit).values())


def test_too_few_patches_or_another_dimension_are_refused():
    with pytest.raises(BadInput, match="expected \\[5 or more, 12\\]"):
        log_densities(folds_of(correlated(4)), correlated(10))
    with pytest.raises(BadInput, match="12"):
        log_densities(folds_of(torch.zeros(10, 3)), correlated(10))
