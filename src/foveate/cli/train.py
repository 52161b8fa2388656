"""`foveate train`: from annotated scenes to a RUN."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from foveate.cli import options
from foveate.cli.options import note, print_figures, progress
from foveate.cli.recipe import agree, configuration, device_of, gather, read_scenes, settings_of
from foveate.storage.config import to_toml
from foveate.storage.run import Run
from foveate.training.settings import PRESETS

if TYPE_CHECKING:
    from foveate.scenes.folder import Scenes


def train(
    scenes: str,
    /,
    *,
    out: str,
    preset: options.Preset | None = None,
    select: options.Select = None,
    category: options.Category = None,
    unannotated: options.Unannotated = None,
    group: options.Group = None,
    config: options.ConfigFile = None,
    set_: options.Overrides = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    print_config: Annotated[
        bool, Parameter(help="Read the scenes, print the configuration as TOML, and exit.", show_default=False)
    ] = False,
    common: options.Common = options.Common(),  # noqa: B008 it is frozen
) -> None:
    """Train on annotated scenes of one kind of object.

    Trains the patch model, the background model and the ShiftNet, and writes them to a RUN folder with everything
    needed to repeat the run. An interrupted training continues with --resume and gives the same weights. On a GPU the
    patch model and the networks are trained; glimpses are sampled on the CPU.

    Args:
        scenes: A folder of images with annotations: COCO, Pascal VOC, YOLO, labelme, Label Studio or CVAT.
        out: RUN folder to write.
    """
    started = time.monotonic()
    recipe = gather(config, preset, select, category, set_, common, unannotated=unannotated, group=group)
    settings = settings_of(recipe, PRESETS)  # what is wrong is refused before anything is read
    from foveate.report.page import write_report
    from foveate.report.stories import save_training_story
    from foveate.scenes.examination import require_objects
    from foveate.training.train import train as train_models

    device = common.torch_device()  # it must be there before anything is claimed
    if print_config:
        found = _found(read_scenes(scenes, recipe))
        sys.stdout.write(to_toml(configuration("train", scenes, recipe, settings, device=str(device), **found)))
        return
    with Run.claim(out, overwrite, resume) as run:
        if run.begun:
            recipe = agree(run, "train", recipe)
            settings = settings_of(recipe, PRESETS)
        if run.whole:
            note(f"{out}: finished by an earlier run")
            return
        device = device_of(run, common.device)
        read = read_scenes(scenes, recipe)
        require_objects(read.scenes, read.doubts, scenes)
        found = _found(read)
        run.begin(configuration("train", scenes, recipe, settings, device=str(device), **found))
        run.complete(
            lambda run: train_models(read, run, settings, progress(), device),
            lambda story, made: save_training_story(story, *made, settings.attend, progress()),
            lambda path: note(f"page: {write_report(path)}"),
        )
    seconds = round(time.monotonic() - started, 1)
    print_figures({"run": str(run.path), **found, "seconds": seconds}, common.json)


def _found(read: "Scenes") -> dict[str, Any]:
    objects = sum(len(scene.gazes) for scene in read.scenes)
    return {"images": len(read.scenes), "objects": objects, "category": read.category}
