"""From how far off gazes find their object: `evaluate convergence`.

Tang, Srivastava & Salakhutdinov (2014) let gazes set out from up to 30 pixels off and at 0.5 to 1.5 times the object's
size, and compare accuracy (IoU above 0.5) with template matching. Here gazes set out upright from each annotated
object, at several distances, in directions and at sizes drawn at random; the networks lead them, and of some
Hamiltonian Monte Carlo makes the last adjustment. Beside them stands what template matching finds, which may look at
every place within that reach of the start, at sizes and angles of a grid: by normalised cross-correlation and by
Euclidean distance, each with the mean of all objects as its template and with the one object that serves best on the
whole.

A pixel is one of the canonical patch: 24 span a window, so 12 are half a side. A network sees three half-sides of its
own gaze: of starts that are small and far off, the object lies outside what it sees. Figures of those that do see its
centre stand beside those of all (`in_sight`).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from foveate.attention.attend import Attention
from foveate.attention.models import Models
from foveate.attention.posterior.refine import TOGETHER, Resting, refine
from foveate.attention.settings import AttendSettings
from foveate.attention.shiftnet import follow
from foveate.errors import BadInput
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.scenes import gaze
from foveate.scenes.folder import Scene
from foveate.scenes.glimpse import CONTEXT_EXTENT, PATCH_SIZE, glimpses
from foveate.scenes.pyramid import Pyramids
from foveate.training.gallery import Gallery, load_gallery
from foveate.training.labels import Objects

OFFSETS = (0, 5, 10, 15, 20, 25, 30)  # of the start's centre, pixels of the canonical patch
SIZES = (0.5, 0.75, 1.0, 1.25, 1.5)  # ends of the bins of the start's half-side, beside the object's
REACH = 30  # of template matching, pixels of the canonical patch
MATCHED_SIZES = tuple(2 / 3 * 3 ** (k / 6) for k in range(7))  # beside the start's: 1 / 1.5 to 1 / 0.5
MATCHED_ANGLES = tuple(math.radians(degrees) for degrees in (-20, 0, 20))
ADJUSTED = 50  # gazes that Hamiltonian Monte Carlo follows too
TEMPLATES = 8  # objects of which the best serves as template
SHOWN = {
    "network": "networks",
    "ncc_mean": "correlation, mean template",
    "ncc_best": "correlation, best template",
    "euclid_mean": "distance, mean template",
    "euclid_best": "distance, best template",
}
"""Methods in words."""


class Starts(NamedTuple):
    """Gazes that set out, one for each object and offset."""

    of: Int[Tensor, "n"]  # which object
    offset: Float[Tensor, "n"]  # pixels of the canonical patch
    size: Float[Tensor, "n"]  # beside the object's
    gaze: Float[Tensor, "n 4"]


def convergence(
    attention: Attention, scenes: Sequence[Scene], settings: AttendSettings, progress: Progress
) -> dict[str, Any]:
    """The figures of `evaluate convergence --json`."""
    models, gallery = attention.models, load_gallery(scenes, progress, settings.largest, fewest=1)
    objects = gallery.objects
    if not len(objects.image):
        raise BadInput("no object: there is nothing to converge to")
    starts = draw_starts(objects, settings.seed)
    index, truth = objects.image[starts.of], objects.gaze[starts.of]
    trail = starts.gaze[None]
    for net, steps in ((models.shiftnet, settings.one_steps), (models.fine, settings.search.fine)):
        if net is not None:
            led = follow(net, models.canonical, gallery.pyramids, index, trail[-1], steps)
            trail = torch.cat((trail, led[1:]))
    overlap = torch.stack([_overlap(at, truth) for at in trail])
    found = {"network": overlap[-1], **_matched(gallery, starts, progress)}
    edges = torch.tensor(SIZES, dtype=torch.float64)
    middles = (edges[1:] + edges[:-1]) / 2
    middle = middles[torch.bucketize(starts.size, edges[1:-1])]  # of the bin that each size lies in
    seen = gaze.compose(gaze.invert(starts.gaze), truth)[:, 2:].abs().amax(1) < CONTEXT_EXTENT
    return {
        "objects": len(objects.image),
        "starts": len(starts.of),
        "by_offset": {name: _binned(each, starts.offset, OFFSETS) for name, each in found.items()},
        "by_size": {name: _binned(each, middle, middles.tolist()) for name, each in found.items()},
        "all": {name: _summary(each) for name, each in found.items()},
        "in_sight": {"starts": int(seen.sum()), **{name: _summary(each[seen]) for name, each in found.items()}},
        "by_step": [[float(step), *_summary(each)] for step, each in enumerate(overlap)],
        "hmc": _with_hmc(models, gallery.pyramids, trail[-1], overlap[-1], index, truth, settings, progress),
    }


def draw_starts(objects: Objects, seed: int) -> Starts:
    """From every object at each of `OFFSETS`, in a random direction, upright and of a random size."""
    rng, count = generator(seed, "convergence"), len(objects.image)
    of = torch.arange(count).repeat(len(OFFSETS))
    offset = torch.tensor(OFFSETS, dtype=torch.float64).repeat_interleave(count)
    toward, size = torch.rand(2, len(of), generator=rng, dtype=torch.float64)
    toward, size = 2 * math.pi * toward, SIZES[0] * (SIZES[-1] / SIZES[0]) ** size
    s = gaze.scale(objects.gaze)[of]
    away = (offset * s / (PATCH_SIZE / 2))[:, None] * torch.stack((torch.cos(toward), torch.sin(toward)), 1)
    x, y = (objects.gaze[of, 2:] + away).unbind(1)
    return Starts(of, offset, size, gaze.from_scale_angle(s * size, torch.zeros_like(s), x, y))


def _overlap(at: Float[Tensor, "n 4"], truth: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    return gaze.iou_of_pairs(gaze.to_boxes(at), gaze.to_boxes(truth))


def _summary(overlap: Float[Tensor, "n"]) -> list[float]:
    """[share of IoU above 0.5, mean IoU]."""
    return [float((overlap > 0.5).double().mean()), float(overlap.mean())]


def _binned(overlap: Float[Tensor, "n"], value: Float[Tensor, "n"], at: Sequence[float | int]) -> list[list[float]]:
    """[value, share of IoU above 0.5, mean IoU] of each value that there is."""
    return [[float(each), *_summary(overlap[value == each])] for each in at if (value == each).any()]


def _with_hmc(
    models: Models, pyramids: Pyramids, rest: Tensor, overlap: Tensor, index: Tensor, truth: Tensor,
    settings: AttendSettings, progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Mean IoU of gazes near an object before and after HMC, and the gain with its standard error."""
    chosen = torch.nonzero(overlap > 0.3).flatten()
    chosen = chosen[torch.linspace(0, len(chosen) - 1, min(ADJUSTED, len(chosen))).long()]
    if not len(chosen):
        return {"n": 0}
    resting = Resting(index[chosen].tolist(), rest[chosen], [f"convergence {k}" for k in chosen.tolist()])
    how = replace(settings.posterior, method="hmc", chains=max(settings.posterior.chains, 2))
    with progress.phase("evaluate convergence: HMC", len(chosen)) as tick:
        refined = list(refine(models, pyramids, resting, how, settings.seed, tick, TOGETHER))
    after = _overlap(torch.from_numpy(np.stack([each.u for each in refined])), truth[chosen])
    gain = (after - overlap[chosen]).numpy()
    stderr = float(gain.std(ddof=1) / math.sqrt(len(gain))) if len(gain) > 1 else None
    before = overlap[chosen]
    return {
        "n": len(gain), "before": _summary(before), "after": _summary(after), "gain": [float(gain.mean()), stderr]
    }  # fmt: skip


def _matched(gallery: Gallery, starts: Starts, progress: Progress) -> dict[str, Float[Tensor, "n"]]:
    """IoU of what template matching finds from each start, by method and template."""
    objects, patches = gallery.objects, glimpses(gallery.pyramids, gallery.objects.image, gallery.objects.gaze)
    own = torch.linspace(0, len(patches) - 1, min(TEMPLATES, len(patches))).long().unique()
    templates = torch.cat((patches.mean(0, keepdim=True), patches[own]))
    found = torch.empty(2, len(templates), len(starts.of), dtype=torch.float64)
    with progress.phase("evaluate convergence: templates", len(starts.of)) as tick:
        for k, (of, start) in enumerate(zip(starts.of.tolist(), starts.gaze, strict=True)):
            ends = match_templates(gallery.pyramids, int(objects.image[of]), start, templates)
            found[:, :, k] = _overlap(ends.flatten(0, 1), objects.gaze[of].expand(2 * len(templates), 4)).view(2, -1)
            tick(k + 1)
    out = {}
    for method, overlap in zip(("ncc", "euclid"), found, strict=True):
        others = [each[starts.of != one] for one, each in zip(own.tolist(), overlap[1:], strict=True)]
        best = max(range(len(own)), key=lambda k, others=others: float((others[k] > 0.5).double().mean()))
        out |= {f"{method}_mean": overlap[0], f"{method}_best": overlap[1 + best]}
    return out


def match_templates(
    pyramids: Pyramids, image: int, start: Float[Tensor, "4"], templates: Float[Tensor, "t 3 24 24"]
) -> Float[Tensor, "2 t 4"]:
    """The gazes at which each template matches best within `REACH` of a start: by cross-correlation, by distance.

    Every size and angle of the grid is looked at through one window as wide as the reach, at the template's pitch.
    """
    side, across = PATCH_SIZE + 2 * REACH, 2 * REACH + 1
    grid = [(size, angle) for size in MATCHED_SIZES for angle in MATCHED_ANGLES]
    seen_from = torch.stack(
        [gaze.compose(start, gaze.from_scale_angle(*torch.tensor([*way, 0.0, 0.0]).double())) for way in grid]
    )
    seen = glimpses(pyramids, np.full(len(grid), image), seen_from, side, side / PATCH_SIZE)
    mean, count = templates.mean((1, 2, 3)), templates[0].numel()
    centred = templates - mean[:, None, None, None]
    product = _correlate(seen, centred)
    total, square = (_window_sums(each.sum(1, keepdim=True)) for each in (seen, seen.square()))
    spread = (square - total.square() / count).clamp(min=1e-3).sqrt()
    ncc = product / spread / centred.flatten(1).norm(dim=1)[:, None, None]
    # of a template that is centred, the product with what is seen lacks the mean's share
    near = 2 * (product + mean[:, None, None] * total) - square - templates.square().sum((1, 2, 3))[:, None, None]
    ends = []
    for value in (ncc, near):
        best = value.transpose(0, 1).flatten(1).argmax(1)
        window, place = best // across**2, best % across**2
        at = torch.stack((place % across, place // across), 1).double() - REACH
        upright = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(at), 2)
        ends.append(gaze.compose(seen_from[window], torch.cat((upright, at / (PATCH_SIZE / 2)), 1)))
    return torch.stack(ends)


def _correlate(seen: Float[Tensor, "w 3 s s"], templates: Float[Tensor, "t 3 p p"]) -> Float[Tensor, "w t a a"]:
    """Products of every template with what is seen at every place; by Fourier transforms, a fifth of the time."""
    side, across = seen.shape[-1], seen.shape[-1] - templates.shape[-1] + 1
    spectra = torch.fft.rfft2(seen)[:, None] * torch.fft.rfft2(templates, s=(side, side)).conj()
    return torch.fft.irfft2(spectra.sum(2), s=(side, side))[..., :across, :across]


def _window_sums(seen: Float[Tensor, "w 1 s s"]) -> Float[Tensor, "w 1 a a"]:
    """Sums over the window of a template at every place."""
    down = F.avg_pool2d(seen, (PATCH_SIZE, 1), 1, divisor_override=1)
    return F.avg_pool2d(down, (1, PATCH_SIZE), 1, divisor_override=1)
