"""Claims about gazes: the group of similarities, keypoints, boxes, charts."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from foveate.scenes import gaze

finite = st.floats(-300, 300, allow_nan=False)


@st.composite
def gazes(draw):
    s, angle = draw(st.floats(0.05, 500)), draw(st.floats(-3.14, 3.14))
    return torch.tensor([s * math.cos(angle), s * math.sin(angle), draw(finite), draw(finite)], dtype=torch.float64)


def as_complex(u):
    return complex(u[0], u[1]), complex(u[2], u[3])


@given(gazes(), gazes(), gazes())
def test_composition_is_associative_and_agrees_with_complex_affine_maps(u, v, w):
    left, right = gaze.compose(gaze.compose(u, v), w), gaze.compose(u, gaze.compose(v, w))
    assert torch.allclose(left, right, rtol=1e-9, atol=1e-6)
    (a, s), (b, t) = as_complex(u), as_complex(v)
    c, r = as_complex(gaze.compose(u, v))
    assert np.isclose(c, a * b) and np.isclose(r, a * t + s)


@given(gazes())
def test_identity_and_inverse_are_those_of_a_group(u):
    one = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.equal(gaze.compose(u, one), u) and torch.allclose(gaze.compose(one, u), u)
    for product in (gaze.compose(u, gaze.invert(u)), gaze.compose(gaze.invert(u), u)):
        assert torch.allclose(product, one, atol=1e-6 * (1 + float(u.abs().max() / gaze.scale(u)) ** 2))


@given(gazes(), gazes())
def test_applying_a_composition_is_applying_twice(u, v):
    points = torch.tensor([[0.0, 0.0], [1.0, -0.5], [-0.3, 0.9]], dtype=torch.float64)
    assert torch.allclose(gaze.apply(gaze.compose(u, v), points), gaze.apply(u, gaze.apply(v, points)), atol=1e-6)


def test_a_positive_angle_turns_x_towards_y():
    quarter = gaze.from_scale_angle(*torch.tensor([2.0, math.pi / 2, 10.0, 20.0]))
    assert torch.allclose(gaze.apply(quarter, torch.tensor([[1.0, 0.0]])), torch.tensor([[10.0, 22.0]]), atol=1e-5)


def test_angles_are_in_the_half_open_interval_and_differences_wrap():
    assert gaze.angle(torch.tensor([-1.0, -0.0, 0.0, 0.0])) == gaze.angle(torch.tensor([-1.0, 0.0, 0.0, 0.0])) > 3.14
    degrees = torch.tensor([179.0, -179.0]).deg2rad()
    assert math.isclose(math.degrees(gaze.angle_difference(degrees[1], degrees[0])), 2.0, abs_tol=1e-3)


def test_a_box_gives_its_inscribed_square_and_iou_that_of_areas():
    u = gaze.from_boxes(torch.tensor([[10.0, 20.0, 50.0, 40.0]]))
    assert torch.equal(gaze.to_boxes(u), torch.tensor([[20.0, 20.0, 40.0, 40.0]]))
    assert torch.equal(gaze.to_boxes(torch.tensor([0.0, -10.0, 30.0, 40.0])), torch.tensor([20.0, 30.0, 40.0, 50.0]))
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    others = torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [9.0, 9.0, 9.5, 9.5], [5.0, 5.0, 5.0, 5.0]])
    assert torch.allclose(gaze.iou(boxes, others)[0], torch.tensor([1 / 7, 1.0, 0.0, 0.0]))
    assert torch.equal(gaze.iou(boxes, others)[1], torch.zeros(4))


@given(gazes(), st.floats(0.5, 200))
def test_the_chart_is_invertible_and_its_jacobian_is_s_squared(u, length):
    length = torch.tensor(length, dtype=torch.float64)
    q = gaze.to_chart(u, length)
    assert torch.allclose(gaze.from_chart(q, length), u, atol=1e-9 * float(1 + u.abs().max()))
    jacobian = torch.autograd.functional.jacobian(lambda q: gaze.from_chart(q, length), q)
    volume = float(gaze.scale(u) ** 2 * length**2)
    assert math.isclose(abs(float(torch.linalg.det(jacobian))), volume, rel_tol=1e-6)
