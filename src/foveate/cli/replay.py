"""Which annotated scenes `foveate learn` mixes in: those that RUN was trained on, unless others are given."""

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.cli.options import note
from foveate.cli.recipe import Recipe, read_scenes
from foveate.errors import BadInput
from foveate.storage.run import Run

if TYPE_CHECKING:
    from foveate.scenes.folder import Scenes


class Replay(NamedTuple):
    """Annotated scenes to mix in, before they are read."""

    folder: str  # the folder, as an absolute path
    select: str | None = None  # slice of its images
    category: str | None = None  # kind of object that RUN knows; the one to use where several are annotated
    required: bool = False  # whether learning without them is refused

    def __str__(self) -> str:
        return self.folder + (f" [{self.select}]" if self.select else "")


def choose(run: Run, named: str | None, off: bool, source: Mapping[str, Any]) -> Replay | None:
    """What to replay: the given folder, else what RUN was trained on or replayed itself."""
    if named is not None and off:
        raise BadInput("--replay and --no-replay can't both be given")
    stated = None if named is None else os.path.abspath(named)
    if run.begun:
        begun = _replayed(run.config)
        folder = None if begun is None else begun.folder
        if stated not in (None, folder) or (off and begun is not None):
            raise BadInput(f"{run.target} was started with replay = {folder!r}, not {stated!r}")
        return None if begun is None else begun._replace(required=True)
    if stated is not None:
        return Replay(stated, category=source.get("category"), required=True)
    if off:
        note("no replay: --no-replay")
        return None
    if source.get("command") == "train" and "scenes" in source:
        return Replay(os.path.abspath(source["scenes"]), source.get("select"), source.get("category"))
    own = _replayed(source)
    if own is None:
        note("no replay: RUN's config.toml names no annotated scenes (give some with --replay)")
    return own


def read(replay: Replay | None, new: "Scenes", source: Mapping[str, Any]) -> tuple["Scenes | None", dict[str, Any]]:
    """The annotated scenes to mix in, and the entries of config.toml on them; None where there are none.

    An image that is among the new ones is left out: its annotations must not be used.
    """
    if replay is None:
        return None, {}
    try:
        scenes = _annotated(replay, new, source)
    except BadInput as error:
        if replay.required:
            raise
        note(f"no replay: {error}")
        return None, {}
    note(f"replay: {len(scenes.scenes)} annotated scenes of {replay}")
    where = {"replay": replay.folder, "replay_select": replay.select, "replay_category": replay.category}
    return scenes, {**where, "replay_images": len(scenes.scenes)}


def _annotated(replay: Replay, new: "Scenes", source: Mapping[str, Any]) -> "Scenes":
    recipe = Recipe(select=replay.select, canonical=source.get("canonical"), symmetry=source.get("symmetry"))
    found = read_scenes(replay.folder, recipe, usual=replay.category)
    if not replay.required and replay.category not in (None, found.category):
        raise BadInput(f"{replay.folder}: annotations are of {found.category!r}, RUN knows {replay.category!r}")
    unknown = {os.path.realpath(scene.path) for scene in new.scenes}
    others = [scene for scene in found.scenes if os.path.realpath(scene.path) not in unknown]
    if not any(len(scene.gazes) for scene in others):
        left = " that is not among the new scenes" if len(others) < len(found.scenes) else ""
        raise BadInput(f"{replay}: no annotated scene{left}")
    if len(others) < len(found.scenes):
        note(f"{len(found.scenes) - len(others)} scenes are not replayed: they are among the new ones")
    return dataclasses.replace(found, scenes=others)


def _replayed(config: Mapping[str, Any]) -> Replay | None:
    if "replay" not in config:
        return None
    return Replay(os.path.abspath(config["replay"]), config.get("replay_select"), config.get("replay_category"))
