"""The configuration of a RUN, as config.toml keeps it: preset, file, command line, each overriding the one before."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from foveate import __version__
from foveate.cli.models import training_settings
from foveate.cli.options import Common
from foveate.errors import BadInput
from foveate.runtime.devices import resolve
from foveate.storage.config import differences, override, parse_overrides, read_toml, to_table, without_none

if TYPE_CHECKING:
    import torch

_MADE_BY = {
    "version", "command", "scenes", "run", "device", "images", "objects",
    "replay", "replay_select", "replay_category", "replay_images",
}  # fmt: skip
"""Further entries of config.toml; ignored when the file is given as `--config`."""


@dataclass
class Recipe:
    """Everything that determines the weights, except the scenes themselves.

    Attributes:
        preset: Name of the settings to start from.
        seed: Seed of every random number.
        select: Slice of the scenes.
        category: Kind of object, where several are annotated.
        canonical: Canonical positions of named keypoints, name -> [x, y].
        unannotated: What images without annotation are, where others have some.
        group: What is held out together.
        settings: Nested settings that override the preset's, each with its source.
        said: Names of what the user gave, in a file or on the command line.
    """

    preset: str = "standard"
    seed: int = 0
    select: str | None = None
    category: str | None = None
    canonical: dict[str, list[float]] | None = None
    unannotated: Literal["empty", "ignore"] | None = None
    group: str | None = None
    settings: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    said: set[str] = field(default_factory=set)


_TYPES: dict[str, tuple[type, str]] = {
    "preset": (str, "a text"),
    "seed": (int, "a whole number"),
    "select": (str, "a text START:STOP"),
    "category": (str, "a text"),
    "canonical": (dict, "a table of name = [x, y]"),
    "unannotated": (str, "empty or ignore"),
    "group": (str, "folder or a regular expression"),
    "settings": (dict, "a table"),
}


def gather(
    config: str | None,
    preset: str | None,
    select: str | None,
    category: str | None,
    set_: list[str] | None,
    common: Common,
    **more: str | None,
) -> Recipe:
    """The recipe that a configuration file and the command line describe; `more` are further entries of the latter.

    Raises:
        BadInput: The file can't be read, or an entry is unknown or of the wrong type.
    """
    recipe = Recipe()
    if config is not None:
        _take(recipe, _checked(config), config)
    line = {"preset": preset, "seed": common.seed, "select": select, "category": category, **more}
    _take(recipe, {name: value for name, value in line.items() if value is not None}, "the command line")
    if set_:
        _take(recipe, {"settings": parse_overrides(set_)}, "--set")
    return recipe


def like_run(recipe: Recipe, config: Mapping[str, Any], source: str) -> Recipe:
    """The recipe with a run's own preset and training settings to begin with, where no preset is stated.

    What says which of the run's scenes were held out, its seed and share, is begun with in any case.

    Args:
        recipe: What was asked for; what it states goes over the run's.
        config: The configuration of the run.
        source: Where that lies, for messages.
    """
    own, preset = dict(training_settings(config)), config.get("preset", recipe.preset)
    if "preset" in recipe.said:
        own, preset = {name: value for name, value in own.items() if name in ("seed", "held_out")}, recipe.preset
    return dataclasses.replace(recipe, preset=preset, settings=[({"train": own}, source), *recipe.settings])


def in_frame_of(recipe: Recipe, config: Mapping[str, Any], source: str) -> Recipe:
    """The recipe with the canonical points of a run, which its models were trained in.

    Args:
        recipe: What was asked for.
        config: The configuration of the run.
        source: Where that lies, for messages.

    Raises:
        BadInput: Others were stated.
    """
    own = config.get("canonical")
    if recipe.canonical not in (None, own):
        raise BadInput(f"canonical = {recipe.canonical!r}: the models of {source} were trained with {own!r}")
    return dataclasses.replace(recipe, canonical=own)


def settings_of(recipe: Recipe, presets: Mapping[str, Any]) -> Any:
    """The settings dataclass of a recipe.

    Raises:
        BadInput: No such preset or setting, or a value that its type doesn't take.
    """
    if recipe.preset not in presets:
        raise BadInput(f"preset {recipe.preset!r}: there are {', '.join(presets)}")
    settings = presets[recipe.preset]
    for table, source in recipe.settings:
        settings = override(settings, table, source)
    own = {field.name for field in dataclasses.fields(settings)}
    return dataclasses.replace(settings, **({"seed": recipe.seed} if "seed" in own else {}))


def recorded(command: str, scenes: str, recipe: Recipe, settings: Any, **more: Any) -> dict[str, Any]:
    """The table of config.toml: given as `--config`, it repeats the command.

    Args:
        command: Its name.
        scenes: The folder; kept as an absolute path, so that it is found from wherever the run is used.
        recipe: What was asked for.
        settings: What came of it.
        more: Entries that add to the recipe's, or replace them (the category that was found).
    """
    return without_none(
        {
            "command": command,
            "version": __version__,
            "scenes": os.path.abspath(scenes),
            "preset": recipe.preset,
            "seed": recipe.seed,
            "select": recipe.select,
            "category": recipe.category,
            "canonical": recipe.canonical,
            "unannotated": recipe.unannotated,
            "group": recipe.group,
            **more,
            "settings": to_table(settings),
        }
    )


def agree(run: Any, command: str, recipe: Recipe) -> Recipe:
    """The recipe that a begun run was begun with; what the user states now must say the same.

    Raises:
        BadInput: It was begun by another command, or with another value of something that is stated now.
    """
    kept = run.config
    if kept.get("command") != command:
        raise BadInput(f"{run.target} was begun by foveate {kept.get('command')}, not {command}")
    begun = Recipe()
    _take(begun, {name: value for name, value in kept.items() if name in _TYPES}, f"{run.target}/config.toml")
    for name in sorted(recipe.said & (_TYPES.keys() - {"settings"})):
        if getattr(begun, name) != getattr(recipe, name):
            raise BadInput(
                f"{run.target} was begun with {name} = {getattr(begun, name)!r}, not {getattr(recipe, name)!r}"
            )
    for table, source in recipe.settings:
        for line in differences(_part(kept.get("settings", {}), table), without_none(table)):
            raise BadInput(f"{run.target} was begun with {line} ({source})")
    return begun


def device_of(run: Any, asked: str) -> "torch.device":
    """Where a run is trained: where it was begun, since another device would end with other weights.

    Args:
        run: A claimed run.
        asked: What `--device` says; auto takes the device it was begun on.

    Raises:
        BadInput: Another one is asked for, or it is no longer there.
    """
    if not run.begun:
        return resolve(asked)
    begun = run.config.get("device", "cpu")
    device = resolve(begun if asked == "auto" else asked)
    if device.type != begun:
        raise BadInput(f"--device {asked}: {run.target} was begun with device = {begun!r}")
    return device


def _part(whole: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a nested table that another one names too."""
    part = {}
    for name, value in like.items():
        there = whole.get(name)
        part[name] = _part(there, value) if isinstance(there, Mapping) and isinstance(value, Mapping) else there
    return part


def _checked(config: str) -> dict[str, Any]:
    table = {name: value for name, value in read_toml(config).items() if name not in _MADE_BY}
    for name, value in table.items():
        if name not in _TYPES:
            raise BadInput(f"{config}: no entry {name}; there are {', '.join(_TYPES)}")
        kind, text = _TYPES[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BadInput(f"{config}: {name}: expected {text}, got {value!r}")
    for name, point in table.get("canonical", {}).items():
        if not (isinstance(point, list) and len(point) == 2 and all(isinstance(x, (int, float)) for x in point)):
            raise BadInput(f"{config}: canonical.{name}: expected [x, y], got {point!r}")
    if table.get("unannotated") not in (None, "empty", "ignore"):
        raise BadInput(f"{config}: unannotated: expected empty or ignore, got {table['unannotated']!r}")
    if table.get("seed", 0) < 0:
        raise BadInput(f"{config}: seed: expected a number of 0 or more, got {table['seed']}")
    return table


def _take(recipe: Recipe, table: Mapping[str, Any], source: str) -> None:
    for name, value in table.items():
        if name == "settings":
            recipe.settings.append((dict(value), source))
        else:
            setattr(recipe, name, value)
        recipe.said.add(name)
