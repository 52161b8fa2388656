"""PATCHES_OR_SCENES: standardised patches from a .npy file, or the aligned patches of annotated scenes."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import BadInput, one_line

if TYPE_CHECKING:
    from torch import Tensor

    from foveate.boltzmann.dbn import GaussianDBN
    from foveate.scenes.folder import Scenes
    from foveate.scenes.pyramid import Pyramids
    from foveate.training.settings import PatchSettings

FOLDS = 5
"""Into which scenes are dealt whose patches baselines are fitted on."""


def load_patches(path: str | os.PathLike) -> np.ndarray:
    """The array of a .npy file, as it is; nothing is unpickled."""
    if not os.path.isfile(path):
        raise BadInput(f"{path}: not a file" if os.path.exists(path) else f"{path}: no such file or folder")
    try:
        array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises nearly anything on a damaged header: it is the file's fault
        raise BadInput(f"{path}: not a .npy file of numbers ({one_line(error)})") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise BadInput(f"{path}: an archive of arrays, expected a .npy file of one array [N, D]")
    return np.array(array)


def scene_patches(
    scenes: "Scenes", model: "GaussianDBN", tick: Callable[[int], None], note: Callable[[str], None]
) -> "Tensor":
    """The aligned patch of every annotated object, standardised with the model's mean and deviation, [N, D].

    Scenes are read one at a time, so memory stays flat.
    """
    import torch

    from foveate.scenes.glimpse import glimpses

    seen = _seen(scenes, model, tick, note)
    found = [glimpses(pyramids, torch.zeros(len(u), dtype=torch.int64), u) for _, pyramids, u in seen]
    return model.standardise(torch.cat(found).to(model.patch.mean))


def jittered_folds(
    scenes: "Scenes",
    model: "GaussianDBN",
    settings: "PatchSettings",
    seed: int,
    tick: Callable[[int], None],
    note: Callable[[str], None],
) -> "list[Tensor]":
    """Patches of every annotated object through jittered gazes, standardised, those of a scene all in one fold."""
    import torch

    from foveate.training.labels import Objects
    from foveate.training.patches import jittered_patches

    folds: list[list[Tensor]] = [[] for _ in range(FOLDS)]
    for place, (number, pyramids, u) in enumerate(_seen(scenes, model, tick, note)):
        objects = Objects(torch.zeros(len(u), dtype=torch.int64), u)
        drawn = jittered_patches(pyramids, objects, settings, seed, number)
        folds[place % FOLDS].append(model.standardise(drawn.to(model.patch.mean)))
    return [torch.cat(fold) for fold in folds if fold]


def _seen(
    scenes: "Scenes", model: "GaussianDBN", tick: Callable[[int], None], note: Callable[[str], None]
) -> "Iterator[tuple[int, Pyramids, Tensor]]":
    """Each scene with annotated objects: its number, its pyramid, their gazes."""
    import torch

    from foveate.scenes.folder import read_image
    from foveate.scenes.pyramid import Pyramids

    if model.grbm.b.numel() != 3 * 24 * 24:
        raise BadInput(f"scenes give patches of D = 1728, this model has D = {model.grbm.b.numel()}: give a .npy file")
    found = False
    for number, scene in enumerate(scenes.scenes):
        if len(scene.gazes):
            try:
                pyramids = Pyramids.from_images([read_image(scene.path)])
            except BadInput as error:
                note(str(error))
                continue
            found = True
            yield number, pyramids, torch.from_numpy(np.asarray(scene.gazes, dtype=np.float64))
        tick(number + 1)
    if not found:
        raise BadInput("no object is annotated in these scenes")
