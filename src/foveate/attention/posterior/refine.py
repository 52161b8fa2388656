"""The last adjustment and the error bar of converged gazes: their posterior by importance sampling from the network's
law of error, by Hamiltonian Monte Carlo where its weights can't be believed, or where that is asked for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.found import DISAGREEING, Refined
from foveate.attention.models import Models
from foveate.attention.posterior.importance import TRUSTED, Weighed, adapted, law_of_error, weigh
from foveate.attention.posterior.law import Law, pushed
from foveate.attention.posterior.sample import sample
from foveate.attention.posterior.summary import Posterior, circular_std, mean_gaze
from foveate.attention.posterior.target import gaze_targets
from foveate.attention.settings import PosteriorSettings
from foveate.runtime.workers import map_images
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids

TOGETHER = 16  # gazes of many images sampled at a time: the patch model's weights are then read once for many chains
TRAIL = 8  # gazes of the sampler on the trail
ADAPTED = 2  # times that a proposal is adapted before chains are run


class Resting(NamedTuple):
    """Gazes that came to rest."""

    index: Sequence[int]  # which image each looks at
    gazes: Float[Tensor, "n 4"]  # where the network left it
    names: Sequence[str]  # a unique name a gaze, which keys its random numbers

    def take(self, rows: Sequence[int]) -> "Resting":
        """Some of them."""
        return Resting([self.index[k] for k in rows], self.gazes[list(rows)], [self.names[k] for k in rows])


def refine(
    models: Models,
    pyramids: Pyramids,
    resting: Resting,
    settings: PosteriorSettings,
    seed: int,
    tick: Callable[[int], None] = lambda done: None,
    together: int | None = None,
) -> Iterator[Refined]:
    """The posterior of each gaze, tempered by what the evidence found to make stated spreads true.

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
        return _refine(models, pyramids, resting.take(filled), settings, seed)[: len(places)]

    done = 0
    for batch in map_images(some, range(0, count, max(size, 1)), None if together else 1):
        done += len(batch)
        tick(done)  # not after: a reader that has all it wants never comes back
        yield from batch


def _refine(
    models: Models, pyramids: Pyramids, resting: Resting, settings: PosteriorSettings, seed: int
) -> list[Refined]:
    evidence = models.evidence
    temper = 1.0 if evidence is None else evidence.temper
    law = None if evidence is None or settings.target != "collapsed" else evidence.law
    around = None if law is None else resting_spread(models, law, pyramids, resting)
    tempered = replace(settings, temperature=settings.temperature * temper)
    if around is None or settings.method == "hmc":
        return _by_chains(models, pyramids, resting, tempered, seed, around)
    refined = _by_weights(models, pyramids, resting, tempered, seed, around)
    for k, each in enumerate(refined):
        if not each.pareto_k <= TRUSTED:
            (chains,) = _by_chains(models, pyramids, resting.take([k]), tempered, seed, around[[k]])
            refined[k] = replace(chains, pareto_k=each.pareto_k)
    return refined


def resting_spread(models: Models, law: Law, pyramids: Pyramids, resting: Resting) -> Float[Tensor, "n 4"]:
    """How far off the network leaves these gazes by its law of error."""
    if law.is_constant:
        return torch.from_numpy(law.usual).expand(len(resting.gazes), 4)
    return torch.from_numpy(law.spread(pushed_gazes(models, pyramids, resting.index, resting.gazes)))


def pushed_gazes(
    models: Models, pyramids: Pyramids, index: Sequence[int], gazes: Float[Tensor, "n 4"]
) -> Float[np.ndarray, "n features"]:
    """The features of gazes, on which the law of error depends: by the network that looks closest (`law.pushed`)."""
    return pushed(models.fine or models.shiftnet, models.canonical, pyramids, index, gazes)


def _by_chains(
    models: Models,
    pyramids: Pyramids,
    resting: Resting,
    settings: PosteriorSettings,
    seed: int,
    around: Float[Tensor, "n 4"] | None,
) -> list[Refined]:
    index, gazes, names = resting
    posterior = sample(
        pyramids, np.asarray(index, dtype=np.int64), gazes, names, models.conditionals, settings, seed, around=around
    )
    return [_of_chains(posterior, k, gazes[k], anywhere=around is None) for k in range(len(gazes))]


def _by_weights(
    models: Models,
    pyramids: Pyramids,
    resting: Resting,
    settings: PosteriorSettings,
    seed: int,
    around: Float[Tensor, "n 4"],
) -> list[Refined]:
    """Points of the law of error; of a gaze at which they can't be trusted, points of proposals adapted to them.

    What is done again is done for each gaze alone, so that what is found of it doesn't depend on how many more there
    are.
    """
    weighed = _weigh(models, pyramids, resting, settings, seed, around)
    refined = [_of_points(weighed, k, u) for k, u in enumerate(resting.gazes)]
    for k in range(len(refined)):
        one, points = resting.take([k]), weighed.take([k])
        for _ in range(ADAPTED):
            if points.k[0] <= TRUSTED or not points.weight.any():
                break
            points = _weigh(models, pyramids, one, settings, seed, around[[k]], points)
            refined[k] = _of_points(points, 0, one.gazes[0])
    return refined


def _weigh(
    models: Models,
    pyramids: Pyramids,
    resting: Resting,
    settings: PosteriorSettings,
    seed: int,
    around: Float[Tensor, "n 4"],
    before: Weighed | None = None,
) -> Weighed:
    """Weighed points of the law of error, or of a proposal adapted to those from `before`."""
    index, gazes, names = resting
    size = models.conditionals.size
    blank = torch.zeros(len(gazes), 3, size, size)
    targets = gaze_targets(
        pyramids, np.asarray(index, dtype=np.int64), gazes, blank, blank[:1], settings.prior, 1.0, settings.pyramid
    )
    targets.prior[:, 0] = 0.0  # no flat prior beside the law of error
    law = law_of_error(targets, gazes, around)

    def log_density(glimpse: Float[Tensor, "looks 3 size size"]) -> Float[Tensor, "looks"]:
        return -models.gdbn.grbm.free_energy(models.gdbn.standardise(glimpse)).cpu()

    proposal = None if before is None else adapted(before, targets, law)
    return weigh(log_density, targets, law, names, settings.temperature, seed, proposal)


def _of_points(weighed: Weighed, k: int, start: Float[Tensor, "4"]) -> Refined:
    """What the weighed points of gaze `k` say; trusted or not is for others to judge."""
    points, weight = weighed.gazes[k], weighed.weight[k]
    if not float(weight.sum()) > 0:  # the prior leaves nothing of it
        weight = torch.full_like(weight, torch.nan)
    mean = mean_gaze(points, weight)
    log_scale, turn = torch.log(gaze.scale(points)), gaze.angle_difference(gaze.angle(points), gaze.angle(mean))

    def deviation(values: Float[Tensor, "*points"]) -> Tensor:
        away = values - (weight @ values)
        return torch.sqrt(weight @ away.square())

    spread = torch.cat((deviation(log_scale)[None], circular_std(turn, weight)[None], deviation(points[:, 2:])))
    u = mean if bool(torch.isfinite(mean).all()) and not _has_left(mean, start) else start.double()
    return Refined(
        u=u.numpy(),
        std=deviation(points).numpy(),
        spread=spread.numpy(),
        trail=u[None].numpy(),
        draws=points[None, : len(points) if bool(torch.isfinite(weight).all()) else 0].numpy(),
        rhat=np.full(4, np.nan),
        ess=np.full(4, weighed.ess[k]),
        acceptance=np.empty(0),
        flags=(),
        pareto_k=float(weighed.k[k]),
        weight=weight[torch.isfinite(weight)].numpy(),
    )


def _of_chains(posterior: Posterior, k: int, start: Float[Tensor, "4"], anywhere: bool) -> Refined:
    """What the chains of gaze `k` say; where no prior holds them they may be `anywhere`, and disagreeing is a doubt."""
    std = posterior.std_log_scale[k : k + 1], torch.deg2rad(posterior.std_angle[k : k + 1]), posterior.std_centre[k]
    found = Refined(
        u=posterior.mean[k].numpy(),
        std=posterior.std[k].numpy(),
        spread=torch.cat(std).numpy(),
        trail=_means_so_far(posterior.draws[k]).numpy(),
        draws=posterior.draws[k].numpy(),
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
