"""Scenes -> gazes: where the objects are in an image, and how sure that is.

    pyramid -> starts -> follow -> measure -> non-maximum suppression -> refine

Gazes set out (`starts`) and are led by the networks until they rest (`shiftnet.follow`). What is measured there becomes
a score and a probability (`evidence`); of the gazes at one object the most probable stays (`nms`). Its posterior, by
importance sampling or by Hamiltonian Monte Carlo, makes the last adjustment and says how sure it is (`posterior`).

Every image is worked on alone, with random numbers keyed on the seed and on its content (or on a name, where the caller
gives one): its result does not depend on what else is in the folder, on order, on workers or on a restart, and a copy
under another name gets the same one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from foveate.attention.found import Found
from foveate.attention.models import Models
from foveate.attention.nms import non_maximum_suppression
from foveate.attention.periphery import LEAST
from foveate.attention.posterior.conformal import region
from foveate.attention.posterior.prior import log_ratio_to_searched
from foveate.attention.posterior.refine import Resting, refine
from foveate.attention.proposals import Answers, look_again, support
from foveate.attention.settings import AttendSettings
from foveate.attention.shiftnet import ShiftNet, follow, sound
from foveate.attention.starts import STRATEGIES
from foveate.boltzmann.dbn import GaussianDBN
from foveate.runtime.memory import keep_large_blocks
from foveate.runtime.progress import Progress, Quiet
from foveate.runtime.workers import map_images
from foveate.scenes.glimpse import glimpses, share_outside
from foveate.scenes.pixels import content_key
from foveate.scenes.pyramid import Pyramids


class Candidates(NamedTuple):
    """Gazes that came to rest in one image, several perhaps at one object.

    Attributes:
        trails: The way of each.
        measured: The figures of `evidence.MEASURED` where it came to rest.
        prior: log p(u) - log p0(u) there, nats; see `log_ratio_to_searched`.
    """

    trails: Float[Tensor, "steps n 4"]
    measured: Float[np.ndarray, "n measured"]
    prior: Float[np.ndarray, "n"]


class Seen(NamedTuple):
    """What attention makes of one image."""

    founds: list[Found]  # the objects, most probable first
    others: list[Found]  # distinct places that are not reported, less probable or too many, most probable first
    places: Float[Tensor, "n 4"]  # where gazes came to rest, several perhaps at one object
    scores: Float[np.ndarray, "n"]  # log-odds of an object at each place


def attend(
    models: Models,
    pyramids: Pyramids,
    names: Mapping[int, str],
    settings: AttendSettings,
    progress: Progress | None = None,
    phase: str = "attending",
    together: int | None = None,
) -> list[Seen]:
    """Searches images, ranks what was found, refines the best of it: whoever attends does it here.

    Args:
        models: What looks.
        pyramids: The images.
        names: Of each image to attend, by its number in `pyramids`; its random numbers are keyed on the name.
        settings: How.
        progress: Shows how far it is, and may stop it.
        phase: What it is called there.
        together: Gazes, of several images perhaps, whose posteriors are sampled at a time; see `refine`.
    """

    def look_over(image: int) -> Seen:
        return rank(models, search(models, pyramids.only(image), settings), settings)

    progress, seen = progress or Quiet(), []
    with progress.phase(phase, len(names)) as tick:
        for each in map_images(look_over, names, 1 if len(names) == 1 else None):
            seen.append(each)
            tick(len(seen))
    chosen, resting = _probable(names, seen, settings)
    with progress.phase(f"{phase}: posterior", len(chosen)) as tick:
        refined = refine(models, pyramids, resting, settings.posterior, settings.seed, tick, together)
        for (founds, k), posterior in zip(chosen, refined, strict=True):
            founds[k] = founds[k].refined(posterior)
            if settings.coverage is not None:
                errors = models.trained_evidence.errors.numpy()
                founds[k] = replace(founds[k], region=region(posterior.spread, errors, settings.coverage))
    return seen


def search(models: Models, pyramids: Pyramids, settings: AttendSettings) -> Candidates:
    """Leads gazes over the single image of `pyramids`, and measures what speaks for an object where they rest."""
    trails, answers = lead(models, pyramids, settings)
    here, gazes = _the_image(trails), trails[-1]
    glimpse, outside = glimpses(pyramids, here, gazes), share_outside(pyramids, here, gazes)
    again = torch.zeros(len(gazes)) if models.periphery is None else look_again(models.folded, pyramids, gazes)
    measured = models.trained_evidence.measure(models.gdbn, glimpse, support(answers, gazes), again, outside)
    width, height = int(pyramids.width[0, 0]), int(pyramids.height[0, 0])
    prior = log_ratio_to_searched(settings.posterior.prior, gazes, width, height, LEAST)
    return Candidates(trails, measured, prior.numpy())


def lead(models: Models, pyramids: Pyramids, settings: AttendSettings) -> tuple[Float[Tensor, "steps n 4"], Answers]:
    """Leads gazes over the single image of `pyramids` until they rest; and what the periphery says of the image."""
    gazes, answers, steps = STRATEGIES[settings.starts](models, pyramids, settings)
    trails = gazes[None]
    for net, count in ((models.shiftnet, steps), (models.fine, settings.search.fine)):
        if net is not None:
            led = follow(net, models.canonical, pyramids, _the_image(trails), trails[-1], count)
            trails = torch.cat((trails, led[1:]))
    return trails[:, sound(trails[-1], pyramids)], answers


def rank(models: Models, candidates: Candidates, settings: AttendSettings) -> Seen:
    """One gaze an object, the most probable first, by what was measured; none is refined yet."""
    trails, evidence = candidates.trails, models.trained_evidence
    scores = evidence.score(candidates.measured)
    probabilities = evidence.probability(scores, candidates.prior)
    scores = scores + candidates.prior
    order = non_maximum_suppression(trails[-1], scores)
    found = [Found.at_rest(trails[:, k].numpy().copy(), float(scores[k]), float(probabilities[k])) for k in order]
    return Seen(*reported(found, settings), trails[-1].clone(), scores)


def reported(found: list[Found], settings: AttendSettings) -> tuple[list[Found], list[Found]]:
    """Those of one image, most probable first, that are probable enough and not too many; and the others."""
    enough = sum(each.probability >= settings.min_probability for each in found)
    some = min(enough, settings.max_gazes)
    return found[:some], found[some:]


def _the_image(trails: Float[Tensor, "steps n 4"]) -> Tensor:
    """Where each gaze looks: at the one image there is."""
    return torch.zeros(trails.shape[1], dtype=torch.int64)


def _probable(
    names: Mapping[int, str], seen: Sequence[Seen], settings: AttendSettings
) -> tuple[list[tuple[list[Found], int]], Resting]:
    """The gazes whose posteriors are sampled, the best and the probable ones of each image, and where they stand."""
    chosen, index, gazes, keys = [], [], [], []
    for (image, name), (founds, *_) in zip(names.items(), seen, strict=True):
        for k, found in enumerate(founds):
            if settings.posterior.chains and (k == 0 or found.probability >= settings.sample_above):
                chosen.append((founds, k))
                index.append(image)
                gazes.append(torch.from_numpy(found.u))
                keys.append(f"{name} {k}")
    return chosen, Resting(index, torch.stack(gazes) if gazes else torch.zeros(0, 4, dtype=torch.float64), keys)


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
        return self.see(image, name, settings).founds

    def see(self, image: Shaped[np.ndarray, "h w 3"], name: str, settings: AttendSettings) -> Seen:
        """The objects of one image, and the places at which there is likely none."""
        (seen,) = attend(self.models, Pyramids.from_images([image]), {0: name}, settings)
        return seen
