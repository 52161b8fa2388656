"""What a run keeps of the scenes it looked at and the patches it learned.

Training, attention, learning and evaluation fill these dataclasses and save them into RUN/story/; the page is made from
whatever it finds there. Nothing has to be there, and saving under the same name again replaces it.

    ScenesStory(scenes=[SceneStory(...), ...], total=5000, name="dev_helen").save(RUN / "story")

A picture is given as `pictures.as_picture` takes it and kept as uint8 [height, width, 3]. Gazes are in pixels of the
whole photograph, whatever the thumbnail's size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from foveate.attention.posterior.summary import circular_std, mean_gaze
from foveate.report.pictures import Picture, as_picture, thumbnail
from foveate.report.story_files import StoryFile
from foveate.scenes import gaze

SCENES_SHOWN = 24
STEPS_SHOWN = 48
WALL_SHOWN = 120
PATCHES_KEPT = 512

Number = float | int
Numbers = Sequence[Number]


def thin(items: list, most: int) -> list:
    """At most `most` of the items, the first and the last among them, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]


def to_pictures(story: Any, *names: str, most: int | None = None) -> None:
    """Makes attributes that are pictures, or stacks of them of which `most` are kept, uint8 [..., h, w, 3]."""
    for name in names:
        if (picture := getattr(story, name)) is not None:
            setattr(story, name, as_picture(picture[:most]))


@dataclass
class Step:
    """One step of the inference of one scene."""

    u: Numbers  # the gaze (a, b, tx, ty), [4]
    kind: str  # "start", "convnet" (a step of the ShiftNet), "mean" (to the posterior's) or "hmc" (of the sampler)
    glimpse: Picture | None = None  # the pixels under the gaze, [3, 24, 24]
    v: Picture | None = None  # the canonical image v at that step, in pixels (`GaussianDBN.to_pixels`)
    reconstruction: Picture | None = None  # mu(h1), the mean given the hidden layer, in pixels
    score: Number | None = None  # log-ratio of object against background, nats

    def __post_init__(self):
        to_pictures(self, "glimpse", "v", "reconstruction")


@dataclass
class Spread:
    """The posterior of one gaze as an ellipse and a wedge."""

    centre: Numbers  # mean of (tx, ty), pixels
    covariance: Sequence[Numbers]  # of (tx, ty), 2 x 2, square pixels
    angle: Number  # circular mean, radians
    angle_std: Number  # circular standard deviation sqrt(-2 log R), radians
    log_scale_std: Number  # standard deviation of log s

    @classmethod
    def from_draws(cls, draws: Float[np.ndarray, "draw 4"]) -> "Spread":
        """From two or more posterior draws of u; angles are averaged on the circle."""
        u = torch.as_tensor(draws, dtype=torch.float64)
        return cls(
            centre=u[:, 2:].mean(0).tolist(),
            covariance=torch.cov(u[:, 2:].T).tolist(),
            angle=float(gaze.angle(mean_gaze(u))),
            angle_std=float(circular_std(gaze.angle(u))),
            log_scale_std=float(gaze.scale(u).clamp(min=1e-12).log().std()),
        )


@dataclass
class FoundGaze:
    """A gaze that the inference ended on."""

    u: Numbers  # the gaze, [4]
    probability: Number  # P(object | score)
    spread: Spread | None = None  # the posterior, drawn on the photograph


@dataclass
class SceneStory:
    """The inference of one scene."""

    name: str  # the image's name as the user knows it
    thumbnail: Picture | bytes  # the whole photograph, any size; kept as a JPEG of at most 360 pixels
    width: int  # of the photograph, pixels; gazes are in these
    height: int
    truths: Sequence[Numbers] | None = None  # annotated gazes, [K][4], or None if unknown
    # of the best gaze, first to last; at most 48 are kept, evenly spread
    steps: list[Step] = field(default_factory=list)
    found: list[FoundGaze] = field(default_factory=list)  # gazes, best first
    # whether the best gaze hit a truth at IoU > 0.5; when nothing was annotated, None, or in a round of learning
    # whether the scene was used
    success: bool | None = None
    iou: Number | None = None  # of the best gaze with its truth
    note: str = ""  # a sentence shown under the picture (why rejected, what went wrong)

    def __post_init__(self):
        self.thumbnail = thumbnail(self.thumbnail)
        self.steps = thin(self.steps, STEPS_SHOWN)


def mixed(scenes: list[SceneStory], most: int) -> list[SceneStory]:
    """At most `most` scenes in their given order: half failures, half others, either yielding what it can't fill."""
    bad = [index for index, scene in enumerate(scenes) if scene.success is False]
    good = [index for index, scene in enumerate(scenes) if scene.success is not False]
    share = min(len(bad), max(most // 2, most - len(good)))
    keep = sorted(thin(bad, share) + thin(good, most - share)) if len(scenes) > most else range(len(scenes))
    return [scenes[index] for index in keep]


@dataclass
class ScenesStory(StoryFile):
    """Scenes that were attended: of more than 24, failures and successes in equal numbers, as far as there are."""

    scenes: list[SceneStory]  # the ones at hand; more than are shown may be given
    total: int  # how many were attended altogether
    name: str = ""  # what they are ("dev_helen", "held out")
    successes: int | None = None  # counts over all that were attended, where known
    failures: int | None = None
    order: int = 0
    folder: str = ""  # where the whole images are, seen from the page; empty if not beside it
    file: ClassVar[str] = "scenes"

    def __post_init__(self):
        self.scenes = mixed(self.scenes, SCENES_SHOWN)


@dataclass
class PatchStory(StoryFile):
    """Aligned patches of the object, and what their average looks like when nothing aligns it."""

    patches: Picture  # real aligned patches the model learned from, [N, 3, 24, 24]; at most 512 are kept
    total: int  # how many there are altogether
    # the same objects cut out more finely, [M, 3, S, S] (S 48 to 96); at most 120 are kept
    crops: Picture | None = None
    aligned_mean: Picture | None = None  # average of aligned crops, [3, S, S]
    scene_mean: Picture | None = None  # average of the whole scenes, each scaled to one square, [3, S, S]
    validation: Picture | None = None  # patches held out, [N, 3, 24, 24]; at most 512 are kept
    name: str = ""
    file: ClassVar[str] = "patches"

    def __post_init__(self):
        to_pictures(self, "patches", "validation", most=PATCHES_KEPT)
        to_pictures(self, "crops", most=WALL_SHOWN)
        to_pictures(self, "aligned_mean", "scene_mean")
