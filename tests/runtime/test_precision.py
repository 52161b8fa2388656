"""Looks in bfloat16 are those in float32 to a few thousandths, and densities never are in bfloat16."""

import copy

import pytest
import torch

from foveate.attention.shiftnet import ShiftNet, canonical_image
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput
from foveate.runtime import precision
from foveate.runtime.precision import Recast, look_dtype

CPU = torch.device("cpu")


def network() -> ShiftNet:
    net = ShiftNet()
    net.reset(torch.Generator().manual_seed(0))
    torch.nn.init.normal_(net.shift.weight, 0, 0.02, generator=torch.Generator().manual_seed(1))
    return net.channels_last()


def images(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    return torch.rand(n, 3, 72, 72, generator=rng), torch.randn(n, 3, 24, 24, generator=rng)


def both(monkeypatch, call):
    """What `call` gives in float32 and in bfloat16."""
    results = []
    for name in ("float32", "bfloat16"):
        monkeypatch.setenv("FOVEATE_PRECISION", name)
        assert look_dtype(CPU) == getattr(torch, name)
        results.append(call())
    return results


def test_a_look_in_bfloat16_is_within_a_hundredth_of_its_step(monkeypatch):
    net, (context, v) = network(), images(32)
    whole, half = both(monkeypatch, lambda: net(context, v).detach())
    assert half.dtype == torch.float32
    assert not torch.equal(whole, half)
    assert (whole - half).std() < 0.01 * whole.std()


def test_gradients_in_bfloat16_point_the_same_way(monkeypatch):
    net, (context, v) = network(), images(32)

    def gradient() -> torch.Tensor:
        found = torch.autograd.grad(net(context, v).square().mean(), list(net.parameters()))
        assert all(g.dtype == torch.float32 for g in found)
        return torch.cat([g.flatten() for g in found])

    whole, half = both(monkeypatch, gradient)
    assert torch.nn.functional.cosine_similarity(whole, half, dim=0) > 0.999


def test_canonical_images_in_bfloat16_differ_by_less_than_pixels_are_coded(monkeypatch):
    gdbn = GaussianDBN(1728, 50, 10)
    gdbn.grbm.W.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(3))
    glimpse = torch.rand(16, 3, 24, 24, generator=torch.Generator().manual_seed(4))
    whole, half = both(monkeypatch, lambda: canonical_image(gdbn)(glimpse))
    assert (whole - half).abs().max() < 1 / 255 / 0.25  # standardised pixels: 0.25 is a usual deviation


def test_a_network_that_has_changed_is_not_looked_through_with_old_weights(monkeypatch):
    monkeypatch.setenv("FOVEATE_PRECISION", "bfloat16")
    net, (context, v) = network().requires_grad_(False), images(4)
    before = net(context, v)
    assert torch.equal(net(context, v), before)
    with torch.inference_mode():
        assert torch.equal(net(context, v), before)
    net.combine.weight.mul_(2)
    fresh = ShiftNet()
    fresh.load_state_dict(net.state_dict())
    fresh = fresh.channels_last()
    assert torch.allclose(net(context, v), fresh(context, v).detach(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(net(context, v), before, rtol=1e-2)
    assert torch.equal(copy.deepcopy(net)(context, v), net(context, v))


def test_recast_keeps_nothing_where_gradients_are_asked_for():
    weight, recast = torch.ones(3, requires_grad=True), Recast()
    (gradient,) = torch.autograd.grad(recast(weight, torch.bfloat16).sum(), weight)
    assert torch.equal(gradient, torch.ones(3))
    assert recast(weight, torch.float32) is weight


def test_a_precision_that_there_is_not_is_one_line(monkeypatch):
    monkeypatch.setenv("FOVEATE_PRECISION", "float12")
    with pytest.raises(BadInput, match="FOVEATE_PRECISION=float12"):
        look_dtype(CPU)


@pytest.mark.parametrize(
    ("has", "maker", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "GenuineIntel", torch.bfloat16),
        ({"avx512_bf16": True}, "AuthenticAMD", torch.bfloat16),
        ({"avx512_bf16": True}, "GenuineIntel", torch.float32),  # whose dot products of pairs are no faster
        ({"avx2": True}, "AuthenticAMD", torch.float32),
    ],
)
def test_looks_are_in_bfloat16_where_the_processor_is_faster_at_it(monkeypatch, has, maker, expected):
    monkeypatch.delenv("FOVEATE_PRECISION", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    monkeypatch.setattr(precision, "_processor", lambda: f"vendor_id\t: {maker}")
    precision._fast.cache_clear()
    assert look_dtype(CPU) == expected
    precision._fast.cache_clear()
