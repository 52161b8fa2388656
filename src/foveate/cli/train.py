"""`foveate train`: from annotated scenes to a RUN."""

import dataclasses
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from foveate.cli import options
from foveate.cli.learn import learn_run
from foveate.cli.options import note, print_figures, progress
from foveate.cli.recipe import Recipe, agree, configuration, device_of, gather, read_quietly, read_scenes, settings_of
from foveate.errors import BadInput
from foveate.runtime.devices import resolve
from foveate.runtime.progress import Progress
from foveate.storage.config import to_toml
from foveate.storage.run import Run
from foveate.training.settings import PRESETS

PAPER_PRESETS: dict[str, Any] = {"standard": "paper", "quick": "paper-quick"}
FEWEST = 2  # images without annotations that are learned from

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
    symmetry: options.Turns = None,
    paper: Annotated[bool, Parameter(show_default=False)] = False,
    also: str | None = None,
    minutes: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
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
        paper: The paper's models by the paper's algorithms, and nothing else: for attend --paper.
        also: A folder of images of the same kind without annotations, to learn from afterwards as `foveate learn` does;
            annotated ones in it are left out. A round of learning that lowers the density of held-out objects is
            undone. The run before learning is OUT-marks.
        minutes: Choose the numbers of steps so that training takes so many minutes of one core of an average machine,
            between those of the presets; they are written to config.toml, and --set and --config override them.
    """
    if paper and (also is not None or minutes is not None):
        raise BadInput("--paper can't be combined with --also or --minutes")
    if paper:
        preset = PAPER_PRESETS[preset or "standard"]
    more = {"unannotated": unannotated, "group": group, "symmetry": symmetry}
    recipe = gather(config, preset, select, category, set_, common, **more)
    settings = settings_of(recipe, PRESETS)  # what is wrong is refused before anything is read
    if minutes is not None:
        recipe = in_minutes(recipe, scenes, minutes)
        settings = settings_of(recipe, PRESETS)
    if print_config:
        device, found = common.torch_device(), _found(read_scenes(scenes, recipe))
        sys.stdout.write(to_toml(configuration("train", scenes, recipe, settings, device=str(device), **found)))
        return
    if also is not None:
        figures = train_also(scenes, also, out, recipe, common.device, resume, overwrite, progress())
    else:
        figures = train_run(scenes, out, recipe, common.device, resume, overwrite, progress())
    if figures is not None:
        print_figures(figures, common.json)


def in_minutes(recipe: Recipe, scenes: str, minutes: float) -> Recipe:
    """The recipe with the numbers of steps that fill so many minutes on these scenes; what it states itself stays."""
    from foveate.training.costs import counts_for

    found = _found(read_quietly(scenes, recipe))
    counts, spent = counts_for(minutes, found["images"], found["objects"], recipe.preset)
    note(f"about {spent:.1f} minutes of one core; --minutes {minutes:g} is asked for")
    return dataclasses.replace(recipe, layers=((counts, "--minutes"), *recipe.layers))


def train_run(
    scenes: str, out: str, recipe: Recipe, device: str, resume: bool, overwrite: bool, progress: Progress
) -> dict[str, Any] | None:
    """Trains as a recipe says, from scenes to a whole RUN with its page; None where an earlier run has done it all."""
    started, settings = time.monotonic(), settings_of(recipe, PRESETS)
    from foveate.report.page import write_report
    from foveate.report.stories import save_training_story
    from foveate.scenes.examination import require_objects
    from foveate.training.train import train as train_models

    resolve(device)  # it must be there before anything is claimed
    with Run.claim(out, overwrite, resume) as run:
        if run.begun:
            recipe = agree(run, "train", recipe)
            settings = settings_of(recipe, PRESETS)
        if run.whole:
            note(f"{out}: finished by an earlier run")
            return None
        where = device_of(run, device)
        read = read_scenes(scenes, recipe)
        require_objects(read.scenes, read.doubts, scenes)
        found = _found(read)
        run.begin(configuration("train", scenes, recipe, settings, device=str(where), **found))
        run.complete(
            lambda run: train_models(read, run, settings, progress, where),
            lambda story, made: save_training_story(story, *made, settings.attend, progress),
            lambda path: note(f"page: {write_report(path)}"),
        )
    return {"run": str(run.path), **found, "seconds": round(time.monotonic() - started, 1)}


def train_also(
    scenes: str, also: str, out: str, recipe: Recipe, device: str, resume: bool, overwrite: bool, progress: Progress
) -> dict[str, Any] | None:
    """`train_run` to OUT-marks, then `learn_run` from there on the images of `also` that are not annotated, to OUT.

    Raises:
        BadInput: As of these two, and if there is no image beside the annotated ones.
    """
    before, unlabelled = f"{out.rstrip(os.sep)}-marks", Recipe(seed=recipe.seed, stated=recipe.stated & {"seed"})
    if not (resume or overwrite) and os.path.isdir(out) and os.listdir(out):
        raise BadInput(f"{out} exists: --resume continues it, --overwrite replaces it")
    marked = {os.path.realpath(each.path) for each in read_quietly(scenes, recipe).scenes if each.annotated}
    others = {os.path.realpath(each.path) for each in read_quietly(also, unlabelled, annotated=False).scenes}
    if (unseen := len(others - marked)) < FEWEST:
        raise BadInput(f"--also {also}: {unseen} images beside the {len(marked)} annotated ones, {FEWEST} are needed")
    trained = train_run(scenes, before, recipe, device, resume, overwrite, progress)
    learned = learn_run(before, also, out, unlabelled, device, (None, False), resume, overwrite, progress, marked)
    return learned and {**learned, "marks": trained or {"run": before}}


def _found(read: "Scenes") -> dict[str, Any]:
    objects = sum(len(scene.gazes) for scene in read.scenes)
    return {"images": len(read.scenes), "objects": objects, "category": read.category}
