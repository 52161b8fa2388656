"""Training scenes in memory: their pyramids, and where the objects are in them.

Scenes are read at a size at which all of them fit a budget: what is learnt is 24x24 patches and 72x72 contexts, which
need no more than a moderate resolution of the object.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.errors import BadInput, FoveateError
from foveate.runtime.progress import Progress
from foveate.runtime.random import key
from foveate.runtime.workers import map_images
from foveate.scenes.folder import Scene, open_picture
from foveate.scenes.image import Picture
from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import Objects

BYTES_A_PIXEL = 8.0  # three channels of two bytes, and a third more for the levels above


class Gallery(NamedTuple):
    """Scenes that could be read.

    Attributes:
        pyramids: The scenes, perhaps reduced.
        names: Their names.
        objects: Where objects are annotated, in pixels of the pyramids.
        ignore: For each image, boxes (x0, y0, x1, y1) that are neither object nor background.
        problems: A line for every scene that could not be read.
        groups: What each scene belongs to when scenes are held out; None where each stands alone.
    """

    pyramids: Pyramids
    names: list[str]
    objects: Objects
    ignore: list[Float[Tensor, "regions 4"]]
    problems: list[str]
    groups: list[str] | None = None

    def held_together(self) -> list[str]:
        """The group of each scene; those of one group are on one side of a hold-out."""
        return self.names if self.groups is None else self.groups

    def of(self, image: int) -> Float[Tensor, "k 4"]:
        """The gazes of one image's objects."""
        return self.objects.gaze[self.objects.image == image]

    def without_objects(self) -> "Gallery":
        """The same scenes with nothing annotated, neither objects nor what to ignore."""
        none = torch.zeros(0, 4, dtype=torch.float64)
        nothing = Objects(torch.zeros(0, dtype=torch.int64), none)
        return self._replace(objects=nothing, ignore=[none] * len(self.names))

    def subset(self, images: Sequence[int]) -> Objects:
        """The objects that are in some of the images."""
        chosen = torch.isin(self.objects.image, torch.tensor(list(images), dtype=torch.int64))
        return self.objects.take(chosen)


def load_gallery(
    scenes: Sequence[Scene], progress: Progress, largest: int = 640, budget: float = 4e9, fewest: int = 2
) -> Gallery:
    """Reads scenes; those that can't be read are left out, named in `problems` and said.

    Args:
        scenes: What to read.
        progress: Shows how far it is and what is left out.
        largest: Longest side in pixels; larger scenes are reduced.
        budget: Bytes that the pyramids may take; the longest side is lowered until they fit.
        fewest: Scenes that must remain.

    Raises:
        BadInput: Too few scenes can be read.
    """
    side = float(largest)
    sizes = np.array([[s.width, s.height] for s in scenes], dtype=np.float64).reshape(-1, 2)
    while len(sizes) and _bytes(sizes, side) > budget:
        side *= 0.9
    images, kept, problems = [], [], []
    with progress.phase("reading scenes", len(scenes)) as tick:
        for number, (scene, image) in enumerate(
            zip(scenes, map_images(lambda s: _read(s, int(side)), scenes), strict=True)
        ):
            if isinstance(image, str):
                problems.append(f"{scene.name}: {image}")
            else:
                images.append(image)
                kept.append(scene)
            tick(number + 1)
    if len(kept) < fewest:
        raise BadInput(
            f"only {len(kept)} of {len(scenes)} scenes can be read" + (f" ({problems[0]})" if problems else "")
        )
    for problem in problems:
        progress.say(f"left out: {problem}")
    return _gather(images, kept, problems)


def _bytes(sizes: Float[np.ndarray, "n 2"], side: float) -> float:
    """Memory of the pyramids of images of these sizes, none longer than `side`."""
    shown = sizes * np.minimum(1, side / sizes.max(1, keepdims=True))
    return float(shown.prod(1).sum() * BYTES_A_PIXEL)


def join(first: Gallery, second: Gallery) -> Gallery:
    """The scenes of both, those of the second numbered after those of the first; names must differ to be told apart.

    Pixels are copied unless both share theirs already (`share_pixels`).
    """
    a, b, count = first.pyramids, second.pyramids, len(first.names)
    shared = a.buffer is b.buffer
    pyramids = Pyramids(
        a.buffer if shared else np.concatenate((a.buffer, b.buffer)),
        np.concatenate((a.offset, b.offset if shared else b.offset + len(a.buffer))),
        *(np.concatenate(pair) for pair in zip(a.arrays[2:], b.arrays[2:], strict=True)),
    )
    objects = Objects(
        torch.cat((first.objects.image, second.objects.image + count)),
        torch.cat((first.objects.gaze, second.objects.gaze)),
        torch.cat((first.objects.periods(), second.objects.periods())),
    )
    return Gallery(
        pyramids,
        first.names + second.names,
        objects,
        first.ignore + second.ignore,
        first.problems + second.problems,
        first.held_together() + second.held_together(),
    )


def share_pixels(first: Gallery, second: Gallery) -> tuple[Gallery, Gallery]:
    """The same scenes with all pixels in one place, so that they can be joined many times without a copy."""
    both, count = join(first, second), len(first.names)
    return take(both, range(count)), take(both, range(count, len(both.names)))


def take(gallery: Gallery, images: Sequence[int]) -> Gallery:
    """Some of the scenes, numbered anew in the order given; the pixels are shared."""
    pyramids, rows = gallery.pyramids, list(images)
    some = Pyramids(pyramids.buffer, *(part[rows] for part in pyramids.arrays[1:]))
    where = [torch.nonzero(gallery.objects.image == image)[:, 0] for image in rows]
    image = torch.tensor([number for number, each in enumerate(where) for _ in each], dtype=torch.int64)
    objects = gallery.objects.take(torch.cat([*where, torch.zeros(0, dtype=torch.int64)]))._replace(image=image)
    together = gallery.held_together()
    names, groups = [gallery.names[k] for k in rows], [together[k] for k in rows]
    return Gallery(some, names, objects, [gallery.ignore[k] for k in rows], [], groups)


def _gather(pictures: list[Picture], scenes: list[Scene], problems: list[str]) -> Gallery:
    image, gazes, ignore, periods = [], [], [], []
    for number, (picture, scene) in enumerate(zip(pictures, scenes, strict=True)):
        gazes.append(torch.as_tensor(scene.gazes, dtype=torch.float64).reshape(-1, 4) * picture.scale)
        image += [number] * len(gazes[-1])
        periods += [each.angle_period for each in scene.objects]
        ignore.append(torch.as_tensor(scene.ignore, dtype=torch.float64).reshape(-1, 4) * picture.scale)
    known = torch.tensor(periods, dtype=torch.int64)
    objects = Objects(torch.tensor(image, dtype=torch.int64), torch.cat(gazes), known)
    return Gallery(
        Pyramids.from_images([picture.pixels for picture in pictures]),
        [s.name for s in scenes],
        objects,
        ignore,
        problems,
        [s.group or s.name for s in scenes],
    )


def _read(scene: Scene, largest: int) -> Picture | str:
    try:
        return open_picture(scene.path, largest)
    except FoveateError as error:
        return str(error)


def hold_out(groups: Sequence[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the scenes that train, and of those that validate and calibrate: by a hash of each group's name.

    Whole groups are held out, until they hold the share; one that would make it half as much again is passed over. At
    least one scene is on either side when there are two.

    Args:
        groups: Of each scene; its own name where it stands alone.
        share: Of the scenes, to be held out.
        seed: Of the hash.
    """
    members: dict[str, list[int]] = {}
    for number, name in enumerate(groups):
        members.setdefault(name, []).append(number)
    if len(members) == 1 and len(groups) > 1:
        return hold_out([f"{name} {number}" for number, name in enumerate(groups)], share, seed)
    order = sorted(members, key=lambda name: key(seed, "held out", name))
    count = min(max(round(share * len(groups)), 1), max(len(groups) - 1, 0))
    held_out: list[int] = []
    for name in order:
        if len(held_out) < count and len(held_out) + len(members[name]) <= 1.5 * count:
            held_out += members[name]
    if count and not held_out:
        held_out = min((members[name] for name in order), key=len)
    apart = set(held_out)
    return [number for number in range(len(groups)) if number not in apart], sorted(held_out)
