"""Scenes -> gazes: where the objects are in an image, and how sure that is.

An image is searched from many starts (`search`), or from the single one whose context covers it. Where gazes converged,
duplicates are merged, what is measured there becomes a score and a probability (`evidence`), and Hamiltonian Monte
Carlo on log p(u | v, I), alternated with v and h1, makes the last adjustment and gives the posterior (`posterior`).

Every image is worked on alone, with random numbers keyed on the seed and on its content (or on a name, where the caller
gives one): its result does not depend on what else is in the folder, on order, on workers or on a restart, and a copy
under another name gets the same one.
"""

from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from foveate.attention.evidence import HERE, NEAR
from foveate.attention.found import Found, found
from foveate.attention.merge import merge
from foveate.attention.models import Models
from foveate.attention.posterior.refine import Refined, Resting, refine, refine_many
from foveate.attention.search import follow, look, sound, start_gazes, votes, whole_image_start, whole_image_starts
from foveate.attention.settings import AttendSettings, SearchSettings
from foveate.attention.shiftnet import UNIT, ShiftNet
from foveate.boltzmann.dbn import GaussianDBN
from foveate.runtime.memory import keep_large_blocks
from foveate.runtime.progress import Progress
from foveate.runtime.workers import map_images
from foveate.scenes.glimpse import share_outside
from foveate.scenes.pixels import content_key
from foveate.scenes.pyramid import Pyramids


class Candidates(NamedTuple):
    """Gazes that came to rest in one image, several perhaps at one object, with what was measured of them."""

    trails: Float[Tensor, "steps n 4"]
    measured: Float[np.ndarray, "n measured"]


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
        ranked = _ranked(self.models, pyramids, settings)
        resting = ranked.resting(0, name)
        return _founds(ranked, refine(self.models, pyramids, resting, settings.posterior, settings.seed))


def attend_pyramids(
    models: Models,
    pyramids: Pyramids,
    images: Sequence[int],
    names: Sequence[str],
    settings: AttendSettings,
    progress: Progress,
    phase: str,
) -> list[list[Found]]:
    """`Attention.attend` for some of the images of pyramids at hand: the gazes of all are sampled together.

    Args:
        models: What looks.
        pyramids: The images.
        images: Numbers of those to attend.
        names: A name an image, on which its random numbers are keyed.
        settings: How.
        progress: Shows how far it is, and may stop it.
        phase: What it is called there.
    """
    if not images:
        return []
    ranked = []
    with progress.phase(phase, len(images)) as tick:
        for each in map_images(lambda i: _ranked(models, pyramids.only(i), settings), images):
            ranked.append(each)
            tick(len(ranked))
    each_resting = [r.resting(i, name) for r, i, name in zip(ranked, images, names, strict=True)]
    index, ends, keys = zip(*each_resting, strict=True)
    resting = Resting(list(chain(*index)), torch.cat(ends), list(chain(*keys)))
    with progress.phase(f"{phase}: posterior", len(resting.gazes)) as tick:
        refined = refine_many(models, pyramids, resting, settings.posterior, settings.seed, tick)
        return [_founds(each, list(islice(refined, each.sampled))) for each in ranked]


class _Ranked(NamedTuple):
    """What will be reported of an image, most probable first; the first `sampled` have their posterior sampled."""

    trails: Float[Tensor, "steps n 4"]
    scores: Float[np.ndarray, "n"]
    probabilities: Float[np.ndarray, "n"]
    sampled: int

    def resting(self, image: int, name: str) -> Resting:
        """The gazes whose posterior is sampled, in the image of this number and name."""
        names = [f"{name} {rank}" for rank in range(self.sampled)]
        return Resting([image] * self.sampled, self.trails[-1, : self.sampled], names)


def _ranked(models: Models, pyramids: Pyramids, settings: AttendSettings) -> _Ranked:
    """Searches the single image of `pyramids` and chooses what is reported."""
    candidates = find(models, pyramids, settings)
    evidence = models.trained_evidence
    scores = evidence.score(candidates.measured)
    probabilities = evidence.probability(scores)
    order = merge(candidates.trails[-1], scores).kept  # one gaze an object, the most probable first
    order = order[probabilities[order] >= settings.min_probability][: settings.max_gazes]
    sampled = max(int((probabilities[order] >= settings.sample_above).sum()), min(len(order), 1))
    return _Ranked(candidates.trails[:, order], scores[order], probabilities[order], sampled)


def _founds(ranked: _Ranked, refined: Sequence[Refined]) -> list[Found]:
    return [
        found(ranked.trails[:, k], float(score), float(probability), refined[k] if k < len(refined) else None)
        for k, (score, probability) in enumerate(zip(ranked.scores, ranked.probabilities, strict=True))
    ]


def find(models: Models, pyramids: Pyramids, settings: AttendSettings) -> Candidates:
    """Searches the single image of `pyramids`, and measures what speaks for an object where gazes came to rest."""
    height, width = int(pyramids.height[0, 0]), int(pyramids.width[0, 0])
    if settings.starts == "one":
        ended = Ended(_follow(models, pyramids, whole_image_start(width, height), settings.one_steps), np.ones(1))
    else:
        ended = _search(models, pyramids, width, height, settings.search)
    ended = _closer(models, pyramids, ended, settings.search.fine)
    trails, zeros = ended.trails, torch.zeros(len(ended.votes), dtype=torch.int64)
    outside = share_outside(pyramids, zeros, trails[-1])
    seen = look(models.shiftnet, models.canonical, pyramids, zeros, trails[-1])
    here = _verify(models, pyramids, trails[-1])[:, HERE]
    measured = models.trained_evidence.measure(models.gdbn, seen, here, ended.votes, outside)
    return Candidates(trails, measured)


def _verify(models: Models, pyramids: Pyramids, gazes: Float[Tensor, "n 4"]) -> Float[Tensor, "n 2"]:
    """The verifier's log-odds at each gaze, of an object near and of one here."""
    zeros = torch.zeros(len(gazes), dtype=torch.int64)
    # `look` takes a network's outputs for changes of gaze, in their units.
    change = look(models.trained_evidence.verifier, models.canonical, pyramids, zeros, gazes).change
    return change[:, [NEAR, HERE]] / torch.tensor(UNIT)[[NEAR, HERE]]


class Ended(NamedTuple):
    """Where gazes came to rest, each for a crowd: their trails, and how many starts of each hundred ended there."""

    trails: Float[Tensor, "steps n 4"]
    votes: Float[np.ndarray, "n"]


def _search(models: Models, pyramids: Pyramids, width: int, height: int, search: SearchSettings) -> Ended:
    """Sends gazes out, follows those with a prospect and those that cover the image, until they rest."""
    starts, covering = start_gazes(width, height, search), whole_image_starts(width, height, search)
    led = _follow(models, pyramids, starts, 1)
    prospect = _verify(models, pyramids, led[-1]).sum(1)
    count = max(1, round(search.keep * len(starts)))
    chosen = torch.sort(torch.argsort(prospect, descending=True, stable=True)[:count]).values
    led = torch.cat((_follow(models, pyramids, covering, 1), led[:, chosen]), 1)
    trails = torch.cat((led, _follow(models, pyramids, led[-1], search.steps - 1)[1:]))
    trails = trails[:, sound(trails[-1], pyramids)]
    # What merely lies within another is a crowd of its own: a face lies within the head and shoulders at which a gaze
    # may pause.
    agreed = votes(trails[-1])
    promise = _verify(models, pyramids, trails[-1])[:, HERE].numpy() + np.log(agreed)
    crowds = merge(trails[-1], promise, iou=search.crowd, inside=2.0)
    first, weights = torch.from_numpy(crowds.kept[: search.candidates]), crowds.votes[: search.candidates]
    gazes = torch.cat((trails[:, first], _follow(models, pyramids, trails[-1, first], search.settle)[1:]))
    good = torch.nonzero(sound(gazes[-1], pyramids))[:, 0]
    counts = votes(gazes[-1, good], weights=weights[good.numpy()]) * 100 / (len(starts) + len(covering))
    return Ended(gazes[:, good], counts)


def _closer(models: Models, pyramids: Pyramids, ended: Ended, steps: int) -> Ended:
    """The last steps, by the network that looks closer, where there is one."""
    if models.fine is None or not steps:
        return ended
    zeros = torch.zeros(len(ended.votes), dtype=torch.int64)
    led = follow(models.fine, models.canonical, pyramids, zeros, ended.trails[-1], steps)
    good = torch.nonzero(sound(led[-1], pyramids))[:, 0]
    return Ended(torch.cat((ended.trails, led[1:]))[:, good], ended.votes[good.numpy()])


def _follow(models: Models, pyramids: Pyramids, starts: Float[Tensor, "n 4"], steps: int) -> Float[Tensor, "gazes n 4"]:
    zeros = torch.zeros(len(starts), dtype=torch.int64)
    return follow(models.shiftnet, models.canonical, pyramids, zeros, starts, steps)
