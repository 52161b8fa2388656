"""The Gaussian deep belief network: its joint, its samples, its file."""

import itertools
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.training.greedy import health
from foveate.errors import BadInput

NAMES = {
    "grbm.W": (6, 4), "grbm.b": (6,), "grbm.c": (4,), "grbm.log_sigma": (6,), "rbm.W": (4, 3), "rbm.b": (4,),
    "rbm.c": (3,), "patch.mean": (3,), "patch.std": (3,),
}  # fmt: skip


def a_model(seed: int = 0, scale: float = 0.5) -> GaussianDBN:
    model, source = GaussianDBN(6, 4, 3), torch.Generator().manual_seed(seed)
    for value in model.parameters():
        value.data.copy_(scale * torch.randn(value.shape, generator=source))
    model.patch.mean.copy_(torch.tensor([0.4, 0.5, 0.6]))
    model.patch.std.copy_(torch.tensor([0.1, 0.2, 0.3]))
    return model


def test_the_file_has_exactly_the_names_of_the_interface_and_comes_back_the_same(tmp_path):
    model = a_model()
    model.save(tmp_path / "gdbn.safetensors")
    tensors = load_file(tmp_path / "gdbn.safetensors")
    assert {name: tuple(value.shape) for name, value in tensors.items()} == NAMES
    assert all(value.dtype == torch.float32 for value in tensors.values())
    again = GaussianDBN.load(tmp_path / "gdbn.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert [path.name for path in tmp_path.iterdir()] == ["gdbn.safetensors"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rbm.W", None, "no tensor rbm.W"),
        ("rbm.W", torch.zeros(5, 3), "H1 is 4"),
        ("grbm.b", torch.zeros(6, 1), r"expected \[D\]"),
        ("grbm.log_sigma", torch.full((6,), float("nan")), "not finite"),
        ("patch.std", torch.tensor([1.0, 0.0, 1.0]), "positive"),
        ("patch.mean", torch.zeros(4), "is 3 elsewhere"),
        ("grbm.c", torch.zeros(4, dtype=torch.int64), "expected float32"),
    ],
)
def test_a_file_with_a_wrong_tensor_is_refused_in_one_line_that_names_it(tmp_path, name, value, message):
    tensors = {key: kept.clone() for key, kept in a_model().state_dict().items()}
    del tensors[name]
    if value is not None:
        tensors[name] = value
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(BadInput, match=message) as caught:
        GaussianDBN.load(tmp_path / "bad.safetensors")
    assert "bad.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def test_standardising_and_back_are_inverse_channel_by_channel():
    model, pixels = a_model(), torch.rand(7, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    v = model.standardise(pixels)
    assert v.shape == (7, 1728) and model.standardise(pixels[:0]).shape == (0, 1728)
    expected = (pixels[2, 1, 5, 7] - model.patch.mean[1]) / model.patch.std[1]
    assert float(v[2, 576 + 5 * 24 + 7]) == pytest.approx(float(expected), rel=1e-5)
    assert torch.allclose(model.to_pixels(v).reshape(pixels.shape), pixels, atol=1e-6)


def test_log_joint_is_the_directed_model_summed_over_h2():
    model = a_model().double()
    h1 = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64)
    h2 = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    v = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).expand(16, 6)
    top = torch.stack([torch.logsumexp(-model.rbm.energy(one.expand(8, 4), h2), 0) for one in h1])
    mu, sigma = model.grbm.visible_mean(h1), model.grbm.sigma
    bottom = torch.distributions.Normal(mu, sigma).log_prob(v).sum(1)
    assert torch.allclose(model.log_joint(v, h1), top + bottom)


def test_samples_are_the_joints_mean_and_variance():
    """20,000 chains of 100 sweeps against sums over all h1; bounds of 5 standard errors."""
    n, model = 20_000, a_model()
    h1 = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)))
    p = torch.softmax(-model.rbm.free_energy(h1), 0)
    mu = model.grbm.visible_mean(h1)
    mean = p @ mu
    variance = p @ (mu - mean).square() + model.grbm.sigma.square()
    samples = model.sample(n, torch.Generator().manual_seed(3), 100, noise=True)
    assert ((samples.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
    assert ((samples.var(0) / variance - 1).abs() < 5 * math.sqrt(3 / n)).all()
    bare = model.sample(n, torch.Generator().manual_seed(3), 100)
    assert ((bare.var(0) + model.grbm.sigma.square()) / variance - 1).abs().max() < 0.1


def test_the_same_generator_gives_the_same_samples():
    model = a_model()
    first, second = (model.sample(5, torch.Generator().manual_seed(4), 10) for _ in range(2))
    assert torch.equal(first, second)


def test_reconstruction_is_one_mean_field_pass():
    model, v = a_model(), torch.randn(3, 6, generator=torch.Generator().manual_seed(5))
    h = torch.sigmoid(model.grbm.c + (v / model.grbm.sigma.square()) @ model.grbm.W)
    assert torch.allclose(model.reconstruct(v), model.grbm.b + h @ model.grbm.W.T, atol=1e-6)


def test_health_counts_stuck_units_and_collapsed_samples():
    model = a_model()
    model.grbm.c.data.copy_(torch.tensor([50.0, -50.0, 0.0, 0.0]))
    model.grbm.log_sigma.data[:3] = -2.0
    v = torch.randn(50, 6, generator=torch.Generator().manual_seed(6)) * 0.1
    figures = health(model.grbm, v, v + 1, log_sigma_floor=-2.0)
    assert (figures["always_on"], figures["always_off"], figures["sigma_at_floor"]) == (0.25, 0.25, 0.5)
    gap = model.grbm.free_energy(v + 1).mean() - model.grbm.free_energy(v).mean()
    assert figures["free_energy_gap"] == pytest.approx(float(gap), rel=1e-4)
