"""Which of two objects is attended to when one is in mind: `evaluate ambiguity`.

Tang, Srivastava & Salakhutdinov (2014) show two faces side by side: which one the gaze goes to depends on the canonical
image v that is held. Here two photographs stand side by side, each cut around one of its objects and at one size. Each
object is in mind once: as it looks through another gaze, in another light, and partly covered. Two things are asked:
where the whole pipeline has its first gaze (proposals, steps with v held, likeness), and where the networks alone take
a gaze that sets out midway between the two. Pairs are `unlike` where the other one's likeness is below 0 nats: v can
say which is meant only where they don't look alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from numpy import ndarray

from foveate.attention.attend import Attention
from foveate.attention.overlay import as_bytes
from foveate.attention.settings import AttendSettings
from foveate.attention.shiftnet import follow
from foveate.errors import BadInput, present
from foveate.evaluation.matching import overlaps
from foveate.evaluation.photographs import looked_at
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.runtime.workers import map_images
from foveate.scenes.folder import Scene
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pixels import content_key
from foveate.scenes.pyramid import Pyramids
from foveate.scenes.warp import warp
from foveate.training.in_mind import seen_before

SIDE, SCALE = 160, 40.0  # of a photograph's window, and half-side of the object in its middle, pixels


@dataclass(frozen=True)
class Case:
    """Two photographs side by side, and where the one in mind is."""

    picture: UInt8[ndarray, "h w 3"]
    truth: Float[ndarray, "2 4"]  # the one in mind, the other
    query: Float[ndarray, "24 24 3"]  # as it was seen before, in [0, 1]
    left: bool  # whether it stands on the left


def ambiguity(
    attention: Attention, scenes: Sequence[Scene], settings: AttendSettings, progress: Progress, pairs: int
) -> dict[str, Any]:
    """The figures of `evaluate ambiguity --json`: of `pairs` pairs of photographs, each of the two in mind once."""
    shown = [scene for scene in scenes if len(scene.gazes)][: 2 * pairs]
    windows = list(looked_at(_window, shown, settings.largest, progress, "evaluate ambiguity: photographs"))
    if len(windows) < 2:
        raise BadInput(f"{len(windows)} photographs with an object can be read: at least 2 are needed")
    rng = generator(settings.seed, "ambiguity")
    order = [
        k for _ in range(1 + 2 * pairs // len(windows)) for k in torch.randperm(len(windows), generator=rng).tolist()
    ]
    cases = [case for k in range(pairs) for case in _cases(windows[order[2 * k]], windows[order[2 * k + 1]], rng)]
    settings = replace(settings, min_probability=0.0, posterior=replace(settings.posterior, chains=0))

    def attended(case: Case) -> tuple[ndarray, ndarray, ndarray]:
        minded = attention.looking_for(case.query)
        founds = minded.attend_one(case.picture, content_key(case.picture), settings)
        whole = founds[0].u if founds else np.full(4, np.nan)
        return whole, *_alone(minded, case, settings)

    ends = []
    with progress.phase("evaluate ambiguity", len(cases)) as tick:
        for found in map_images(attended, cases):
            ends.append(found)
            tick(len(ends))
    whole, alone, likeness = (np.array(part) for part in zip(*ends, strict=True))
    unlike = likeness[:, 1] < 0
    return {
        "pairs": pairs,
        "photos": len(windows),
        "pipeline": _counted(cases, whole),
        "network": _counted(cases, alone),
        "unlike": int(unlike.sum()),
        "network_unlike": _counted([case for case, apart in zip(cases, unlike, strict=True) if apart], alone[unlike]),
        "likeness": {"in_mind": float(np.median(likeness[:, 0])), "other": float(np.median(likeness[:, 1]))},
        "likelier": float((likeness[:, 0] > likeness[:, 1]).mean()),
    }


def _alone(minded: Attention, case: Case, settings: AttendSettings) -> tuple[Float[ndarray, "4"], Float[ndarray, "2"]]:
    """Where the networks take a gaze from midway, v held; and both likenesses at the true gazes."""
    height, width = case.picture.shape[:2]
    pyramids, here = Pyramids.from_images([case.picture]), torch.zeros(2, dtype=torch.int64)
    at, models = torch.tensor([[SCALE, 0.0, width / 2, height / 2]], dtype=torch.float64), minded.models
    mind = present(models.mind, "what is in mind")
    for net, steps in ((models.shiftnet, settings.one_steps), (models.fine, settings.search.fine)):
        if net is not None:
            at = follow(net, mind.canonical, pyramids, here[:1], at, steps)[-1]
    return at[0].numpy(), mind.likeness(glimpses(pyramids, here, torch.from_numpy(case.truth)))


def _counted(cases: Sequence[Case], gazes: Float[ndarray, "cases 4"]) -> dict[str, Any] | None:
    """Shares of gazes at the one in mind (IoU at least 0.5), at the other, at neither; by side; and the error."""
    if not cases:
        return None
    overlap = np.array([overlaps(u[None], case.truth)[0] for u, case in zip(gazes, cases, strict=True)])
    right, wrong = overlap[:, 0] >= 0.5, overlap[:, 1] >= 0.5
    left = np.array([case.left for case in cases])
    share = float(right.mean())
    return {
        "in_mind": share,
        "stderr": float(np.sqrt(share * (1 - share) / len(cases))),
        "other": float(wrong.mean()),
        "neither": float((~right & ~wrong).mean()),
        "in_mind_left": float(right[left].mean()) if left.any() else None,
        "in_mind_right": float(right[~left].mean()) if not left.all() else None,
    }


def _window(
    scene: Scene, pixels: Shaped[ndarray, "h w 3"]
) -> tuple[UInt8[ndarray, "side side 3"], Float[ndarray, "4"]]:
    """A photograph around its largest object, whose half-side is SCALE, and the object's gaze there."""
    a, b, x, y = max(scene.gazes, key=lambda u: float(np.hypot(u[0], u[1])))
    step = float(np.hypot(a, b)) / SCALE
    shown = warp(as_bytes(pixels), step * np.eye(2), np.array([x, y]) - step * SIDE / 2, SIDE, SIDE)
    return shown, np.array([a / step, b / step, SIDE / 2, SIDE / 2])


def _cases(first: tuple[ndarray, ndarray], second: tuple[ndarray, ndarray], rng: torch.Generator) -> list[Case]:
    """Both photographs side by side, each object in mind once."""
    picture = np.concatenate([first[0], second[0]], axis=1)
    moved = second[1] + np.array([0.0, 0.0, SIDE, 0.0])
    pyramids = Pyramids.from_images([first[0], second[0]])
    gazes = torch.from_numpy(np.stack([first[1], second[1]]))
    seen = seen_before(pyramids, torch.arange(2), gazes, rng).permute(0, 2, 3, 1).numpy()
    return [
        Case(picture, np.stack([first[1], moved]), seen[0], True),
        Case(picture, np.stack([moved, first[1]]), seen[1], False),
    ]
