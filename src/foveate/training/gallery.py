"""Training scenes in memory: their pyramids, and where the objects are in them.

Scenes are read at a size at which all of them fit a budget: what is learnt is 24x24 patches and 72x72 contexts, which
need no more than a moderate resolution of the object.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from foveate.errors import BadInput, FoveateError
from foveate.runtime.progress import Progress
from foveate.runtime.random import key
from foveate.runtime.workers import map_images
from foveate.scenes.folder import Scene, open_picture
from foveate.scenes.pyramid import Pyramids, Store
from foveate.training.labels import NOWHERE, Objects, label

BYTES_A_PIXEL = 8.0  # three channels of two bytes, and a third more for the levels above
NONE = NOWHERE.gaze  # gazes or boxes
NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


class Gallery(NamedTuple):
    """Scenes that could be read."""

    pyramids: Pyramids  # the scenes, perhaps reduced
    names: list[str]  # their names
    objects: Objects  # where objects are annotated, in pixels of the pyramids
    # for each image, boxes (x0, y0, x1, y1) that are neither object nor background
    ignore: list[Float[Tensor, "regions 4"]]
    problems: list[str]  # a line for every scene that could not be read
    groups: list[str] | None = None  # what each scene belongs to when scenes are held out; None where each stands alone

    def held_together(self) -> list[str]:
        """The group of each scene; those of one group are on one side of a hold-out."""
        return self.names if self.groups is None else self.groups

    def hold_out(self, share: float, seed: int) -> tuple[list[int], list[int]]:
        """`hold_out` of its groups; of its scenes one by one where groups would leave one side without an object."""
        fit, held_out = hold_out(self.held_together(), share, seed)
        if all(len(self.subset(side).image) for side in (fit, held_out)):
            return fit, held_out
        return hold_out(self.names, share, seed)

    def of(self, image: int) -> Float[Tensor, "k 4"]:
        """The gazes of one image's objects."""
        return self.objects.gaze[self.objects.image == image]

    def label(self, image: int, gazes: Float[Tensor, "n 4"]) -> Int[Tensor, "n"]:
        """Which of gazes at an image are at its objects; see `label`."""
        objects = self.subset([image])
        return label(gazes, objects.gaze, self.ignore[image], objects.periods())

    def without_objects(self) -> "Gallery":
        """The same scenes with nothing annotated, neither objects nor what to ignore."""
        return self._replace(objects=NOWHERE, ignore=[NONE] * len(self.names))

    def subset(self, images: Sequence[int]) -> Objects:
        """The objects that are in some of the images."""
        chosen = torch.isin(self.objects.image, torch.tensor(list(images), dtype=torch.int64))
        return self.objects.take(chosen)


class Shown(NamedTuple):
    """One scene of a gallery that is being made: its name and pixels, the objects in it, and what is ignored."""

    name: str
    pixels: Shaped[np.ndarray, "h w 3"]
    gazes: Float[Tensor, "objects 4"] = NONE
    ignore: Float[Tensor, "regions 4"] = NONE
    angle_period: Sequence[int] | None = None
    group: str = ""  # what it belongs to when scenes are held out; its name where it stands alone


def gather(shown: Iterable[Shown], store: Store | None = None) -> Gallery:
    """A gallery of scenes, taken one by one, so that no more than one lies outside the pyramids' store; `angle_period`
    (see `Objects`) is known of all or of none."""
    kept: list[Shown] = []

    def pixels() -> Iterator[Shaped[np.ndarray, "h w 3"]]:
        for each in shown:
            kept.append(each._replace(pixels=NO_PIXELS))
            yield each.pixels

    pyramids = Pyramids.from_images(pixels(), store)
    image = torch.repeat_interleave(torch.tensor([len(each.gazes) for each in kept], dtype=torch.int64))
    periods = [period for each in kept for period in each.angle_period or ()]
    known = torch.tensor(periods, dtype=torch.int64) if all(each.angle_period is not None for each in kept) else None
    objects = Objects(image, torch.cat([*(each.gazes for each in kept), NONE]), known)
    names, groups = [each.name for each in kept], [each.group or each.name for each in kept]
    return Gallery(pyramids, names, objects, [each.ignore for each in kept], [], groups)


def make(
    title: str, numbers: Sequence[int], picture: Callable[[int], Shown | None], progress: Progress, store: Store | None
) -> Gallery:
    """A gallery of the pictures that are made of some numbers, put into `store` or into one of their own."""
    pictures = (picture(number) for number in progress.over(title, numbers, len(numbers)))
    return gather((each for each in pictures if each is not None), store)


def load_gallery(
    scenes: Sequence[Scene],
    progress: Progress,
    largest: int = 640,
    budget: float = 4e9,
    fewest: int = 2,
    store: Store | None = None,
) -> Gallery:
    """Reads scenes, none longer than `largest` pixels; those that can't be read are left out, named in `problems` and
    said.

    The longest side is lowered until the pyramids take no more than `budget` bytes; they are put into `store`, as those
    of another gallery are, or into one of their own.

    Raises:
        BadInput: Fewer than `fewest` scenes can be read.
    """
    side, problems = float(largest), []
    sizes = np.array([[s.width, s.height] for s in scenes], dtype=np.float64).reshape(-1, 2)
    while len(sizes) and _bytes(sizes, side) > budget:
        side *= 0.9

    def read() -> Iterator[Shown]:
        pictures = map_images(lambda scene: _read(scene, int(side)), scenes)
        for scene, found in progress.over("reading scenes", zip(scenes, pictures, strict=True), len(scenes)):
            if isinstance(found, str):
                problems.append(f"{scene.name}: {found}")
            else:
                yield found

    gallery = gather(read(), store or Store(int(_bytes(sizes, side))))  # room for as much again: side views, mosaics
    if len(gallery.names) < fewest:
        if not problems:
            raise BadInput(f"{len(scenes)} scene{'' if len(scenes) == 1 else 's'}: at least {fewest} are needed")
        raise BadInput(f"only {len(gallery.names)} of {len(scenes)} scenes can be read ({problems[0]})")
    for problem in problems:
        progress.say(f"left out: {problem}")
    return gallery._replace(problems=problems)


def _bytes(sizes: Float[np.ndarray, "n 2"], side: float) -> float:
    """Memory of the pyramids of images of these sizes, none longer than `side`."""
    shown = sizes * np.minimum(1, side / sizes.max(1, keepdims=True))
    return float(shown.prod(1).sum() * BYTES_A_PIXEL)


def _read(scene: Scene, largest: int) -> Shown | str:
    """A scene reduced, or why it can't be read."""
    try:
        picture = open_picture(scene.path, largest)
    except FoveateError as error:
        return str(error).removeprefix(f"{scene.path}: ")  # it is on the page, which must not show where files lie
    gazes, ignore = (
        torch.as_tensor(each, dtype=torch.float64).reshape(-1, 4) * picture.scale
        for each in (scene.gazes, scene.ignore)
    )
    return Shown(scene.name, picture.pixels, gazes, ignore, [each.angle_period for each in scene.objects], scene.group)


def join(first: Gallery, second: Gallery) -> Gallery:
    """The scenes of both, those of the second numbered after those of the first; their pixels must share a store."""
    a, b, count = first.pyramids, second.pyramids, len(first.names)
    if a.store is not b.store:
        raise ValueError("galleries of two stores: load or make the second in the store of the first")
    one, other = first.objects, second.objects
    objects = Objects(
        torch.cat((one.image, other.image + count)),
        torch.cat((one.gaze, other.gaze)),
        torch.cat((one.periods(), other.periods())),
    )
    pyramids = Pyramids(a.store, *(np.concatenate(pair) for pair in zip(a.tables, b.tables, strict=True)))
    names, ignore, problems = first.names + second.names, first.ignore + second.ignore, first.problems + second.problems
    return Gallery(pyramids, names, objects, ignore, problems, first.held_together() + second.held_together())


def take(gallery: Gallery, images: Sequence[int]) -> Gallery:
    """Some of the scenes, numbered anew in the order given; the pixels are shared."""
    rows = list(images)
    where = [torch.nonzero(gallery.objects.image == image)[:, 0] for image in rows]
    image = torch.repeat_interleave(torch.tensor([len(each) for each in where], dtype=torch.int64))
    objects = gallery.objects.take(torch.cat([*where, torch.zeros(0, dtype=torch.int64)]))._replace(image=image)
    together = gallery.held_together()
    names, groups = [gallery.names[k] for k in rows], [together[k] for k in rows]
    return Gallery(gallery.pyramids.take(rows), names, objects, [gallery.ignore[k] for k in rows], [], groups)


def hold_out(groups: Sequence[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the scenes that train, and of those that validate and calibrate: by a hash of each group's name.

    Whole groups (a scene that stands alone is one, by its own name) are held out, until they hold the share; one that
    would make it half as much again is passed over. At least one scene is on either side when there are two.
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
