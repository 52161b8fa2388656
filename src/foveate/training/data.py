"""What models are trained on: annotated scenes, of which a share is held out to validate and calibrate."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.errors import BadInput
from foveate.runtime.progress import Progress
from foveate.scenes.examination import FEWEST
from foveate.scenes.folder import Scenes
from foveate.training.gallery import Gallery, join, load_gallery
from foveate.training.labels import Objects
from foveate.training.settings import TrainSettings
from foveate.training.synthetic.sideways import sideways


@dataclass(frozen=True)
class TrainingData:
    """Scenes, and which of them train."""

    gallery: Gallery  # the scenes
    fit: Sequence[int]  # numbers of those that train
    held_out: Sequence[int]  # numbers of those that train nothing
    # how far gazes in each scene may be off, standard deviations of (log s, angle, x / s, y / s): 0 where they are
    # annotated and not inferred; None where all are
    unsure: Float[Tensor, "scenes 4"] | None = None

    @cached_property
    def objects(self) -> Objects:
        """The objects in the scenes that train."""
        return self.gallery.subset(self.fit)

    @cached_property
    def held_out_objects(self) -> Objects:
        """The objects in those held out."""
        return self.gallery.subset(self.held_out)


def load_data(scenes: Scenes, settings: TrainSettings, progress: Progress) -> TrainingData:
    """Reads scenes, and holds a share of them out by a hash of their names.

    Raises:
        BadInput: Too few scenes hold an object or can be read.
    """
    gallery = load_gallery(scenes.scenes, progress, settings.largest)
    with_object = len(torch.unique(gallery.objects.image))
    if with_object < FEWEST:
        raise BadInput(f"{with_object} scenes with an annotated object: at least {FEWEST} are needed")
    data = TrainingData(gallery, *gallery.hold_out(settings.held_out, settings.seed))
    if not len(data.held_out_objects.image) or not len(data.objects.image):
        raise BadInput("the scenes held out for validation, or those left, hold no object: give more annotated scenes")
    return data


def with_sideways(data: TrainingData, settings: TrainSettings, progress: Progress) -> TrainingData:
    """With copies of scenes that train, in which objects seem turned out of the plane; what is held out stays."""
    if settings.sideways.share <= 0:
        return data
    store = data.gallery.pyramids.store
    copies = sideways(data.gallery, data.fit, settings.sideways, settings.seed, progress, store)
    wider = join(data.gallery, copies)
    return TrainingData(wider, [*data.fit, *range(len(data.gallery.names), len(wider.names))], data.held_out)
