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
from foveate.attention.posterior.importance import Weighed, law_of_error, weigh
from foveate.attention.posterior.law import Law, pushed
from foveate.attention.posterior.sample import sample
from foveate.attention.posterior.summary import Posterior, circular_std, mean_gaze
from foveate.attention.posterior.target import gaze_targets
from foveate.attention.settings import PosteriorSettings
from foveate.errors import present
from foveate.runtime.workers import map_images
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids

TOGETHER = 16  # gazes of many images sampled at a time: the patch model's weights are then read once for many chains
TRAIL = 8  # gazes of the sampler on the trail
ADAPTED = 4  # times that a proposal is adapted before chains are run


class Resting(NamedTuple):
    """Gazes that came to rest."""

    index: Sequence[int]  # which image each looks at
    gazes: Float[Tensor, "n 4"]  # where the network left it
    names: Sequence[str]  # a unique name a gaze, which keys its random numbers
    around: Float[Tensor, "n 4"] | None = None  # how far off the network leaves it; None where that isn't known

    def take(self, rows: Sequence[int]) -> "Resting":
        """Some of them."""
        some = list(rows)
        around = None if self.around is None else self.around[some]
        return Resting([self.index[k] for k in some], self.gazes[some], [self.names[k] for k in some], around)


def refine(
    models: Models,
    pyramids: Pyramids,
    resting: Resting,
    settings: PosteriorSettings,
    seed: int,
    tick: Callable[[int], None] = lambda done: None,
    together: int | None = None,
    chains: bool = True,
) -> Iterator[Refined]:
    """The posterior of each gaze, tempered by what the evidence found to make stated spreads true.

    Where several are sampled together, the last few are filled up with copies, which are thrown away: in products of
    one shape a row's last bits don't depend on where it stands and on what stands beside it, so neither does what is
    found of a gaze.

    Args:
        settings: How; its temperature multiplies the evidence's.
        tick: Called with the number of gazes done.
        together: Gazes sampled at a time; all if left out, which suits those of a single image.
        chains: Whether they run where weights can't be believed; else these are taken as they are.
    """
    count = len(resting.names)
    size = together or count

    def some(first: int) -> list[Refined]:
        places = range(first, min(first + size, count))
        filled = [*places, *[places[-1]] * (size - len(places))]
        return _refine(models, pyramids, resting.take(filled), settings, seed, chains)[: len(places)]

    done = 0
    for batch in map_images(some, range(0, count, max(size, 1)), None if together else 1):
        done += len(batch)
        tick(done)  # not after: a reader that has all it wants never comes back
        yield from batch


@torch.inference_mode(False)  # the densities' gradients are taken
def _refine(
    models: Models, pyramids: Pyramids, resting: Resting, settings: PosteriorSettings, seed: int, chains: bool
) -> list[Refined]:
    evidence = models.evidence
    if evidence is not None:
        settings = replace(settings, temperature=settings.temperature * evidence.temper)
        if evidence.law is not None and settings.target == "collapsed":
            resting = resting._replace(around=_resting_spread(models, evidence.law, pyramids, resting))
    if resting.around is None or settings.method == "hmc":
        return _by_chains(models, pyramids, resting, settings, seed)
    refined = []
    for k, points in enumerate(_by_weights(models, pyramids, resting, settings, seed)):
        found = _of_points(points, resting.gazes[k])
        if chains and not points.trusted[0]:
            (sampled,) = _by_chains(models, pyramids, resting.take([k]), settings, seed)
            found = replace(sampled, pareto_k=found.pareto_k)
        refined.append(found)
    return refined


def _resting_spread(models: Models, law: Law, pyramids: Pyramids, resting: Resting) -> Float[Tensor, "n 4"]:
    if not law.weight.any():  # the same for all gazes
        return torch.from_numpy(law.usual).expand(len(resting.gazes), 4)
    return torch.from_numpy(law.spread(pushed_gazes(models, pyramids, resting.index, resting.gazes)))


def pushed_gazes(
    models: Models, pyramids: Pyramids, index: Sequence[int], gazes: Float[Tensor, "n 4"]
) -> Float[np.ndarray, "n features"]:
    """The features of gazes, on which the law of error depends: by the network that looks closest (`law.pushed`)."""
    return pushed(models.fine or models.shiftnet, models.canonical, pyramids, index, gazes)


def _by_chains(
    models: Models, pyramids: Pyramids, resting: Resting, settings: PosteriorSettings, seed: int
) -> list[Refined]:
    index, gazes, names, around = resting
    posterior = sample(pyramids, np.asarray(index), gazes, names, models.conditionals, settings, seed, around)
    return [_of_chains(posterior, k, gazes[k], anywhere=around is None) for k in range(len(gazes))]


def _by_weights(
    models: Models, pyramids: Pyramids, resting: Resting, settings: PosteriorSettings, seed: int
) -> list[Weighed]:
    """Points of the law of error; of a gaze at which they can't be trusted, more of proposals adapted to them.

    What is done again is done for each gaze alone, so that what is found of it doesn't depend on how many more there
    are.
    """

    def weighed(resting: Resting, before: Weighed | None = None) -> Weighed:
        index, gazes, names, around = resting
        there = (pyramids, np.asarray(index), gazes)
        targets = gaze_targets(*there, models.conditionals.size, settings.prior, settings.pyramid, flat=False)
        law = law_of_error(targets, gazes, present(around, "the law of error"))
        return weigh(log_density, targets, law, names, settings.temperature, seed, before)

    def log_density(glimpse: Float[Tensor, "looks 3 size size"]) -> Float[Tensor, "looks"]:
        return -models.gdbn.grbm.free_energy(models.gdbn.standardise(glimpse)).cpu()

    first, found = weighed(resting), []
    for k in range(len(resting.names)):
        points = first.take(k)
        for _ in range(ADAPTED):
            if points.trusted[0] or not points.weight.any():
                break
            points = weighed(resting.take([k]), points)
        found.append(points)
    return found


def _of_points(weighed: Weighed, start: Float[Tensor, "4"]) -> Refined:
    """What the weighed points of a gaze say; trusted or not is for others to judge."""
    points, weight = weighed.gazes[0], weighed.weight[0]
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
        ess=np.full(4, weighed.ess[0]),
        acceptance=np.empty(0),
        flags=(),
        pareto_k=float(weighed.k[0]),
        weight=weight[torch.isfinite(weight)].numpy(),
    )


def _of_chains(posterior: Posterior, k: int, start: Float[Tensor, "4"], anywhere: bool) -> Refined:
    """What the chains of gaze `k` say; where no prior holds them they may be `anywhere`, and disagreeing is a doubt."""
    names = ("std", "spread", "draws", "rhat", "ess", "acceptance")
    parts = {name: getattr(posterior, name)[k].numpy() for name in names}
    mean = posterior.mean[k]
    found = Refined(u=mean.numpy(), trail=_means_so_far(posterior.draws[k]).numpy(), flags=posterior.flags[k], **parts)
    doubtful = bool(found.doubts) or (anywhere and DISAGREEING in found.flags) or not np.isfinite(found.u).all()
    u = start.numpy() if doubtful or _has_left(mean, start) else found.u
    return replace(found, u=u, trail=np.concatenate((found.trail, u[None])))


def _has_left(mean: Float[Tensor, "4"], start: Float[Tensor, "4"]) -> bool:
    """Whether the chains went to look at something else."""
    return float(gaze.iou(gaze.to_boxes(mean[None]), gaze.to_boxes(start[None]))) < 0.5


def _means_so_far(draws: Float[Tensor, "chain draw 4"]) -> Float[Tensor, "steps 4"]:
    """The mean gaze of all chains' draws up to some of them."""
    count = draws.shape[1]
    upto = torch.linspace(1, count, min(TRAIL, count)).round().long().tolist()
    return torch.stack([mean_gaze(draws[:, :n].flatten(0, 1)) for n in upto])
