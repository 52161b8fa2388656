"""The configuration of a command: preset, file, command line, each overriding the one before."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from foveate.attention.settings import AttendSettings, run_settings
from foveate.cli.options import Common, Unannotated, note, progress
from foveate.errors import BadInput
from foveate.scenes.layouts.periods import Symmetry
from foveate.storage.config import (
    AtLeast0,
    differences,
    flat,
    name_of,
    override,
    parse_overrides,
    read_config,
    recorded,
    settings,
    without_none,
)
from foveate.storage.run import CONFIG, Run
from foveate.training.settings import HANDED

if TYPE_CHECKING:
    import torch

    from foveate.scenes.folder import Scenes

_TOLD = set(
    "format version command scenes run device images objects replay replay_select replay_category replay_images "
    "recalibrated recalibrated_images".split()
)
"""Further entries of config.toml; ignored when the file is given as `--config`."""

Point = Annotated[list[float], Field(min_length=2, max_length=2)]


@settings
class Recipe:
    """Everything that determines the weights, except the scenes themselves."""

    preset: str = "standard"  # name of the settings to start from
    seed: AtLeast0 = 0  # seed of every random number
    select: str | None = None  # slice of the scenes
    category: str | None = None  # kind of object, where several are annotated
    canonical: dict[str, Point] | None = None  # canonical positions of named keypoints, name -> [x, y]
    unannotated: Literal["empty", "ignore"] | None = None  # what images without annotation are, where others have some
    group: str | None = None  # what is held out together
    symmetry: Symmetry | None = None  # what makes an object look as before
    # settings that override the preset's, by name, each with its source
    layers: tuple[tuple[dict[str, Any], str], ...] = ()
    stated: frozenset[str] = frozenset()  # which of the above the user gave, in a file or on the command line


_ENTRIES = ("preset", "seed", "select", "category", "canonical", "unannotated", "group", "symmetry")


def gather(
    config: str | None,
    preset: str | None,
    select: str | None,
    category: str | None,
    set_: list[str] | None,
    common: Common,
    **more: str | None,
) -> Recipe:
    """The recipe that a configuration file and the command line describe; `more` are further entries of the latter."""
    entries, layers = {}, []
    if config is not None:
        entries = {name: value for name, value in read_config(config).items() if name not in _TOLD}
        table = entries.pop("settings", {})
        if not isinstance(table, Mapping):
            raise BadInput(f"{config}: settings: expected a table, got {table!r}")
        layers.append((flat(table), config))
        for name in entries.keys() - _ENTRIES:
            raise BadInput(f"{config}: no entry {name}; there are {', '.join(_ENTRIES)}, settings")
    try:
        recipe = Recipe(**entries)
    except BadInput as error:
        raise BadInput(f"{config}: {error}") from error
    line = {"preset": preset, "seed": common.seed, "select": select, "category": category, **more}
    line = {name: value for name, value in line.items() if value is not None}
    if set_:
        layers.append((parse_overrides(set_), "--set"))
    return dataclasses.replace(recipe, **line, layers=tuple(layers), stated=frozenset(entries | line))


def settings_of(recipe: Recipe, presets: Mapping[str, Any]) -> Any:
    """The settings of a recipe."""
    if recipe.preset not in presets:
        raise BadInput(f"preset {recipe.preset!r}: there are {', '.join(presets)}")
    found = presets[recipe.preset]
    if recipe.symmetry == "none":
        found = override(found, HANDED, "--symmetry")
    for table, source in recipe.layers:
        found = override(found, table, source)
    return dataclasses.replace(found, seed=recipe.seed)


def configuration(command: str, scenes: str, recipe: Recipe, settings: Any, **found: Any) -> dict[str, Any]:
    """The table of config.toml, `recorded` with the entries of the recipe, or with what was found in their place."""
    return recorded(command, scenes, settings, **{**{name: getattr(recipe, name) for name in _ENTRIES}, **found})


def attend_settings(
    run: str,
    set_: list[str] | None,
    common: Common,
    starts: str | None = None,
    max_gazes: int | None = None,
    min_probability: float | None = None,
) -> AttendSettings:
    """How to attend, as options describe it; what isn't said is as RUN was trained and calibrated with."""
    said = {"starts": starts, "max_gazes": max_gazes, "min_probability": min_probability, "seed": common.seed}
    found = override(run_settings(Run.open(run)), parse_overrides(set_ or []), "--set", "attend.")
    return dataclasses.replace(found, **{name: value for name, value in said.items() if value is not None})


def after(recipe: Recipe, source: Run, learning: Any) -> Recipe:
    """The recipe of learning from a run: its preset and settings of training, overridden by what the user states.

    Which of its scenes were held out, by its seed and share, is taken over even where another preset is stated.
    """
    config, file = source.config, f"{source.path}/{CONFIG}"
    anew = {field.name for field in dataclasses.fields(learning)} - {"seed"}
    own = {name_of(name): value for name, value in flat(config.get("settings", {})).items()}
    own = {name: value for name, value in own.items() if name.partition(".")[0] not in anew}
    preset = config.get("preset", recipe.preset)
    if "preset" in recipe.stated:
        own, preset = {name: own[name] for name in ("seed", "held_out") if name in own}, recipe.preset
    known = {name: config.get(name) for name in ("canonical", "symmetry")}
    for name, was in known.items():
        if (now := getattr(recipe, name)) not in (None, was):
            raise BadInput(f"{name} = {now!r}: the models of {file} were trained with {was!r}")
    return dataclasses.replace(recipe, preset=preset, **known, layers=((own, file), *recipe.layers))


def agree(run: Run, command: str, recipe: Recipe) -> Recipe:
    """The recipe that a begun run was started with; what the user states now must say the same."""
    kept = run.config
    if kept.get("command") != command:
        raise BadInput(f"{run.target} was started by foveate {kept.get('command')}, not {command}")
    begun = Recipe(**{name: kept[name] for name in _ENTRIES if name in kept})
    table = {name_of(name): value for name, value in flat(kept.get("settings", {})).items()}
    for name in sorted(recipe.stated):
        was, now = getattr(begun, name), getattr(recipe, name)
        if was != now:
            raise BadInput(f"{run.target} was started with {name} = {was!r}, not {now!r}")
    for stated, source in recipe.layers:
        now = {name_of(name): value for name, value in stated.items()}
        for line in differences({name: table.get(name) for name in now}, without_none(now)):
            raise BadInput(f"{run.target} was started with {line} ({source})")
    return dataclasses.replace(begun, layers=((table, f"{run.target}/{CONFIG}"),))


def device_of(run: Run, asked: str) -> "torch.device":
    """Where a run is trained: where it was begun, since another device would end with other weights."""
    from foveate.runtime.devices import resolve

    if not run.begun:
        return resolve(asked)
    begun = run.config.get("device", "cpu")
    device = resolve(begun if asked == "auto" else asked)
    if device.type != begun:
        raise BadInput(f"--device {asked}: {run.target} was started with device = {begun!r}")
    return device


def read_scenes(folder: str, recipe: Recipe, annotated: bool = True, usual: str | None = None) -> "Scenes":
    """`read_quietly`, with what is doubtful about the scenes printed on stderr."""
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


def annotated_scenes(
    folder: str, run: str, select: str | None = None, category: str | None = None, unannotated: Unannotated = None
) -> "Scenes":
    """Annotated scenes, read with the canonical points that the run was trained with; of several kinds, its own."""
    config = Run.open(run, needs=()).config
    known = config.get("category")
    known_of = {"canonical": config.get("canonical"), "symmetry": config.get("symmetry")}
    recipe = dataclasses.replace(Recipe(select=select, category=category, unannotated=unannotated), **known_of)
    read = read_scenes(folder, recipe, usual=known)
    if read.layout == "images":
        raise BadInput(f"{folder}: no annotations to evaluate against")
    if read.category is not None and known not in (None, read.category):
        note(f"{run} was trained on {known!r}; what is annotated in {folder} is {read.category!r}")
    return read


def read_quietly(folder: str, recipe: Recipe, annotated: bool = True, usual: str | None = None) -> "Scenes":
    """The scenes of a recipe; of the kind `usual` where several are annotated and the recipe names none."""
    from foveate.scenes import folder as scenes

    select = scenes.parse_select(recipe.select) if recipe.select else None
    canonical = {name: (point[0], point[1]) for name, point in (recipe.canonical or {}).items()} or None
    with progress().phase("read scenes") as tick:
        return scenes.read_scenes(
            folder, select, recipe.category, canonical, annotated, lambda done: tick(done), usual, recipe.unannotated,
            recipe.group,
        ).of_symmetry(recipe.symmetry)  # fmt: skip
