"""Scenes -> gazes: where the objects are in an image, and how sure that is.

An image is searched from many starts (`search`), or from the single one whose context covers it. Where gazes converged,
duplicates are merged, what is measured there becomes a score and a probability (`evidence`), and Hamiltonian Monte
Carlo on log p(u | v, I), alternated with v and h1, makes the last adjustment and gives the posterior (`posterior`).

Every image is worked on alone, with random numbers keyed on the seed and on its content (or on a name, where the caller
gives one): its result does not depend on what else is in the folder, on order, on workers or on a restart, and a copy
under another name gets the same one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from foveate.attention.merge import merge, votes
from foveate.attention.models import Models
from foveate.attention.posterior import PosteriorSettings
from foveate.attention.refine import Refined, refine
from foveate.attention.search import (
    Look,
    SearchSettings,
    Trails,
    converge,
    look,
    start_gazes,
    whole_image_start,
    whole_image_starts,
)
from foveate.attention.shiftnet import ShiftNet
from foveate.attention.workers import map_images
from foveate.boltzmann.dbn import GaussianDBN
from foveate.memory import keep_large_blocks
from foveate.scenes.glimpse import share_outside
from foveate.scenes.pyramid import Pyramids


@dataclass(frozen=True)
class AttendSettings:
    """How images are attended."""

    starts: str = "many"  # or "one": the paper's single start
    max_gazes: int = 20  # gazes reported an image
    min_probability: float = 0.5  # gazes less probable are not reported
    one_steps: int = 10  # steps of the network from the single start
    settle: int = 3  # further steps of gazes that were kept after merging
    sample_above: float = 0.2  # probability from which a gaze's posterior is sampled; the best gaze's always is
    candidates: int = 40  # gazes kept after merging, before they are scored
    search: SearchSettings = field(default_factory=SearchSettings)
    posterior: PosteriorSettings = field(default_factory=PosteriorSettings)
    largest: int = 1600  # longest side at which image files are attended, pixels; larger ones are reduced on reading
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """One object, or what may be one.

    Attributes:
        u: The gaze (a, b, tx, ty): posterior mean where there is one, else where the network came to rest.
        score: Log-odds in nats by which gazes are ranked.
        probability: P(object | score).
        std: Posterior standard deviations of (a, b, tx, ty), pixels; NaN where the chains did not move.
        trail: Every gaze on the way, the start first.
        network_steps: How many of the trail's steps are the network's; the rest are Monte Carlo's.
        posterior: What the chains found, None where they were not run.
    """

    u: Float[np.ndarray, "4"]
    score: float
    probability: float
    std: Float[np.ndarray, "4"]
    trail: Float[np.ndarray, "steps 4"]
    network_steps: int
    posterior: Refined | None = None

    @property
    def spread(self) -> Float[np.ndarray, "4"] | None:
        """Posterior standard deviations of (log s, angle in radians, tx, ty); None without a posterior."""
        return None if self.posterior is None else self.posterior.spread

    def scaled(self, factor: float) -> "Found":
        """The same object in an image `factor` times the size."""
        posterior = self.posterior and self.posterior.scaled(factor)
        u, std, trail = self.u * factor, self.std * factor, self.trail * factor
        return replace(self, u=u, std=std, trail=trail, posterior=posterior)

    @property
    def flags(self) -> tuple[str, ...]:
        """What is wrong with the posterior's chains, in words."""
        return () if self.posterior is None else self.posterior.flags


class Candidates(NamedTuple):
    """Converged and merged gazes of one image, most promising first, with what was measured of them."""

    trails: Float[Tensor, "steps n 4"]
    look: Look
    measured: Float[np.ndarray, "n measured"]


def content_key(pixels: Shaped[np.ndarray, "..."]) -> str:
    """A name for an image that depends on its pixels alone: BLAKE2 of its type, shape and values."""
    digest = hashlib.blake2b(f"{pixels.dtype.str}{pixels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


class Attention:
    """Models looking at images.

    Attributes:
        models: What looks.
    """

    def __init__(self, models: Models):
        keep_large_blocks()
        self.models = models

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu") -> "Attention":
        """From a RUN folder; see `Models.load`."""
        return cls(Models.load(run).to(device))

    @property
    def gdbn(self) -> GaussianDBN:
        """The patch model."""
        return self.models.gdbn

    @property
    def shiftnet(self) -> ShiftNet:
        """The network that moves gazes."""
        return self.models.shiftnet

    def attend(
        self,
        images: Sequence[Shaped[np.ndarray, "_ _ 3"]],
        names: Sequence[str] | None = None,
        settings: AttendSettings | None = None,
    ) -> list[list[Found]]:
        """Looks for objects in images.

        Args:
            images: uint8, uint16 or float in [0, 1], each of any size.
            names: A name an image, on which its random numbers are keyed; its content by default.
            settings: How.

        Returns:
            The objects of each image, most probable first; gazes are in pixels of the image as given.
        """
        settings = settings or AttendSettings()
        names = [content_key(image) for image in images] if names is None else names
        work = list(zip(images, names, strict=True))
        return list(map_images(lambda each: self.attend_one(*each, settings), work, None if len(work) > 1 else 1))

    def attend_one(self, image: Shaped[np.ndarray, "h w 3"], name: str, settings: AttendSettings) -> list[Found]:
        """`attend` for one image."""
        pyramids = Pyramids.from_images([image])
        candidates = find(self.models, pyramids, settings)
        evidence = self.models.evidence
        scores = evidence.ranking.logit(candidates.measured)
        probabilities = evidence.calibration.probability(scores)
        gazes = candidates.trails[-1].numpy()
        order = np.lexsort((*gazes.T[::-1], -scores))
        order = order[probabilities[order] >= settings.min_probability][: settings.max_gazes]
        trails = candidates.trails[:, order]
        sampled = max(int((probabilities[order] >= settings.sample_above).sum()), min(len(order), 1))
        names = [f"{name} {rank}" for rank in range(sampled)]
        ends = trails[-1, :sampled]
        refined = refine(self.models, pyramids, [0] * sampled, ends, names, settings.posterior, settings.seed)
        return [
            _found(trails[:, k], float(scores[i]), float(probabilities[i]), refined[k] if k < len(refined) else None)
            for k, i in enumerate(order)
        ]


def find(models: Models, pyramids: Pyramids, settings: AttendSettings) -> Candidates:
    """Searches the single image of `pyramids`, merges what converged to the same place, and measures it."""
    height, width = int(pyramids.height[0, 0]), int(pyramids.width[0, 0])
    if settings.starts == "one":
        ends = _converge(models, pyramids, whole_image_start(width, height), settings.one_steps)
        ended = Ended(ends, np.ones(1), np.ones(1))
    else:
        ended = _search(models, pyramids, width, height, settings)
    trails = ended.trails
    outside = share_outside(pyramids, torch.zeros(len(ended.votes), dtype=torch.int64), trails.gazes[-1])
    seen = Look(trails.last_change, trails.features, trails.glimpse)
    measured = models.evidence.measure(models.gdbn, seen, ended.votes, ended.whole, outside)
    return Candidates(trails.gazes, seen, measured)


class Ended(NamedTuple):
    """Merged gazes: their trails, how many starts ended at each, and how many of those that cover the image."""

    trails: Trails
    votes: Float[np.ndarray, "n"]
    whole: Float[np.ndarray, "n"]


def _search(models: Models, pyramids: Pyramids, width: int, height: int, settings: AttendSettings) -> Ended:
    """Sends gazes out, follows the promising ones and those that cover the image, and merges where they end."""
    starts, covering = start_gazes(width, height, settings.search), whole_image_starts(width, height, settings.search)
    zeros = torch.zeros(len(starts), dtype=torch.int64)
    promise = models.evidence.promising(look(models.shiftnet, models.canonical, pyramids, zeros, starts).features)
    count = max(1, round(settings.search.keep * len(starts)))
    chosen = torch.sort(torch.argsort(promise, descending=True, stable=True)[:count]).values
    moved = _converge(models, pyramids, torch.cat((covering, starts[chosen])), settings.search.steps)
    from_whole = (torch.arange(moved.gazes.shape[1]) < len(covering)).double()
    sound = _sound(moved.gazes[-1], pyramids)
    ends = moved.gazes[-1][sound]
    # Where trails crowd most stands for its neighbours: their agreement says more than any score of a single look.
    merged = merge(ends, votes(ends))
    whole = np.bincount(merged.owner, weights=from_whole[sound].numpy(), minlength=len(merged.kept))
    # A gaze that the image as a whole led to is a candidate even where few others went.
    order = np.lexsort((np.arange(len(merged.kept)), whole == 0))[: settings.candidates]
    kept = torch.nonzero(sound)[:, 0][torch.from_numpy(merged.kept[order])]
    settled = _converge(models, pyramids, moved.gazes[-1][kept], settings.settle)
    steps = torch.cat((moved.gazes[:, kept], settled.gazes[1:]))
    again = merge(steps[-1], votes(steps[-1], weights=merged.votes[order]), weights=merged.votes[order])
    counts = np.bincount(again.owner, weights=whole[order], minlength=len(again.kept))
    last = torch.from_numpy(again.kept)
    trails = Trails(steps[:, last], settled.last_change[last], settled.features[last], settled.glimpse[last])
    return Ended(trails, again.votes, counts)


def _sound(gazes: Float[Tensor, "n 4"], pyramids: Pyramids) -> Tensor:
    """Gazes that are finite, centred within the image and neither tiny nor larger than it."""
    height, width = int(pyramids.height[0, 0]), int(pyramids.width[0, 0])
    s = torch.hypot(gazes[:, 0], gazes[:, 1])
    inside = (gazes[:, 2] >= 0) & (gazes[:, 2] <= width) & (gazes[:, 3] >= 0) & (gazes[:, 3] <= height)
    return torch.isfinite(gazes).all(1) & inside & (s >= 4) & (s <= max(height, width))


def _converge(models: Models, pyramids: Pyramids, starts: Float[Tensor, "n 4"], steps: int) -> Trails:
    zeros = torch.zeros(len(starts), dtype=torch.int64)
    return converge(models.shiftnet, models.canonical, pyramids, zeros, starts, steps)


def _found(trail: Float[Tensor, "steps 4"], score: float, probability: float, refined: Refined | None) -> Found:
    steps = trail.numpy()
    if refined is None:
        return Found(steps[-1], score, probability, np.full(4, np.nan), steps, len(steps) - 1)
    trail = np.concatenate((steps, refined.trail), axis=0)
    return Found(refined.u, score, probability, refined.std, trail, len(steps) - 1, refined)
