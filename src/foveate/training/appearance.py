"""Augmentation of contexts: other surroundings, other light, partly covered, mirrored."""

from typing import NamedTuple, no_type_check

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numba import njit, prange
from torch import Tensor

from foveate.runtime.random import uniform_array, unit_at
from foveate.scenes import gaze
from foveate.scenes.glimpse import CONTEXT_EXTENT, CONTEXT_SIZE, contexts, sizes_of
from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import Objects
from foveate.training.settings import AppearanceSettings

_EVERYTHING = torch.tensor([-torch.inf, -torch.inf, torch.inf, torch.inf], dtype=torch.float64)
_NOTHING = torch.zeros(4, dtype=torch.float64)


class Beside(NamedTuple):
    """Contexts in which another photograph begins beside the object."""

    row: Int[Tensor, "k"]  # their places in the minibatch
    image: Int[Tensor, "k"]  # the other photographs
    window: Float[Tensor, "k 4"]  # what is seen of them
    theirs: Bool[Tensor, "k 72 72"]  # pixels that show them


def composite(
    pyramids: Pyramids,
    objects: Objects,
    image: Int[Tensor, "n"],
    start: Float[Tensor, "n 4"],
    target: Float[Tensor, "n 4"],
    settings: AppearanceSettings,
    rng: torch.Generator,
    beside: Beside | None = None,
) -> Float[Tensor, "n 3 72 72"]:
    """Contexts of randomly cropped scenes with other photographs behind them, and before a part of some objects; those
    of `beside` are neither cropped nor covered."""
    count = len(start)
    chosen, covered = torch.rand(2, count, generator=rng)
    crop = torch.where((chosen < settings.composite)[:, None], _random_crop(pyramids, image, target, rng), _EVERYTHING)
    cover = torch.where((covered < settings.cover)[:, None], _random_cover(target, rng), _NOTHING)
    keep = torch.empty(count, CONTEXT_SIZE, CONTEXT_SIZE, dtype=torch.bool)
    _keep(start.numpy(), crop.numpy(), cover.numpy(), CONTEXT_EXTENT, keep.numpy())
    behind_image, behind = _other_surroundings(pyramids, objects, count, rng)
    if beside is not None:
        row = beside.row
        keep[row], behind_image[row], behind[row] = ~beside.theirs, beside.image, beside.window
    context = contexts(pyramids, image, start, where=keep)
    return contexts(pyramids, behind_image, behind, out=context, where=~keep)


def recolour(
    context: Float[Tensor, "n 3 side side"], settings: AppearanceSettings, rng: torch.Generator
) -> Float[Tensor, "n 3 side side"]:
    """Other resolution, contrast, tint, brightness and noise; computed where the contexts are."""
    count, device = len(context), context.device
    coarse, grey, factor = torch.rand(3, count, generator=rng)
    for size, low, high in ((2, 0.0, 0.6), (3, 0.6, 1.0)):
        some = (coarse < settings.coarse) & (factor >= low) & (factor < high)
        small = F.avg_pool2d(context[some], size)
        context[some] = F.interpolate(small, scale_factor=size, mode="bilinear", align_corners=False)
    some = grey < settings.grey
    context[some] = context[some].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    gain = torch.exp(settings.gain * torch.randn(count, 1, 1, 1, generator=rng))
    gain = (gain * torch.exp(settings.tint * torch.randn(count, 3, 1, 1, generator=rng))).to(device)
    mean = context.mean((1, 2, 3), keepdim=True)
    bias = (settings.bias * torch.randn(count, 1, 1, 1, generator=rng)).to(device)
    noise = (12**0.5 * settings.noise * torch.rand(count, 1, 1, 1, generator=rng)).to(device)
    low, high = torch.randint(2**32, (2,), generator=rng).tolist()
    if device.type == "cpu":
        middle, level, strength = (each.flatten().numpy() for each in (mean, mean + bias, noise))
        _light(context.numpy(), gain[..., 0, 0].numpy(), middle, level, strength, np.uint32(low), np.uint32(high))
        return context
    context.sub_(mean).mul_(gain).add_(mean + bias - noise / 2)
    return context.addcmul_(noise, uniform_array(tuple(context.shape), (low, high), device))


def mirror(
    context: Float[Tensor, "n 3 72 72"], delta: Float[Tensor, "n 4"], settings: AppearanceSettings, rng: torch.Generator
) -> tuple[Float[Tensor, "n 3 72 72"], Float[Tensor, "n 4"], Float[Tensor, "n"]]:
    """Mirror images: angle and x change their sign. The last result is -1 where mirrored, else 1."""
    flip = torch.rand(len(context), generator=rng) < settings.mirror
    sign = torch.where(flip, -1.0, 1.0)
    context[flip] = context[flip].flip(-1)
    signs = torch.stack((torch.ones_like(sign), sign, sign, torch.ones_like(sign)), -1)
    return context, delta * signs.to(delta.device), sign


def _other_surroundings(
    pyramids: Pyramids, objects: Objects, count: int, rng: torch.Generator, tries: int = 6
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n 4"]]:
    """Gazes at other photographs; of several tries the one that shows least of an object and of the outside."""
    image = torch.randint(len(pyramids), (count, 1), generator=rng).expand(count, tries)
    w, h = sizes_of(pyramids, image)
    uniform = torch.rand(4, count, tries, generator=rng, dtype=torch.float64)
    s = torch.minimum(w, h) / CONTEXT_EXTENT * 0.08 * (0.5 / 0.08) ** uniform[0]
    u = gaze.from_scale_angle(s, (uniform[1] - 0.5) * 6.28, w * uniform[2], h * uniform[3])
    seen = gaze.to_boxes(torch.cat((u[..., :2] * CONTEXT_EXTENT, u[..., 2:]), -1))
    shown = torch.stack((torch.zeros_like(w), torch.zeros_like(h), w, h), -1)
    outside = 1 - gaze.intersection(seen, shown) / gaze.area(seen)
    boxes = torch.zeros(len(pyramids), 4, dtype=torch.float64)
    boxes[objects.image] = gaze.to_boxes(objects.gaze)  # one object of each image is enough to keep away from most
    object_shown = gaze.intersection(seen, boxes[image]) / gaze.area(seen)
    best = (object_shown * 3 + outside).argmin(1, keepdim=True)
    return image[:, 0], u.gather(1, best[..., None].expand(-1, -1, 4))[:, 0]


def _random_crop(
    pyramids: Pyramids, image: Int[Tensor, "n"], target: Float[Tensor, "n 4"], rng: torch.Generator
) -> Float[Tensor, "n 4"]:
    """A rectangle (x0, y0, x1, y1) within each image that holds most of the object."""
    w, h = sizes_of(pyramids, image)
    box, slack = gaze.to_boxes(target), 0.2 * gaze.scale(target)[:, None]
    edge = torch.stack((torch.zeros_like(w), torch.zeros_like(h), w, h), -1)
    inner = torch.cat((box[:, :2] + slack, box[:, 2:] - slack), -1)
    at = torch.rand(len(image), 4, generator=rng, dtype=torch.float64)
    return inner + (edge - inner) * at


def _random_cover(target: Float[Tensor, "n 4"], rng: torch.Generator) -> Float[Tensor, "n 4"]:
    """A rectangle over some of the object: of a side 0.3 to 1.6 half-sides, around a point of its window."""
    count = len(target)
    uniform = torch.rand(count, 4, generator=rng, dtype=torch.float64)
    s = gaze.scale(target)[:, None]
    centre = target[:, 2:] + s * (2 * uniform[:, :2] - 1)
    half = s * (0.15 + 0.65 * uniform[:, 2:])
    return torch.cat((centre - half, centre + half), -1)


@njit(cache=True, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _keep(start, crop, cover, extent, out):
    """Which cells of each context lie inside the crop and outside the cover, boxes (x0, y0, x1, y1) in pixels."""
    size = out.shape[1]
    for n in range(len(start)):
        a, b, tx, ty = start[n]
        for r in range(size):
            py = (r + 0.5) * 2.0 * extent / size - extent
            for q in range(size):
                px = (q + 0.5) * 2.0 * extent / size - extent
                x, y = a * px - b * py + tx, b * px + a * py + ty
                inside = crop[n, 0] <= x < crop[n, 2] and crop[n, 1] <= y < crop[n, 3]
                covered = cover[n, 0] <= x < cover[n, 2] and cover[n, 1] <= y < cover[n, 3]
                out[n, r, q] = inside and not covered


@njit(cache=True, parallel=True, nogil=True, fastmath={"contract"}, error_model="numpy")
@no_type_check
def _light(context, gain, mean, level, noise, low, high):
    """(x - mean) gain + level + noise (U - 1/2) of every pixel, in place, U the counted numbers of `uniform_array`."""
    count, channels, height, width = context.shape
    for n in prange(count):
        for c in range(channels):
            factor, rest = gain[n, c], level[n] - mean[n] * gain[n, c] - np.float32(0.5) * noise[n]
            for r in range(height):
                row, first = context[n, c, r], np.uint32(((n * channels + c) * height + r) * width)
                for q in range(width):
                    row[q] = row[q] * factor + rest + noise[n] * unit_at(np.uint32(first + np.uint32(q)), low, high)
