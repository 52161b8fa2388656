"""Gazes: the similarity transformations that attention is made of.

A gaze u = (a, b, tx, ty) carries canonical points p to pixels of the image,

    w(p) = [[a, -b], [b, a]] p + (tx, ty),    scale s = hypot(a, b),    angle = atan2(b, a).

The canonical window [-1, 1]^2 goes to a square of half-side s around (tx, ty). Pixels: x to the right, y down, (0, 0)
the outer corner of the first pixel. A positive angle turns x towards y, clockwise on the screen. Read as the complex
map w(z) = (a + ib) z + (tx + i ty), composition and inversion are those of affine maps of one complex variable.

Batch dimensions lead and broadcast everywhere; the last dimension is the gaze's four numbers.
"""

import math
from typing import TypeAlias

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

Batch: TypeAlias = Float[Tensor, "*#batch"]


def from_scale_angle(s: Batch, angle: Batch, tx: Batch, ty: Batch) -> Float[Tensor, "*batch 4"]:
    """The gaze of half-side `s` (pixels), `angle` (radians) and centre (tx, ty) (pixels)."""
    s, angle, tx, ty = torch.broadcast_tensors(s, angle, tx, ty)
    return torch.stack((s * torch.cos(angle), s * torch.sin(angle), tx, ty), dim=-1)


def scale(u: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    """Half-side of the gaze's window in pixels."""
    return torch.hypot(u[..., 0], u[..., 1])


def angle(u: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    """Angle in radians, in (-pi, pi]."""
    found = torch.atan2(u[..., 1], u[..., 0])
    return torch.where(found <= -math.pi, -found, found)


def compose(u: Float[Tensor, "*#batch 4"], d: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The gaze p -> w_u(w_d(p)): `d` expressed in the frame of `u`."""
    a, b, tx, ty = u.unbind(-1)
    c, e, x, y = d.unbind(-1)
    return torch.stack((a * c - b * e, b * c + a * e, a * x - b * y + tx, b * x + a * y + ty), dim=-1)


def invert(u: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The gaze that undoes `u`: compose(u, invert(u)) is the identity; not finite where the scale is zero."""
    a, b, tx, ty = u.unbind(-1)
    square = a * a + b * b
    return torch.stack((a, -b, -(a * tx + b * ty), b * tx - a * ty), dim=-1) / square.unsqueeze(-1)


def apply(u: Float[Tensor, "*batch 4"], points: Float[Tensor, "*#batch points 2"]) -> Float[Tensor, "*batch points 2"]:
    """Canonical points (x, y) carried to pixels."""
    a, b, tx, ty = u.unsqueeze(-2).unbind(-1)
    x, y = points.unbind(-1)
    return torch.stack((a * x - b * y + tx, b * x + a * y + ty), dim=-1)


def from_boxes(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The upright gaze whose window is the square inscribed in each box (x0, y0, x1, y1), at its centre."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    half_side = torch.minimum(x1 - x0, y1 - y0) / 2
    return torch.stack((half_side, torch.zeros_like(half_side), (x0 + x1) / 2, (y0 + y1) / 2), dim=-1)


def covering(width: int, height: int) -> Float[Tensor, "1 4"]:
    """The upright gaze at the middle of an image whose context, three times as wide as its window, just covers it."""
    return torch.tensor([[max(width, height) / 6, 0.0, width / 2, height / 2]], dtype=torch.float64)


def to_boxes(u: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The upright square (x0, y0, x1, y1) around the gaze's centre with half-side s: what IoU is measured on."""
    s = scale(u)
    return torch.stack((u[..., 2] - s, u[..., 3] - s, u[..., 2] + s, u[..., 3] + s), dim=-1)


def iou(boxes: Float[Tensor, "n 4"], others: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of every box with every other; 0 where both are empty."""
    return iou_of_pairs(boxes[:, None], others[None])


def iou_of_pairs(boxes: Float[Tensor, "*#batch 4"], others: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*batch"]:
    """Intersection over union of each box with its other; 0 where both are empty."""
    common = intersection(boxes, others)
    union = area(boxes) + area(others) - common
    return torch.where(union > 0, common / union, torch.zeros_like(union))


def intersection(boxes: Float[Tensor, "*#batch 4"], others: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*batch"]:
    """Area that each box shares with its other."""
    low, high = torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:])
    return (high - low).clamp(min=0).prod(-1)


def area(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    """Area of each box (x0, y0, x1, y1)."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def to_chart(u: Float[Tensor, "*batch 4"], length: Float[Tensor, "*#batch"]) -> Float[Tensor, "*batch 4"]:
    """Coordinates (log s, angle, tx / L, ty / L) for a fixed length L: a unit step means the same at every size.

    The volume element is da db dtx dty = s^2 L^2 dlog s dangle d(tx/L) d(ty/L), so a density in u times s^2 is, up to a
    constant, the density in these coordinates. L must not change while a Markov chain runs.
    """
    length = length.expand(u.shape[:-1])
    return torch.stack((torch.log(scale(u)), angle(u), u[..., 2] / length, u[..., 3] / length), dim=-1)


def from_chart(q: Float[Tensor, "*batch 4"], length: Float[Tensor, "*#batch"]) -> Float[Tensor, "*batch 4"]:
    """The gaze at chart coordinates q; see `to_chart`."""
    return from_scale_angle(torch.exp(q[..., 0]), q[..., 1], q[..., 2] * length, q[..., 3] * length)


def nearest_angle(to: Batch, own: Batch, period: Real[Tensor, "*#batch"]) -> Float[Tensor, "*batch"]:
    """Of the angles at which an object of angle `own` looks the same, turns by `period` degrees, the one nearest to
    `to`, radians; `to` itself with a period of 0, of objects without an angle."""
    whole = torch.where(period > 0, torch.deg2rad(period.to(own.dtype)), 2 * math.pi)
    return torch.where(period > 0, own + whole * torch.round((to - own) / whole), to)


def nearest_turn(
    u: Float[Tensor, "*batch 4"], target: Float[Tensor, "*batch 4"], period: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch 4"]:
    """Gazes at objects that look the same after turns by `period` degrees, turned so that they are nearest to `u`."""
    turn = nearest_angle(angle(u), angle(target), period)
    turned = from_scale_angle(scale(target), turn, target[..., 2], target[..., 3])
    return torch.where((period == 360).unsqueeze(-1), target, turned)


def angle_difference(first: Batch, second: Batch) -> Float[Tensor, "*batch"]:
    """first - second in radians, wrapped to [-pi, pi)."""
    return torch.remainder(first - second + math.pi, 2 * math.pi) - math.pi
