"""The last adjustment and the error bar of converged gazes: their posterior by Hamiltonian Monte Carlo
(`posterior`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.found import DISAGREEING, Refined
from foveate.attention.models import Models
from foveate.attention.posterior.sample import sample
from foveate.attention.posterior.summary import Posterior, mean_gaze
from foveate.attention.settings import PosteriorSettings
from foveate.runtime.workers import map_images
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids

TOGETHER = 16  # gazes of many images sampled at a time: the patch model's weights are then read once for many chains
TRAIL = 8  # gazes of the sampler on the trail
KEPT = 60  # draws kept for drawing spreads


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


def refine(
    models: Models,
    pyramids: Pyramids,
    resting: Resting,
    settings: PosteriorSettings,
    seed: int,
    tick: Callable[[int], None] = lambda done: None,
    together: int | None = None,
) -> Iterator[Refined]:
    """Samples the posterior of each gaze, tempered by what the evidence found to make stated spreads true.

    Where several are sampled together, the last few are filled up with copies, which are thrown away: in products of
    one shape a row's last bits don't depend on where it stands and on what stands beside it, so neither does what is
    found of a gaze.

    Args:
        models: Patch model and evidence.
        pyramids: The images.
        resting: The gazes.
        settings: How; its temperature multiplies the evidence's.
        seed: Of the random numbers.
        tick: Called with the number of gazes done.
        together: Gazes sampled at a time; all if left out, which suits those of a single image.

    Yields:
        One for each gaze.
    """
    count = len(resting.names)
    size = together or count

    def some(first: int) -> list[Refined]:
        places = range(first, min(first + size, count))
        filled = [*places, *[places[-1]] * (size - len(places))]
        part = Resting([resting.index[k] for k in filled], resting.gazes[filled], [resting.names[k] for k in filled])
        return _refine(models, pyramids, part, settings, seed)[: len(places)]

    done = 0
    for batch in map_images(some, range(0, count, max(size, 1)), None if together else 1):
        done += len(batch)
        tick(done)  # not after: a reader that has all it wants never comes back
        yield from batch


def _refine(
    models: Models, pyramids: Pyramids, resting: Resting, settings: PosteriorSettings, seed: int
) -> list[Refined]:
    index, gazes, names = resting
    evidence = models.evidence
    temper = 1.0 if evidence is None else evidence.temper
    known = evidence is not None and settings.target == "collapsed" and bool((evidence.spread > 0).all())
    around = evidence.spread if evidence is not None and known else None
    tempered = replace(settings, temperature=settings.temperature * temper)
    posterior = sample(
        pyramids, np.asarray(index, dtype=np.int64), gazes, names, models.conditionals, tempered, seed, around=around
    )
    return [_of_chains(posterior, k, gazes[k], anywhere=around is None) for k in range(len(gazes))]


def _of_chains(posterior: Posterior, k: int, start: Float[Tensor, "4"], anywhere: bool) -> Refined:
    """What the chains of gaze `k` say; where no prior holds them they may be `anywhere`, and disagreeing is a doubt."""
    std = posterior.std_log_scale[k : k + 1], torch.deg2rad(posterior.std_angle[k : k + 1]), posterior.std_centre[k]
    found = Refined(
        u=posterior.mean[k].numpy(),
        std=posterior.std[k].numpy(),
        spread=torch.cat(std).numpy(),
        trail=_means_so_far(posterior.draws[k]).numpy(),
        draws=_thin(posterior.draws[k].flatten(0, 1), KEPT).numpy(),
        rhat=posterior.rhat[k].numpy(),
        ess=posterior.ess[k].numpy(),
        acceptance=posterior.acceptance[k].numpy(),
        flags=posterior.flags[k],
    )
    doubtful = bool(found.doubts) or (anywhere and DISAGREEING in found.flags) or not np.isfinite(found.u).all()
    u = start.numpy() if doubtful or _has_left(posterior.mean[k], start) else found.u
    return replace(found, u=u, trail=np.concatenate((found.trail, u[None])))


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
