"""The last adjustment and the error bar of converged gazes: their posterior by Hamiltonian Monte Carlo
(`posterior`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.models import Models
from foveate.attention.posterior.sample import sample
from foveate.attention.posterior.summary import DISAGREEING, DIVERGING, NOT_MOVING, mean_gaze
from foveate.attention.settings import PosteriorSettings
from foveate.runtime.workers import map_images
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids

GAZES = 16  # sampled together: the patch model's weights are then read once for many chains
TRAIL = 8  # gazes of the sampler on the trail
KEPT = 60  # draws kept for drawing spreads
DOUBTFUL = {NOT_MOVING, DIVERGING}


class Resting(NamedTuple):
    """Gazes that came to rest.

    Attributes:
        index: Which image each looks at.
        gazes: Where the network left it.
        names: A unique name a gaze, which keys its random numbers.
    """

    index: Sequence[int]
    gazes: Float[Tensor, "n 4"]
    names: Sequence[str]


@dataclass(frozen=True)
class Refined:
    """What the chains of one gaze found.

    Attributes:
        u: The posterior mean, or the gaze the chains started from where they can't be believed.
        std: Standard deviations of (a, b, tx, ty), pixels; NaN where the chains did not move.
        spread: Standard deviations of (log s, angle in radians, tx, ty).
        trail: The mean of all draws so far, at some of the draws, then u: the estimate as it settles.
        draws: Some draws of all chains.
        rhat: Of (log s, angle, tx, ty).
        ess: Bulk effective sample sizes of the same.
        acceptance: Mean acceptance probability of each chain.
        flags: What is wrong with the chains, in words.
    """

    u: Float[np.ndarray, "4"]
    std: Float[np.ndarray, "4"]
    spread: Float[np.ndarray, "4"]
    trail: Float[np.ndarray, "steps 4"]
    draws: Float[np.ndarray, "draws 4"]
    rhat: Float[np.ndarray, "4"]
    ess: Float[np.ndarray, "4"]
    acceptance: Float[np.ndarray, "chains"]
    flags: tuple[str, ...]

    def scaled(self, factor: float) -> "Refined":
        """The same posterior in an image `factor` times the size."""
        in_pixels = {name: getattr(self, name) * factor for name in ("u", "std", "trail", "draws")}
        return replace(self, **in_pixels, spread=self.spread * np.array([1.0, 1.0, factor, factor]))


def refine(
    models: Models, pyramids: Pyramids, resting: Resting, settings: PosteriorSettings, seed: int
) -> list[Refined]:
    """Samples the posterior of each gaze, tempered by what the evidence found to make stated spreads true.

    Args:
        models: Patch model and evidence.
        pyramids: The images.
        resting: The gazes.
        settings: How; its temperature multiplies the evidence's. Zero chains sample nothing.
        seed: Of the random numbers.

    Returns:
        One for each gaze; none at all where there are no chains.
    """
    index, gazes, names = resting
    if not len(gazes) or settings.chains == 0:
        return []
    temper, around, evidence = 1.0, None, models.evidence
    if evidence is not None:
        temper = evidence.temper
        if settings.target == "collapsed" and bool((evidence.spread > 0).all()):
            around = evidence.spread
    tempered = replace(settings, temperature=settings.temperature * temper)
    posterior = sample(
        pyramids, np.asarray(index, dtype=np.int64), gazes, names, models.conditionals, tempered, seed, around=around
    )
    spread = torch.cat(
        (posterior.std_log_scale[:, None], torch.deg2rad(posterior.std_angle)[:, None], posterior.std_centre), dim=1
    )
    results = []
    for k in range(len(gazes)):
        # With a prior around the gaze, chains that disagree are short, not elsewhere; without, they may be anywhere.
        signs = DOUBTFUL if around is not None else DOUBTFUL | {DISAGREEING}
        doubtful = bool(signs & set(posterior.flags[k])) or not torch.isfinite(posterior.mean[k]).all()
        u = gazes[k] if doubtful or _has_left(posterior.mean[k], gazes[k]) else posterior.mean[k]
        every = posterior.draws[k].flatten(0, 1)
        results.append(
            Refined(
                u=u.numpy(),
                std=posterior.std[k].numpy(),
                spread=spread[k].numpy(),
                trail=torch.cat((_means_so_far(posterior.draws[k]), u[None])).numpy(),
                draws=_thin(every, KEPT).numpy(),
                rhat=posterior.rhat[k].numpy(),
                ess=posterior.ess[k].numpy(),
                acceptance=posterior.acceptance[k].numpy(),
                flags=posterior.flags[k],
            )
        )
    return results


def refine_many(
    models: Models,
    pyramids: Pyramids,
    resting: Resting,
    settings: PosteriorSettings,
    seed: int,
    tick: Callable[[int], None],
) -> Iterator[Refined]:
    """`refine` for gazes of many images, some at a time; `tick` is called with the number of gazes done.

    The last few are filled up with copies, which are thrown away: in products of one shape a row's last bits don't
    depend on where it stands and on what stands beside it, so neither does what is found of a gaze.
    """

    def some(first: int) -> list[Refined]:
        places = range(first, min(first + GAZES, len(resting.gazes)))
        filled = [*places, *[places[-1]] * (GAZES - len(places))]
        part = Resting([resting.index[k] for k in filled], resting.gazes[filled], [resting.names[k] for k in filled])
        return refine(models, pyramids, part, settings, seed)[: len(places)]

    done = 0
    for batch in map_images(some, range(0, len(resting.gazes), GAZES)):
        done += len(batch)
        tick(done)  # not after: a reader that has all it wants never comes back
        yield from batch


def _has_left(mean: Float[Tensor, "4"], start: Float[Tensor, "4"]) -> bool:
    """Whether the chains went to look at something else."""
    boxes = gaze.to_boxes(torch.stack((mean, start)))
    return float(gaze.iou(boxes[:1], boxes[1:])) < 0.5


def _means_so_far(draws: Float[Tensor, "chain draw 4"]) -> Float[Tensor, "steps 4"]:
    """The mean gaze of all chains' draws up to some of them."""
    count = draws.shape[1]
    upto = torch.linspace(1, count, min(TRAIL, count)).round().long().tolist()
    return torch.stack([mean_gaze(draws[:, :n].flatten(0, 1)) for n in upto])


def _thin(draws: Float[Tensor, "n 4"], most: int) -> Float[Tensor, "m 4"]:
    return draws[torch.linspace(0, len(draws) - 1, min(most, len(draws))).round().long()]
