"""Patches that the periphery learns from: plans of what is seen in them (`views`), sampled.

Patches are bytes and made in pools, a few thousand at a time: some sharper than others, noisy, compressed at times, as
pictures are. Light, colour and mirroring are varied anew whenever one is used.
"""

import io
from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from numba import njit
from PIL import Image
from torch import Tensor

from foveate.runtime.progress import Progress, Quiet
from foveate.runtime.random import numpy_generator
from foveate.scenes.glimpse import glimpses
from foveate.training.periphery.views import BLOCKS, SIDE, Plan, Source

MOST_OBJECTS = 16  # of a patch
COMPRESSED = 0.3  # share of patches
CHUNK = 64  # patches that are sampled together
SHARPNESS = (256, 128, 256, 128, 64)  # sides at which chunks are sampled, in turn: sharp, soft, coarse


class Patches(NamedTuple):
    """Patches and what is in them."""

    pixels: UInt8[Tensor, "n 3 128 128"]  # bytes
    objects: Float[Tensor, "n 16 5"]  # (a, b, tx, ty, period) in pixels of the patch; zeros where there are fewer
    ignored: Bool[Tensor, "n 32 32"]  # blocks in which nothing is asked


def make_patches(
    sources: Sequence[Source], count: int, seed: int, pool: int, turn: float = 180.0, progress: Progress | None = None
) -> Patches:
    """A pool of patches of scenes, each of which shows as often as it has images, turned by `turn` degrees at most.

    Patch k of a pool depends on the seed, the pool's number, k and the scenes alone.
    """
    pixels = torch.empty(count, 3, SIDE, SIDE, dtype=torch.uint8)
    objects, ignored = torch.zeros(count, MOST_OBJECTS, 5), torch.zeros(count, BLOCKS, BLOCKS, dtype=torch.bool)
    with (progress or Quiet()).phase("patches for the periphery", count) as tick:
        for begin in range(0, count, CHUNK):
            some = range(begin, min(begin + CHUNK, count))
            rngs = [numpy_generator(seed, "periphery patch", pool, k) for k in some]
            plans = [Plan(sources, rng, turn) for rng in rngs]
            shown = _sampled(sources, plans, SHARPNESS[begin // CHUNK % len(SHARPNESS)])
            for k, plan, patch, rng in zip(some, plans, shown, rngs, strict=True):
                pixels[k] = torch.from_numpy(_finished(patch, rng))
                rows = torch.from_numpy(np.array(plan.objects).reshape(-1, 5)[:MOST_OBJECTS])
                objects[k, : len(rows)] = rows.float()
                ignored[k] = torch.from_numpy(plan.ignored)
            tick(some[-1] + 1)
    return Patches(pixels, objects, ignored)


def _sampled(sources: Sequence[Source], plans: Sequence[Plan], side: int) -> Float[np.ndarray, "n 3 128 128"]:
    """What plans show, in [0, 1], sampled at `side` x `side` points a patch."""
    out = torch.zeros(len(plans), 3, side, side)
    for depth in range(max(len(plan.layers) for plan in plans)):
        for number, source in enumerate(sources):
            rows = [k for k, p in enumerate(plans) if depth < len(p.layers) and p.layers[depth].source == number]
            if not rows:
                continue
            layers = [plans[k].layers[depth] for k in rows]
            where = np.zeros((len(rows), side, side), np.bool_)
            for each, mask in zip(layers, where, strict=True):
                x0, y0, x1, y1 = (edge * side // SIDE for edge in each.cell)
                size = source.size[each.image] if each.clipped else np.array([np.inf, np.inf])
                _within(each.view, size, x0, y0, x1, y1, mask)
            index, views = np.array([e.image for e in layers]), torch.from_numpy(np.stack([e.view for e in layers]))
            part = out[rows]
            out[rows] = glimpses(source.pyramids, index, views, side, out=part, where=torch.from_numpy(where))
    if side > SIDE:
        out = F.avg_pool2d(out, side // SIDE)
    elif side < SIDE:
        out = F.interpolate(out, SIDE, mode="bilinear", align_corners=False)
    return out.numpy()


@njit(cache=True, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _within(view, size, x0, y0, x1, y1, out):
    """Marks the points of a cell that lie in a scene of this size."""
    side = out.shape[0]
    for r in range(y0, y1):
        py = (r + 0.5) * 2.0 / side - 1.0
        for q in range(x0, x1):
            px = (q + 0.5) * 2.0 / side - 1.0
            x, y = view[0] * px - view[1] * py + view[2], view[1] * px + view[0] * py + view[3]
            out[r, q] = size[0] == np.inf or (0.0 <= x < size[0] and 0.0 <= y < size[1])


def _finished(patch: Float[np.ndarray, "3 128 128"], rng: np.random.Generator) -> UInt8[np.ndarray, "3 128 128"]:
    """Noise, bytes, and compression at times."""
    noise = rng.uniform(0, 0.03)
    patch = patch + noise * rng.standard_normal(patch.shape, np.float32)
    out = np.rint(255 * patch.clip(0, 1)).astype(np.uint8)
    if rng.random() >= COMPRESSED:
        return out
    packed = io.BytesIO()
    Image.fromarray(out.transpose(1, 2, 0)).save(packed, "JPEG", quality=int(rng.integers(40, 93)))
    return np.array(Image.open(packed)).transpose(2, 0, 1)
