"""`foveate train` and `foveate learn` as functions."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from foveate.api.attention import load
from foveate.attention.attend import Attention
from foveate.cli.learn import learn_run
from foveate.cli.options import Common
from foveate.cli.recipe import Recipe, gather
from foveate.cli.train import in_minutes, train_also, train_run
from foveate.runtime.progress import Progress, shown
from foveate.scenes.layouts.periods import Symmetry
from foveate.storage.config import flat

Preset = Literal["quick", "standard"]


def train(
    scenes: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    preset: Preset | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    select: str | None = None,
    category: str | None = None,
    unannotated: Literal["empty", "ignore"] | None = None,
    group: str | None = None,
    symmetry: Symmetry | None = None,
    also: str | os.PathLike[str] | None = None,
    minutes: float | None = None,
    config: str | os.PathLike[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | Progress = True,
) -> Attention:
    """Trains on annotated scenes, as `foveate train` does, and gives the trained run.

    Args:
        scenes: A folder of images with annotations: COCO, Pascal VOC, YOLO, labelme, Label Studio or CVAT.
        out: RUN folder to write.
        preset: "quick" (minutes, a smoke test) or "standard"; standard by default.
        settings: Settings to change, by name: `{"gdbn.n_hidden1": 500}`.
        seed: Of all random numbers; 0 by default.
        select: A slice START:STOP of the images sorted by name.
        category: Kind of object, where several are annotated.
        unannotated: What images without annotations are, where others have some: "empty" or "ignore".
        group: What to hold out together: "folder", or a regular expression whose first group in the name is the group.
        symmetry: What leaves an object as it looks: "2" or "4", turns by 180 or 90 degrees; "any", all turns; "mirror",
            its mirror image; "none", neither.
        also: A folder of images without annotations, to learn from afterwards (`learn`); annotated ones are left out.
        minutes: Choose numbers of steps so that training takes so many minutes of one core, between the presets'.
        config: A TOML file of settings, such as a RUN's config.toml.
        device: "auto", "cpu" or "cuda".
        resume: Continue what an interrupted training left.
        overwrite: Replace a RUN that is there, once the new one is whole.
        progress: Whether to show how far it is.

    Returns:
        The `Attention` of the RUN.

    Raises:
        BadInput: The scenes can't be trained on, a setting doesn't take its value, or `out` exists.
    """
    common = Common(seed=seed)
    held = None if config is None else os.fspath(config)
    more = {"unannotated": unannotated, "group": group, "symmetry": symmetry}
    recipe = gather(held, preset, select, category, None, common, **more)
    recipe = recipe if minutes is None else in_minutes(recipe, os.fspath(scenes), minutes)
    recipe, how = _with(recipe, settings), (device, resume, overwrite, shown(progress))
    if also is None:
        train_run(os.fspath(scenes), os.fspath(out), recipe, *how)
    else:
        train_also(os.fspath(scenes), os.fspath(also), os.fspath(out), recipe, *how)
    return load(out, device)


def learn(
    run: str | os.PathLike[str],
    scenes: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    preset: Preset | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    select: str | None = None,
    group: str | None = None,
    config: str | os.PathLike[str] | None = None,
    replay: str | os.PathLike[str] | bool = True,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | Progress = True,
) -> Attention:
    """Learns from scenes without annotations, as `foveate learn` does, and gives the run that has learned.

    Args:
        run: RUN folder to start from.
        scenes: A folder of images; annotations are ignored.
        out: RUN folder to write.
        preset, settings, seed, select, group, config, device, resume, overwrite, progress: As for `train`.
        replay: Annotated scenes to mix in, so that the old kind is not forgotten: True for those of `run`, a folder for
            others, False for none.

    Returns:
        The `Attention` of the new RUN.

    Raises:
        BadInput: There is nothing to learn from, a setting doesn't take its value, or `out` exists.
    """
    common = Common(seed=seed)
    held = None if config is None else os.fspath(config)
    recipe = _with(gather(held, preset, select, None, None, common, group=group), settings)
    mixing = (None if isinstance(replay, bool) else os.fspath(replay), replay is False)
    places = (os.fspath(run), os.fspath(scenes), os.fspath(out))
    learn_run(*places, recipe, device, mixing, resume, overwrite, shown(progress))
    return load(out, device)


def _with(recipe: Recipe, settings: Mapping[str, Any] | None) -> Recipe:
    return recipe if settings is None else replace(recipe, layers=(*recipe.layers, (flat(settings), "settings")))
