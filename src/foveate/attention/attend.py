"""Scenes -> gazes: where the objects are in an image, and how sure that is.

    pyramid -> starts -> follow -> measure -> non-maximum suppression -> refine

Gazes set out (`starts`) and are led by the networks until they rest (`shiftnet.follow`). What is measured there becomes
a score and a probability (`evidence`); of the gazes at one object the most probable stays (`nms`). Its posterior, by
importance sampling or by Hamiltonian Monte Carlo, makes the last adjustment and says how sure it is (`posterior`).

Every image is worked on alone, with random numbers keyed on the seed and on its content (or on a name that is given):
its result depends on nothing else in the folder, on order, workers or a restart, and a copy gets the same one. The
command comes in by `Attention.see`, Python by `Attention.attend`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from foveate.attention.found import Found
from foveate.attention.mind import Like
from foveate.attention.models import Models
from foveate.attention.nms import modes, non_maximum_suppression
from foveate.attention.occlusion import explained
from foveate.attention.posterior.conformal import region
from foveate.attention.posterior.refine import Resting, refine
from foveate.attention.proposals import look_again, prior_ratio, support
from foveate.attention.settings import AttendSettings, configured, run_settings
from foveate.attention.shiftnet import ShiftNet
from foveate.attention.starts import lead
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput
from foveate.runtime.devices import keep_large_blocks
from foveate.runtime.progress import Progress, Quiet, shown
from foveate.runtime.workers import map_images
from foveate.scenes.glimpse import glimpses, share_outside
from foveate.scenes.inputs import AnyImage, as_picture, is_one
from foveate.scenes.pixels import content_key
from foveate.scenes.pyramid import Pyramids
from foveate.storage.config import override
from foveate.storage.run import Run


class Candidates(NamedTuple):
    """Gazes that came to rest in one image, several perhaps at one object.

    Attributes:
        trails: The way of each.
        measured: The figures of `evidence.MEASURED` where it came to rest.
        prior: log p(u) - log p0(u) there, nats; see `prior_ratio`.
        likeness: Nats that speak for the one in mind there; None where none is.
    """

    trails: Float[Tensor, "steps n 4"]
    measured: Float[np.ndarray, "n measured"]
    prior: Float[np.ndarray, "n"]
    likeness: Float[np.ndarray, "n"] | None = None


class Seen(NamedTuple):
    """What attention makes of one image."""

    founds: list[Found]  # the objects, most probable first
    others: list[Found]  # distinct places that are not reported, less probable or too many, most probable first
    places: Float[Tensor, "n 4"]  # where gazes came to rest, several perhaps at one object
    scores: Float[np.ndarray, "n"]  # log-odds of an object at each place
    figures: Float[np.ndarray, "figures"] | None = None  # see `familiarity`, of a RUN that knows usual ones


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

    `names` are of each image to attend, by its number in `pyramids`; random numbers are keyed on them. `phase` is what
    it is called in `progress`, which may stop it; `together` gazes' posteriors are sampled at a time (`refine`).
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
    if settings.visible:
        for image, each in zip(names, seen, strict=True):
            each.founds[:] = explained(models.occlusion, models.gdbn, pyramids, image, each.founds)
    return seen


def search(models: Models, pyramids: Pyramids, settings: AttendSettings) -> Candidates:
    """Leads gazes over the single image of `pyramids`, and measures what speaks for an object where they rest."""
    trails, answers = lead(models, pyramids, settings)
    gazes, here = trails[-1], torch.zeros(trails.shape[1], dtype=torch.int64)
    glimpse, outside = glimpses(pyramids, here, gazes), share_outside(pyramids, here, gazes)
    again = torch.zeros(len(gazes)) if models.periphery is None else look_again(models.folded, pyramids, gazes)
    measured = models.trained_evidence.measure(models.gdbn, glimpse, support(answers, gazes), again, outside)
    prior = prior_ratio(settings.posterior.prior, pyramids, gazes)
    likeness = None if models.mind is None else models.mind.likeness(glimpse)
    return Candidates(trails, measured, prior.numpy(), likeness)


def rank(models: Models, candidates: Candidates, settings: AttendSettings) -> Seen:
    """One gaze an object, the most probable, or likely the one in mind, first; none is refined yet."""
    trails, evidence = candidates.trails, models.trained_evidence
    scores = evidence.score(candidates.measured)
    probabilities = evidence.probability(scores, candidates.prior)
    scores = scores + candidates.prior
    likeness = None if candidates.likeness is None else candidates.likeness + np.log(np.maximum(probabilities, 1e-300))
    order = non_maximum_suppression(trails[-1], scores if likeness is None else likeness)
    alike = [None] * len(scores) if likeness is None else likeness.tolist()
    ratios = evidence.log_ratio(models.gdbn, candidates.measured).tolist()
    unseen = evidence.unseen(probabilities).tolist()
    figures = list(zip(scores.tolist(), probabilities.tolist(), ratios, alike, unseen, strict=True))
    founds, others = reported([Found.at_rest(trails[:, k].numpy().copy(), *figures[k]) for k in order], settings)
    founds = [replace(each, modes=modes(each.u, trails[-1], scores)) for each in founds]
    return Seen(founds, others, trails[-1].clone(), scores)


def reported(found: list[Found], settings: AttendSettings) -> tuple[list[Found], list[Found]]:
    """Those of one image, in their order, that are probable enough and not too many; and the others."""
    some = [k for k, each in enumerate(found) if each.probability >= settings.min_probability][: settings.max_gazes]
    return [found[k] for k in some], [each for k, each in enumerate(found) if k not in some]


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
    """A trained run that looks at images.

    Attributes:
        models: What looks.
        settings: How it looks where nothing else is asked: as its RUN was trained and calibrated.
        config: What the RUN's config.toml says; empty where there is none.
    """

    def __init__(self, models: Models, settings: AttendSettings | None = None, config: Mapping[str, Any] | None = None):
        keep_large_blocks()
        self.models, self.settings, self.config = models, settings or AttendSettings(), dict(config or {})

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu") -> "Attention":
        """From a RUN folder, on a device of torch; see `Models.load`."""
        opened = Run.open(run)
        return cls(Models.load(run).to(device), run_settings(opened), opened.config)

    def __repr__(self) -> str:
        first, second = self.gdbn.grbm, self.gdbn.rbm
        sizes = f"{first.n_visible} visible, {first.n_hidden} + {second.n_hidden} hidden units"
        return f"Attention({self.category!r}, {sizes}, on {self.models.device})"

    @property
    def category(self) -> str:
        """The kind of object that it finds."""
        return self.config.get("category") or "object"

    @property
    def gdbn(self) -> GaussianDBN:
        """The patch model."""
        return self.models.gdbn

    @property
    def shiftnet(self) -> ShiftNet:
        """The network that moves gazes."""
        return self.models.shiftnet

    def to(self, device: str) -> "Attention":
        """Moves the models to a device of torch ("cpu", "cuda"); returns itself."""
        self.models = self.models.to(device)
        return self

    def looking_for(self, like: Like) -> "Attention":
        """The same with one object in mind: of an aligned crop, or at a gaze ("one.jpg:a,b,tx,ty", or both in a tuple);
        BadInput where it is no image, there is no such gaze in it, or nothing to see."""
        return Attention(self.models.looking_for(like), self.settings, self.config)

    def save(self, run: str | Path) -> Path:
        """Writes a RUN folder that `foveate.load` and every command read; BadInput where there is something already."""
        run = Path(run)
        if run.exists() and (not run.is_dir() or any(run.iterdir())):
            raise BadInput(f"{run} exists: name a folder that is not there yet")
        run.mkdir(parents=True, exist_ok=True)
        self.models.save(run)
        Run(run).write_config(configured(self.config, self.settings))
        return run

    @overload
    def attend(
        self, images: AnyImage, settings: AttendSettings | None = None, *, like: Like | None = None,
        progress: bool | Progress = True, **options: Any,
    ) -> list[Found]: ...  # fmt: skip

    @overload
    def attend(
        self, images: Iterable[AnyImage], settings: AttendSettings | None = None, *, like: Like | None = None,
        progress: bool | Progress = True, **options: Any,
    ) -> list[list[Found]]: ...  # fmt: skip

    def attend(
        self, images: Any, settings: Any = None, *, like: Any = None, progress: Any = True, **options: Any
    ) -> Any:
        """Looks for objects in an image, or in several: the same figures as `foveate attend` gives, to the last digit.

        Args:
            images: A path, a PIL image, a numpy array [height, width(, channels)] or a torch tensor [channels, height,
                width]; or several of these, a list or a generator, read as they are needed. `foveate.scenes.inputs`
                says what their numbers mean. What is larger than the setting `largest` is reduced to it.
            settings: How; the RUN's own by default.
            like: The one that is looked for (`looking_for`): what is most like it comes first, with its `likeness`.
            progress: Whether to show how far it is, if it takes longer than two seconds.
            options: Settings to change, by name: `min_probability=0.5`, `max_gazes=3`, `posterior={"chains": 0}`.

        Returns:
            The objects of an image, most probable (or like the one in mind) first, or a list of these for several
            images, in pixels of the image as given (of a file or a PIL image, as a person sees it).

        Raises:
            BadInput: One is no image that can be used, which is named; or there is no such setting.
        """
        settings = override(settings or self.settings, options, "attend", "attend.")
        if like is not None:
            return self.looking_for(like).attend(images, settings, progress=progress)
        if is_one(images):
            return self._attend_held(images, settings)

        def numbered(each: tuple[int, AnyImage]) -> list[Found]:
            try:
                return self._attend_held(each[1], settings)
            except BadInput as error:
                raise BadInput(f"image {each[0]}: {error}") from error

        found = []
        with shown(progress).phase("attend", len(images) if hasattr(images, "__len__") else None) as tick:
            for founds in map_images(numbered, enumerate(images)):
                found.append(founds)
                tick(len(found))
        return found

    __call__ = attend

    def _attend_held(self, image: Any, settings: AttendSettings) -> list[Found]:
        picture = as_picture(image, settings.largest, settings.page - 1)
        founds = self.attend_one(picture.pixels, content_key(picture.pixels), settings)
        founds = [found.pictured(picture.pixels) for found in founds]
        return founds if picture.scale == 1.0 else [found.moved(1.0 / picture.scale) for found in founds]

    def attend_one(self, image: Shaped[np.ndarray, "h w 3"], name: str, settings: AttendSettings) -> list[Found]:
        """The objects of one image (uint8, uint16 or in [0, 1]); random numbers are keyed on `name`."""
        (seen,) = attend(self.models, Pyramids.from_images([image]), {0: name}, settings)
        return seen.founds

    def see(self, image: Shaped[np.ndarray, "h w 3"], name: str, settings: AttendSettings) -> Seen:
        """As `attend_one`, with the places at which there is likely no object, and the figures of `familiarity`."""
        pyramids = Pyramids.from_images([image])
        (seen,) = attend(self.models, pyramids, {0: name}, settings)
        return seen._replace(figures=self.models.trained_evidence.figures(pyramids, seen.places, seen.scores))
