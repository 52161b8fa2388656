"""What a run tells of itself: the scenes it looked at, the patches it learned, the figures it reached.

Training, attention, learning and evaluation fill these dataclasses and save them into RUN/story/; the page is made from
whatever it finds there. Nothing has to be there, and saving the same story again replaces it.

    story = RUN / "story"
    ScenesStory(scenes=[SceneStory(...), ...], total=5000).save(story)
    LocalizationStory(figures=figures, name="dev_helen").save(story)

Every picture may be given as a float tensor or array [3, height, width] in [0, 1], as uint8 [height, width, 3] or as a
PIL image; it is kept as uint8 [height, width, 3]. Gazes are in pixels of the whole photograph, whatever the thumbnail's
size.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from foveate.errors import BadInput
from foveate.report.packing import load_packed, save_packed
from foveate.report.pictures import Picture, Stack, as_picture, thumbnail

SCENES_SHOWN = 24
STEPS_SHOWN = 48
WALL_SHOWN = 120
REJECTED_SHOWN = 200


Number = float | int
Numbers = Sequence[Number] | np.ndarray | torch.Tensor


def numbers(values: Numbers) -> list[float]:
    """The numbers of a row as Python's own; None, which is how a file keeps NaN, is NaN again."""
    return [math.nan if number is None else float(number) for number in values]


def thin(items: list, most: int) -> list:
    """At most `most` of the items, the first and the last among them, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]


AnyChapter = TypeVar("AnyChapter", bound="Chapter")


class Chapter:
    """A part of the story that has one file of its own in the story's folder."""

    file: ClassVar[str]

    def save(self, folder: Path | str) -> Path:
        """Writes FOLDER/<file>.safetensors, replaced at once; with a `name`, FOLDER/<file>-<name>.safetensors.

        Of the name what a file's name can hold is left; where that is the file of another name, a hash tells the two
        apart.
        """
        name = str(getattr(self, "name", ""))
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
        path = Path(folder) / f"{self.file}{'-' + slug if slug else ''}.safetensors"
        if path.exists() and self._named(path) not in (name, None):
            path = path.with_stem(f"{path.stem}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}")
        return save_packed(path, self)

    @classmethod
    def _named(cls, path: Path) -> str | None:
        """The name under which a file was saved; None where it is damaged."""
        try:
            return str(getattr(load_packed(path, cls), "name", ""))
        except BadInput:
            return None

    @classmethod
    def load(cls: type[AnyChapter], folder: Path | str, name: str = "") -> AnyChapter | None:
        """The chapter saved under this name; None if there is none. A damaged file raises BadInput."""
        found = [chapter for chapter in cls.load_all(folder) if getattr(chapter, "name", "") == name]
        return found[0] if found else None

    @classmethod
    def load_all(cls: type[AnyChapter], folder: Path | str) -> list[AnyChapter]:
        """All chapters of this kind, whatever their names, in the order of their files' names."""
        pattern = re.compile(re.escape(cls.file) + r"(-[a-z0-9-]+)?\.safetensors")
        paths = sorted(Path(folder).glob(f"{cls.file}*"))
        return [load_packed(path, cls) for path in paths if pattern.fullmatch(path.name)]


@dataclass
class Step:
    """One moment of the inference of one scene.

    Args:
        u: The gaze (a, b, tx, ty), [4].
        kind: "start", "convnet" (a step of the ShiftNet) or "hmc" (a move of the sampler).
        glimpse: The pixels under the gaze, [3, 24, 24].
        v: The canonical image the model holds at that moment, in pixels (`GaussianDBN.to_pixels`).
        reconstruction: mu(h1), the mean that the hidden layer gives back, in pixels.
        score: Log-ratio of object against background, nats.
    """

    u: Numbers
    kind: str
    glimpse: Picture | None = None
    v: Picture | None = None
    reconstruction: Picture | None = None
    score: Number | None = None

    def __post_init__(self):
        self.u = numbers(self.u)
        for part in ("glimpse", "v", "reconstruction"):
            if getattr(self, part) is not None:
                setattr(self, part, as_picture(getattr(self, part)))
        self.score = None if self.score is None else float(self.score)


@dataclass
class Spread:
    """The posterior of one gaze as an ellipse and a wedge.

    Args:
        centre: Mean of (tx, ty), pixels.
        covariance: Of (tx, ty), 2 x 2, square pixels.
        angle: Circular mean, radians.
        angle_std: Circular standard deviation sqrt(-2 log R), radians.
        log_scale_std: Standard deviation of log s.
    """

    centre: Numbers
    covariance: Sequence[Numbers] | np.ndarray | torch.Tensor
    angle: Number
    angle_std: Number
    log_scale_std: Number | None = None

    def __post_init__(self):
        self.centre = numbers(self.centre)
        self.covariance = [numbers(row) for row in self.covariance]

    @classmethod
    def from_draws(cls, draws: Any) -> "Spread":
        """From posterior draws of u, [N, 4] (N of 2 or more); angles are averaged on the circle."""
        u = np.asarray(draws, dtype=np.float64)
        angles = np.arctan2(u[:, 1], u[:, 0])
        mean = np.exp(1j * angles).mean()
        return cls(
            centre=u[:, 2:].mean(axis=0).tolist(),
            covariance=np.cov(u[:, 2:].T).tolist(),
            angle=float(np.angle(mean)),
            angle_std=math.sqrt(max(0.0, -2.0 * math.log(max(abs(mean), 1e-12)))),
            log_scale_std=float(np.log(np.hypot(u[:, 0], u[:, 1]).clip(1e-12)).std(ddof=1)),
        )


@dataclass
class FoundGaze:
    """A gaze that the inference ended on.

    Args:
        u: The gaze, [4].
        probability: P(object | score).
        std: Posterior standard deviations as `attend` states them, [4].
        spread: The posterior's shape, drawn on the photograph.
        matched: Whether it overlaps a truth (None: not known).
    """

    u: Numbers
    probability: Number | None = None
    std: Numbers | None = None
    spread: Spread | None = None
    matched: bool | None = None
    score: Number | None = None

    def __post_init__(self):
        self.u = numbers(self.u)
        self.std = None if self.std is None else numbers(self.std)


@dataclass
class SceneStory:
    """The inference of one scene.

    Args:
        name: The picture's name as the user knows it.
        thumbnail: The whole photograph, any size; kept as a JPEG of at most 360 pixels.
        width, height: Of the photograph, pixels; gazes are in these.
        truths: Annotated gazes, [K][4], or None if unknown.
        steps: Of the best gaze, first to last; at most 48 are kept, evenly spread.
        found: Gazes, best first.
        success: Whether the best gaze hit a truth at IoU > 0.5; when nothing was annotated,
            None, or in a round of learning whether the scene taught.
        iou: Of the best gaze with its truth.
        note: A sentence shown under the picture (why rejected, what went wrong).
    """

    name: str
    thumbnail: Picture | bytes
    width: int
    height: int
    truths: Sequence[Numbers] | np.ndarray | torch.Tensor | None = None
    steps: list[Step] = field(default_factory=list)
    found: list[FoundGaze] = field(default_factory=list)
    success: bool | None = None
    iou: Number | None = None
    note: str = ""

    def __post_init__(self):
        self.thumbnail = thumbnail(self.thumbnail)
        self.width, self.height = int(self.width), int(self.height)
        self.steps = thin(self.steps, STEPS_SHOWN)
        if self.truths is not None:
            self.truths = [numbers(truth) for truth in self.truths]


@dataclass
class ScenesStory(Chapter):
    """Scenes that were attended: of more than 24, failures and successes in equal numbers, as far as there are.

    Args:
        scenes: The ones at hand; more than are shown may be given.
        total: How many were attended altogether.
        name: What they are ("dev_helen", "validation"); each name is kept in its own file.
        successes, failures: Counts over all that were attended, where known.
    """

    scenes: list[SceneStory]
    total: int
    name: str = ""
    successes: int | None = None
    failures: int | None = None
    file: ClassVar[str] = "scenes"

    def __post_init__(self):
        self.total = max(int(self.total), len(self.scenes))
        self.scenes = mixed(self.scenes, SCENES_SHOWN)


def mixed(scenes: list[SceneStory], most: int) -> list[SceneStory]:
    """At most `most` scenes in their given order: half failures, half others, either yielding what it can't fill."""
    bad = [index for index, scene in enumerate(scenes) if scene.success is False]
    good = [index for index, scene in enumerate(scenes) if scene.success is not False]
    share = min(len(bad), max(most // 2, most - len(good)))
    keep = sorted(thin(bad, share) + thin(good, most - share)) if len(scenes) > most else range(len(scenes))
    return [scenes[index] for index in keep]


@dataclass
class PatchStory(Chapter):
    """Aligned patches of the object, and what their average looks like when nothing aligns it.

    Args:
        patches: Real aligned patches the model learned from, [N, 3, 24, 24]; at most 512 are kept.
        total: How many there are altogether.
        crops: The aligned wall: the same objects cut out more finely, [M, 3, S, S] (S 48 to 96); at most 120 are kept.
        aligned_mean: Average of all aligned crops, [3, S, S]; without it, the average of `crops` or `patches`.
        jittered_mean: Average of crops around gazes that were shaken, [3, S, S].
        scene_mean: Average of the whole scenes, each scaled to one square, [3, S, S].
        validation: Patches held out, [N, 3, 24, 24]; at most 512 are kept.
    """

    patches: Stack
    total: int = 0
    crops: Stack | None = None
    aligned_mean: Picture | None = None
    jittered_mean: Picture | None = None
    scene_mean: Picture | None = None
    validation: Stack | None = None
    name: str = ""
    file: ClassVar[str] = "patches"

    def __post_init__(self):
        self.total = max(int(self.total), len(self.patches))
        for part, most in (("patches", 512), ("crops", WALL_SHOWN), ("validation", 512)):
            if getattr(self, part) is not None:
                setattr(self, part, as_picture(getattr(self, part)[:most]))
        for part in ("aligned_mean", "jittered_mean", "scene_mean"):
            if getattr(self, part) is not None:
                setattr(self, part, as_picture(getattr(self, part)))
