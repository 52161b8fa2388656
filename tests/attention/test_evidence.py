"""Claims about the background model and the log-ratio."""

import numpy as np
import torch
from scipy.stats import multivariate_normal

from foveate.attention.evidence import Background, log_ratio
from foveate.attention.shiftnet import canonical_image
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.precision import PrecisionRBM


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


def normal(dim: int, seed: int) -> tuple[Background, np.ndarray, np.ndarray]:
    """A Gaussian, its mean and its covariance."""
    rng = np.random.default_rng(seed)
    mean, root = rng.normal(size=dim), rng.normal(size=(dim, dim)) + 2 * np.eye(dim)
    whiten = torch.from_numpy(np.linalg.inv(root)).float()
    return Background.normal(torch.from_numpy(mean).float(), whiten), mean, root @ root.T


def test_without_precision_units_the_density_is_that_of_the_multivariate_normal():
    background, mean, covariance = normal(5, 2)
    x = np.random.default_rng(3).normal(size=(60, 5))
    expected = multivariate_normal(mean, covariance).logpdf(x)
    assert np.allclose(background.log_prob(torch.from_numpy(x).float()).numpy(), expected, atol=1e-3)


def test_with_precision_units_the_density_sums_to_one_and_comes_back_from_its_tensors():
    machine = PrecisionRBM(2, 1, torch.tensor([0, 1]), 2, 2)
    machine.whiten.copy_(torch.tensor([[1.0, 0.4], [-0.2, 0.8]]))
    machine.precisions.copy_(torch.tensor([[0.5, 2.0], [1.0, 3.0]]))
    machine.precision_c.copy_(torch.tensor([[0.3, -0.5], [1.0, 0.2]]))
    background = Background(machine)
    line = torch.linspace(-12, 12, 601)
    grid = torch.cartesian_prod(line, line)
    total = background.log_prob(grid).double().exp().sum() * float(line[1] - line[0]) ** 2
    assert abs(float(total) - 1) < 1e-3
    again = Background.from_tensors(background.tensors())
    assert torch.equal(again.log_prob(grid[:9]), background.log_prob(grid[:9]))


def test_what_an_older_version_kept_is_a_gaussian():
    background, mean, covariance = normal(4, 5)
    older = {name: value for name, value in background.tensors().items() if name.endswith(("mean", "whiten"))}
    x = torch.from_numpy(np.random.default_rng(6).normal(size=(8, 4))).float()
    expected = multivariate_normal(mean, covariance).logpdf(x.numpy())
    assert np.allclose(Background.from_tensors(older).log_prob(x).numpy(), expected, atol=1e-3)


def test_the_log_ratio_is_the_difference_of_both_log_densities():
    gdbn, rng = small_gdbn(), torch.Generator().manual_seed(3)
    glimpse = torch.rand(4, 3, 24, 24, generator=rng)
    v = (glimpse - gdbn.patch.mean.view(3, 1, 1)) / gdbn.patch.std.view(3, 1, 1)
    assert torch.allclose(gdbn.standardise(glimpse), v.flatten(1))
    background = Background.normal(torch.randn(1728, generator=rng), 2 * torch.eye(1728))
    expected = -gdbn.grbm.free_energy(v.flatten(1)) - 5.0 - background.log_prob(v.flatten(1))
    assert torch.allclose(log_ratio(gdbn, 5.0, background, glimpse), expected, rtol=1e-5)


def test_the_canonical_image_is_the_conditional_mean_of_v(monkeypatch):
    monkeypatch.setenv("FOVEATE_PRECISION", "float32")
    gdbn = small_gdbn()
    glimpse = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(4))
    x = gdbn.standardise(glimpse)
    mean = gdbn.grbm.visible_mean(gdbn.grbm.hidden_mean(x))
    assert torch.allclose(canonical_image(gdbn)(glimpse).flatten(1), (mean + x) / 2, atol=1e-4)
