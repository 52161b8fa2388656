"""`foveate train`: from annotated scenes to a RUN."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from foveate.cli.options import (
    Category,
    Common,
    ConfigFile,
    Group,
    Overrides,
    Overwrite,
    Preset,
    Resume,
    Select,
    Unannotated,
    note,
    print_figures,
    progress,
)
from foveate.cli.recipe import Recipe, agree, device_of, gather, recorded, settings_of
from foveate.errors import BadInput

if TYPE_CHECKING:
    from foveate.scenes.folder import Scenes
    from foveate.storage.run import Run


def train(
    scenes: str,
    /,
    *,
    out: str,
    preset: Preset | None = None,
    select: Select = None,
    category: Category = None,
    unannotated: Unannotated = None,
    group: Group = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    print_config: Annotated[
        bool, Parameter(help="Read the scenes, print the configuration as TOML, and exit.", show_default=False)
    ] = False,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """Train on annotated scenes of one kind of object.

    Trains the patch model, the background model and the ShiftNet, and writes them to a RUN folder with everything
    needed to repeat the run. An interrupted training continues with --resume and gives the same weights. On a GPU the
    patch model and the networks are trained; glimpses are sampled on the CPU.

    Args:
        scenes: A folder of images with annotations: COCO, Pascal VOC, YOLO, labelme, Label Studio or CVAT.
        out: RUN folder to write.
    """
    from foveate.runtime.devices import resolve
    from foveate.storage.config import to_toml
    from foveate.storage.run import Run
    from foveate.training.settings import PRESETS
    from foveate.training.train import train as train_models

    started = time.monotonic()
    resolve(common.device)  # it must be there before anything is claimed
    recipe = gather(config, preset, select, category, set_, common, unannotated=unannotated, group=group)
    if print_config:
        settings = settings_of(recipe, PRESETS)
        read = read_annotated(scenes, recipe)
        facts = {"device": str(resolve(common.device)), "category": read.category, **_counts(read)}
        sys.stdout.write(to_toml(recorded("train", scenes, recipe, settings, **facts)))
        return
    with Run.claim(out, overwrite, resume) as run:
        if run.begun:
            recipe = agree(run, "train", recipe)
        if run.whole:
            note(f"{out}: finished by an earlier run")
            return
        settings = settings_of(recipe, PRESETS)
        device = device_of(run, common.device)
        read = read_annotated(scenes, recipe)
        counts = _counts(read)
        facts = {"device": str(device), "category": read.category, **counts}
        begin(run, recorded("train", scenes, recipe, settings, **facts))
        models, data = train_models(read, run, settings, progress(), device)
        tell(run.story, models, data, settings.attend)
        run.finish()
        make_page(run.path)
        figures = {"run": str(run.path), **counts, "category": read.category}
    print_figures({**figures, "seconds": round(time.monotonic() - started, 1)}, common.json)


def read_annotated(folder: str, recipe: Recipe, usual: str | None = None) -> "Scenes":
    """The scenes of a recipe with their annotations; what is wrong with them goes to stderr.

    Args:
        folder: The folder.
        recipe: Says which images, which kind, and where keypoints lie.
        usual: The kind to use where several are annotated and the recipe names none.
    """
    return _read(folder, recipe, annotated=True, usual=usual)


def read_images(folder: str, recipe: Recipe) -> "Scenes":
    """The scenes of a recipe, annotations not looked at."""
    return _read(folder, recipe, annotated=False)


def begin(run: "Run", config: dict[str, Any]) -> None:
    """Write the configuration of a new run; check that a resumed one goes on with the same folders, images and objects.

    Raises:
        BadInput: Other folders were named, or the scenes have changed since.
    """
    kept = run.config
    for name in ("scenes", "run"):
        if name in kept and kept[name] != config.get(name):
            raise BadInput(f"{run.target} was begun with {name} = {kept[name]!r}, not {config.get(name)!r}")
    for name in ("images", "objects", "replay_images"):
        if name in kept and kept[name] != config.get(name):
            raise BadInput(f"{run.target} was begun with {kept[name]} {name}, now there are {config.get(name)}")
    if not run.begun:
        run.write_config(config)


def tell(story: Path, models: Any, data: Any, attend: Any) -> None:
    """Keep what the page tells of a training."""
    from foveate.report.training_story import tell_training

    story.mkdir(exist_ok=True)
    tell_training(story, models, data, attend, progress())


def make_page(path: Path) -> None:
    """Make the page of a run, and say where it is."""
    from foveate.report.page import write_report

    note(f"page: {write_report(path)}")


def _counts(read: "Scenes") -> dict[str, int]:
    return {"images": len(read.scenes), "objects": sum(len(scene.gazes) for scene in read.scenes)}


def read_quietly(folder: str, recipe: Recipe, annotated: bool, usual: str | None = None) -> "Scenes":
    """The scenes of a recipe; nothing is said of what is doubtful about them."""
    from foveate.scenes.folder import parse_select, read_scenes

    select = parse_select(recipe.select) if recipe.select else None
    canonical = {name: (point[0], point[1]) for name, point in (recipe.canonical or {}).items()} or None
    with progress().phase("read scenes") as tick:
        return read_scenes(
            folder, select, recipe.category, canonical, annotated, lambda done: tick(done), usual, recipe.unannotated,
            recipe.group,
        )  # fmt: skip


def _read(folder: str, recipe: Recipe, annotated: bool, usual: str | None = None) -> "Scenes":
    from foveate.scenes.doubts import Refused

    try:
        read = read_quietly(folder, recipe, annotated, usual)
    except Refused as error:
        for line in error.doubts.lines():
            note(line)
        raise
    for line in [*read.problems, *([read.grouping] if read.grouping else [])]:
        note(line)
    return read
