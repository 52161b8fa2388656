"""What is seen where no object is: at the ends of searches that went astray (hard negatives), and anywhere else."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.models import Models
from foveate.attention.nms import non_maximum_suppression
from foveate.attention.proposals import FLOOR
from foveate.attention.settings import AttendSettings
from foveate.attention.starts import lead
from foveate.errors import BadInput
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.runtime.workers import map_images
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.training.gallery import Gallery
from foveate.training.labels import ELSEWHERE, NOWHERE, Objects

DISTINCT = 0.6  # overlap from which two hard negatives of one image are the same
WINDOWS = 6  # random windows of each scene, for the background model
MOST = 6000  # hard negatives that make the background model
FOLDS = 5  # of images, by which it is whitened


def hard_negatives(
    models: Models, gallery: Gallery, images: Sequence[int], attend: AttendSettings, progress: Progress
) -> Objects:
    """Distinct gazes of searches that ended where no object is: more than are followed otherwise."""
    many = replace(
        attend, starts="one" if models.periphery is None else "many", search=replace(attend.search, floor=FLOOR)
    )

    def ends(image: int) -> Float[Tensor, "n 4"]:
        last = lead(models, gallery.pyramids.only(image), many)[0][-1]
        last = last[gallery.label(image, last) == ELSEWHERE]
        return last[non_maximum_suppression(last, torch.zeros(len(last)), iou=DISTINCT, inside=2.0)]

    found = list(progress.over("hard negatives", map_images(ends, images), len(images)))
    image = torch.repeat_interleave(torch.tensor(list(images)), torch.tensor([len(each) for each in found]))
    return Objects(image, torch.cat(found))


def background_patches(
    models: Models, gallery: Gallery, images: Sequence[int], negatives: Objects, seed: int
) -> list[Float[Tensor, "n d"]]:
    """What is seen at hard negatives and through random windows, in the patch model's units; by folds of images.

    Raises:
        BadInput: Fewer than two images show a place without an object.
    """
    chosen = torch.randperm(len(negatives.image), generator=generator(seed, "background"))[:MOST]
    windows = _random_windows(gallery, images, WINDOWS, seed)
    image = torch.cat((negatives.image[chosen], windows.image))
    seen = models.gdbn.standardise(glimpses(gallery.pyramids, image, torch.cat((negatives.gaze[chosen], windows.gaze))))
    fold = torch.unique(image, return_inverse=True)[1] % FOLDS
    folds = [seen[fold == number].cpu() for number in range(FOLDS) if bool((fold == number).any())]
    if len(folds) < 2:
        raise BadInput(f"places without an object in {len(folds)} of the images: a background model needs two or more")
    return folds


def _random_windows(gallery: Gallery, images: Sequence[int], count: int, seed: int) -> Objects:
    """Windows anywhere in the images at any size and angle, away from objects and ignored regions."""
    pyramids, image_of, kept = gallery.pyramids, [NOWHERE.image], [NOWHERE.gaze]
    for image in images:
        rng = generator(seed, "windows", gallery.names[image])
        uniform = torch.rand(4, 4 * count, generator=rng, dtype=torch.float64)
        width, height = float(pyramids.width[image, 0]), float(pyramids.height[image, 0])
        s = 8.0 * (max(min(width, height) / 2, 9.0) / 8.0) ** uniform[0]
        u = gaze.from_scale_angle(s, (uniform[1] - 0.5) * 6.28, uniform[2] * width, uniform[3] * height)
        clear = gallery.label(image, u) == ELSEWHERE
        if len(objects := gallery.of(image)):
            distance = torch.linalg.vector_norm(u[:, None, 2:] - objects[None, :, 2:], dim=-1)
            clear &= (distance > 0.5 * gaze.scale(objects)).all(1)
        kept.append(u[clear][:count])
        image_of.append(torch.full((len(kept[-1]),), image))
    return Objects(torch.cat(image_of), torch.cat(kept))
