"""Which annotated scenes `foveate learn` mixes in: those that RUN was trained on, unless others are given."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from foveate.cli.options import note
from foveate.cli.recipe import Recipe
from foveate.cli.train import read_annotated
from foveate.errors import BadInput
from foveate.scenes.folder import Scenes


@dataclass(frozen=True)
class Replay:
    """Annotated scenes to mix in, before they are read.

    Attributes:
        folder: The folder, as an absolute path.
        select: Slice of its images.
        category: Kind of object that RUN knows; the one to use where several are annotated.
        required: Whether learning without them is refused.
    """

    folder: str
    select: str | None = None
    category: str | None = None
    required: bool = False

    def recorded(self, scenes: Scenes) -> dict[str, Any]:
        """The entries of config.toml on what was mixed in."""
        return {
            "replay": self.folder,
            "replay_select": self.select,
            "replay_category": self.category,
            "replay_images": len(scenes.scenes),
        }


def choose(named: str | None, off: bool, source: Mapping[str, Any]) -> Replay | None:
    """What to replay: the given folder, else what RUN was trained on or replayed itself.

    Args:
        named: The folder of `--replay`.
        off: `--no-replay`.
        source: The configuration of RUN.

    Raises:
        BadInput: Both were given.
    """
    if named is not None and off:
        raise BadInput("--replay and --no-replay can't both be given")
    if off:
        note("no replay: --no-replay")
        return None
    own = _trained_on(source)
    if named is not None:
        return Replay(os.path.abspath(named), category=source.get("category"), required=True)
    if own is None:
        note("no replay: RUN's config.toml names no annotated scenes (give some with --replay)")
    return own


def go_on(run: Any, named: str | None, off: bool) -> Replay | None:
    """What a begun run replays; options given now must agree.

    Raises:
        BadInput: It was begun with another folder.
    """
    begun = _replayed(run.config)
    folder = None if begun is None else begun.folder
    stated = None if named is None else os.path.abspath(named)
    if (stated is not None and stated != folder) or (off and folder is not None):
        raise BadInput(f"{run.target} was begun with replay = {folder!r}, not {stated!r}")
    return None if begun is None else replace(begun, required=True)


def read(replay: Replay | None, new: Scenes, canonical: Any) -> Scenes | None:
    """The annotated scenes to mix in, printed on stderr; None where there are none.

    An image that is among the new ones is left out: its annotations must not be used.

    Args:
        replay: Which.
        new: The scenes whose object locations are unknown.
        canonical: Where named keypoints lie in the canonical window, as RUN was trained.

    Raises:
        BadInput: They are required and hold no object, or can't be read.
    """
    if replay is None:
        return None
    try:
        scenes = _annotated(replay, new, canonical)
    except BadInput as error:
        if replay.required:
            raise
        note(f"no replay: {error}")
        return None
    note(f"replay: {len(scenes.scenes)} annotated scenes of {_place(replay)}")
    return scenes


def _annotated(replay: Replay, new: Scenes, canonical: Any) -> Scenes:
    found = read_annotated(replay.folder, Recipe(select=replay.select, canonical=canonical), usual=replay.category)
    if not replay.required and replay.category not in (None, found.category):
        raise BadInput(f"{replay.folder}: annotations are of {found.category!r}, RUN knows {replay.category!r}")
    unknown = {os.path.realpath(scene.path) for scene in new.scenes}
    others = [scene for scene in found.scenes if os.path.realpath(scene.path) not in unknown]
    if not any(len(scene.gazes) for scene in others):
        left = " that is not among the new scenes" if len(others) < len(found.scenes) else ""
        raise BadInput(f"{_place(replay)}: no annotated scene{left}")
    if len(others) < len(found.scenes):
        note(f"{len(found.scenes) - len(others)} scenes are not replayed: they are among the new ones")
    return replace(found, scenes=others)


def _trained_on(config: Mapping[str, Any]) -> Replay | None:
    if config.get("command") == "train" and "scenes" in config:
        return Replay(os.path.abspath(config["scenes"]), config.get("select"), config.get("category"))
    return _replayed(config)


def _replayed(config: Mapping[str, Any]) -> Replay | None:
    if "replay" not in config:
        return None
    return Replay(os.path.abspath(config["replay"]), config.get("replay_select"), config.get("replay_category"))


def _place(replay: Replay) -> str:
    return replay.folder + (f" [{replay.select}]" if replay.select else "")
