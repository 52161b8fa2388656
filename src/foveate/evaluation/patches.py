"""PATCHES_OR_SCENES: standardised patches from a .npy file, or the aligned patches of annotated scenes."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput, one_line
from foveate.runtime.progress import Progress
from foveate.scenes.folder import Scenes, read_image
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import Objects
from foveate.training.patches import jittered_patches
from foveate.training.settings import PatchSettings

FOLDS = 5  # into which scenes are dealt whose patches baselines are fitted on


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


def scene_patches(scenes: Scenes, model: GaussianDBN, progress: Progress) -> Float[Tensor, "n visible"]:
    """The aligned patch of every annotated object, standardised with the model's mean and deviation."""
    seen = _seen(scenes, model, progress)
    found = [glimpses(pyramids, objects.image, objects.gaze) for _, pyramids, objects in seen]
    return model.standardise(torch.cat(found).to(model.patch.mean))


def jittered_folds(
    scenes: Scenes, model: GaussianDBN, settings: PatchSettings, progress: Progress
) -> list[Float[Tensor, "n visible"]]:
    """Patches of every annotated object through jittered gazes, standardised, those of a scene all in one fold."""
    folds: list[list[Tensor]] = [[] for _ in range(FOLDS)]
    for place, (number, pyramids, objects) in enumerate(_seen(scenes, model, progress)):
        drawn = jittered_patches(pyramids, objects, settings, 0, number)
        folds[place % FOLDS].append(model.standardise(drawn.to(model.patch.mean)))
    return [torch.cat(fold) for fold in folds if fold]


def _seen(scenes: Scenes, model: GaussianDBN, progress: Progress) -> Iterator[tuple[int, Pyramids, Objects]]:
    """Each scene with annotated objects: its number, its pyramid, and they; one at a time, so memory stays flat."""
    if model.grbm.b.numel() != 3 * 24 * 24:
        raise BadInput(f"scenes give patches of D = 1728, this model has D = {model.grbm.b.numel()}: give a .npy file")
    found = False
    with progress.phase("patches of scenes", len(scenes.scenes)) as tick:
        for number, scene in enumerate(scenes.scenes):
            tick(number)
            if not len(scene.gazes):
                continue
            try:
                pyramids = Pyramids.from_images([read_image(scene.path)])
            except BadInput as error:
                progress.say(str(error))
                continue
            found, u = True, torch.from_numpy(np.asarray(scene.gazes, dtype=np.float64))
            yield number, pyramids, Objects(torch.zeros(len(u), dtype=torch.int64), u)
    if not found:
        raise BadInput("no object is annotated in these scenes")
