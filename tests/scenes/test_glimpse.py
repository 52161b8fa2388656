"""Claims about pyramids and glimpses."""

import math

import numpy as np
import pytest
import torch
from plain_glimpse import plain_glimpses

from foveate.errors import BadInput
from foveate.scenes import gaze
from foveate.scenes.glimpse import (
    contexts,
    glimpses,
    glimpses_with_jacobian,
    grid,
    share_outside,
)
from foveate.scenes.pyramid import Pyramids


@pytest.fixture(scope="module")
def pyramids():
    rng = np.random.default_rng(0)
    return Pyramids.from_images(
        [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in [(300, 400), (33, 57), (1, 9)]]
    )


def some_gazes(count, seed=0, low=3.0, high=400.0):
    rng = np.random.default_rng(seed)
    s = torch.from_numpy(np.exp(rng.uniform(np.log(low), np.log(high), count)))
    angle, tx, ty = (
        torch.from_numpy(x)
        for x in (rng.uniform(-3, 3, count), rng.uniform(-50, 450, count), rng.uniform(-50, 350, count))
    )
    return torch.from_numpy(rng.integers(0, 3, count)), gaze.from_scale_angle(s, angle, tx, ty)


def test_the_levels_are_box_averages():
    image = np.random.default_rng(1).integers(0, 65536, (16, 8, 3)).astype(np.uint16)
    pyramids = Pyramids.from_images([image])
    assert pyramids.levels[0] == 4
    for k in range(4):
        size = 2**k
        means = image.reshape(16 // size, size, 8 // size, size, 3).mean((1, 3))
        assert np.abs(pyramids.level(0, k) - means).max() <= k  # half a unit of rounding a level
    assert np.allclose(pyramids.fill[0], image.mean((0, 1)) / 65535)


def test_eight_bit_sixteen_bit_and_float_images_are_the_same_image():
    small = np.random.default_rng(2).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    twins = Pyramids.from_images([small, small.astype(np.uint16) * 257, small / 255])
    assert np.array_equal(twins.level(0, 0), twins.level(1, 0)) and np.array_equal(twins.level(0, 0), twins.level(2, 0))


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.full((2, 2, 3), np.nan),
        np.full((2, 2, 3), 255.0),
        np.zeros((2, 2, 3), np.int64),
    ],
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(BadInput):
        Pyramids.from_images([bad])


@pytest.mark.parametrize("pyramid", [True, False])
def test_the_compiled_loop_agrees_with_plain_torch(pyramids, pyramid):
    index, u = some_gazes(96)
    for size, extent in ((24, 1.0), (72, 3.0)):
        ours = glimpses(pyramids, index, u, size, extent, pyramid)
        assert torch.allclose(ours.double(), plain_glimpses(pyramids, index, u, size, extent, pyramid)(u), atol=1e-6)


def test_a_gaze_on_the_pixel_grid_sees_the_pixels_themselves(pyramids):
    u = torch.tensor([[12.0, 0.0, 100.0, 60.0]], dtype=torch.float64)
    seen = glimpses(pyramids, torch.tensor([0]), u)[0]
    assert torch.allclose(seen, torch.from_numpy(pyramids.level(0, 0)[48:72, 88:112] / 65535).permute(2, 0, 1).float())


def test_a_linear_image_is_seen_exactly_at_every_scale_and_angle():
    y, x = np.mgrid[0:256, 0:256] + 0.5
    image = np.stack((x / 256, y / 256, (x + y) / 512), -1)
    pyramids = Pyramids.from_images([image])
    s = torch.tensor([5.0, 13.0, 30.0, 47.0, 60.0], dtype=torch.float64)
    u = gaze.from_scale_angle(
        s, torch.linspace(-3, 3, 5).double(), torch.full((5,), 128.0).double(), torch.full((5,), 120.0).double()
    )
    at = gaze.apply(u, grid(24, 1.0)).view(5, 24, 24, 2)
    expected = torch.stack((at[..., 0] / 256, at[..., 1] / 256, at.sum(-1) / 512), 1)
    assert torch.allclose(glimpses(pyramids, torch.zeros(5, dtype=torch.int64), u).double(), expected, atol=5e-5)


@pytest.mark.parametrize("level", range(8))
def test_the_gradient_in_u_is_that_of_finite_differences_at_every_pyramid_level(pyramids, level):
    s = 12 * 2.0 ** (level - 0.5)  # between level - 1 and level; the first is level 0 alone
    u = gaze.from_scale_angle(*torch.tensor([s, 0.4, 150.3, 120.7], dtype=torch.float64)).unsqueeze(0)
    index = torch.tensor([0])
    _, jacobian = glimpses_with_jacobian(pyramids, index, u)
    step = 1e-6 * s
    smooth = torch.ones(3, 24, 24, dtype=torch.bool)
    for k in range(4):
        ahead, behind = u.clone(), u.clone()
        ahead[0, k] += step
        behind[0, k] -= step
        there, here, back = (plain_glimpses(pyramids, index, u)(at)[0] for at in (ahead, u, behind))
        # The interpolant has kinks at pixel centres: where the two sides differ no derivative exists.
        smooth &= ((there - here) - (here - back)).abs() < 1e-3 * step
        difference = (there - back) / (2 * step)
        assert smooth.double().mean() > 0.97
        assert torch.allclose(
            jacobian[0, k].double()[smooth], difference[smooth], atol=2e-4 * float(difference.abs().max()) + 1e-6
        )


def test_the_gradient_agrees_with_autograd_at_many_gazes(pyramids):
    index, u = some_gazes(64, seed=3)
    seen, jacobian = glimpses_with_jacobian(pyramids, index, u)
    u.requires_grad_()
    reference = plain_glimpses(pyramids, index, u)(u)
    weight = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((reference * weight).sum(), u)
    ours = (jacobian.double() * weight.unsqueeze(1)).sum((2, 3, 4))
    assert torch.allclose(ours, gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))
    assert torch.allclose(seen.double(), reference.detach(), atol=1e-6)


def test_outside_the_image_lies_its_mean_colour_and_its_share_is_known(pyramids):
    away = torch.tensor(
        [[20.0, 0.0, -500.0, 90.0], [20.0, 0.0, 0.0, 150.0], [20.0, 0.0, 200.0, 150.0]], dtype=torch.float64
    )
    index = torch.tensor([0, 0, 0])
    assert torch.allclose(glimpses(pyramids, index, away)[0].mean((1, 2)), torch.from_numpy(pyramids.fill[0]))
    assert share_outside(pyramids, index, away).tolist() == [1.0, 0.5, 0.0]


def test_gazes_that_are_no_gazes_see_the_fill_and_crash_nothing(pyramids):
    nan, inf = math.nan, math.inf
    wild = torch.tensor(
        [[nan, 0, 5, 5], [0, 0, 5, 5], [inf, 0, 5, 5], [1e300, 0, 5, 5], [9, 9, nan, 5], [9, 9, 1e18, 5]],
        dtype=torch.float64,
    )
    seen, jacobian = glimpses_with_jacobian(pyramids, torch.zeros(6, dtype=torch.int64), wild)
    assert torch.isfinite(seen).all() and torch.isfinite(jacobian[[1, 5]]).all()


def test_the_glimpse_is_the_middle_of_its_context(pyramids):
    index, u = some_gazes(20, seed=5)
    assert torch.allclose(contexts(pyramids, index, u)[:, :, 24:48, 24:48], glimpses(pyramids, index, u), atol=1e-6)


def test_only_the_cells_asked_for_are_sampled(pyramids):
    index, u = some_gazes(8, seed=6)
    where = torch.rand(8, 24, 24, generator=torch.Generator().manual_seed(0)) < 0.5
    out = torch.full((8, 3, 24, 24), -7.0)
    glimpses(pyramids, index, u, out=out, where=where)
    whole = glimpses(pyramids, index, u)
    assert torch.equal(torch.where(where.unsqueeze(1), whole, torch.tensor(-7.0)), out)


def test_what_a_gaze_sees_does_not_depend_on_its_batch(pyramids):
    index, u = some_gazes(16, seed=7)
    whole = glimpses(pyramids, index, u)
    assert all(torch.equal(whole[k], glimpses(pyramids, index[k : k + 1], u[k : k + 1])[0]) for k in range(16))
