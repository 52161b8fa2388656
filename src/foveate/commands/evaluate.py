"""`foveate evaluate bound` and `foveate evaluate localization`: how good a run is."""

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from foveate.commands.options import (
    Category,
    Common,
    MaxGazes,
    MinProbability,
    Overrides,
    Select,
    Starts,
    note,
    print_figures,
    progress,
)
from foveate.files import CannotWrite


def localization(
    run: str,
    scenes: str,
    /,
    *,
    select: Select = None,
    category: Category = None,
    turn: float = 0.0,
    starts: Starts = "many",
    max_gazes: MaxGazes = None,
    min_probability: MinProbability = None,
    set_: Overrides = None,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """How well objects are found, against annotations.

    Prints accuracy by overlap and by step of the inference, errors of angle and scale, and whether the stated
    probabilities and deviations are true. The page of RUN shows it from then on.

    Args:
        run: A RUN folder.
        scenes: Annotated scenes.
        turn: Turn photographs and truths in the plane first, by this many degrees clockwise.
    """
    from foveate.attention.localization import localize
    from foveate.commands.models import attend_settings, load_attention
    from foveate.report import LocalizationStory
    from foveate.runs import Run

    settings = attend_settings(starts, max_gazes, min_probability, set_, common)
    attention = load_attention(run, common)
    read = annotated_scenes(scenes, select, category, run)
    with progress().phase("evaluate localization", len(read.scenes)) as tick:
        everything = dataclasses.replace(settings, min_probability=0.0)  # top1 counts the best gaze, however unlikely
        stated = settings.min_probability
        result = localize(attention, read, everything, turn, lambda done, total: tick(done, total), stated)
    for name, reason in result.unreadable.items():
        note(f"{name}: {reason}")
    name = _name_of(scenes, select) + (f", turned {turn:g} degrees" if turn % 360 else "")
    keep(run, LocalizationStory(result.figures, name, reliability=result.figures["calibration"]["reliability"]), Run)
    print_figures(result.figures, common.json)


def keep(run: str, story: Any, kind: Any) -> None:
    """Keep a chapter for the page; a RUN that can't be written to is evaluated all the same."""
    try:
        os.makedirs(kind(Path(run)).story, exist_ok=True)
        story.save(kind(Path(run)).story)
    except (CannotWrite, OSError) as error:
        note(f"not kept for the page: {error}")


def annotated_scenes(folder: str, select: str | None, category: str | None, run: str) -> Any:
    """Annotated scenes, read with the canonical points and the category that the run was trained with."""
    from foveate.commands.recipes import Recipe
    from foveate.commands.train import read_annotated
    from foveate.runs import Run

    config = Run.open(run, needs=()).config
    return read_annotated(folder, Recipe(select=select, category=category, canonical=config.get("canonical")))


def _name_of(path: str, select: str | None) -> str:
    name = os.path.basename(os.path.abspath(path))
    return f"{name} {select}" if select else name


Chains = Annotated[int, Parameter(validator=Number(gte=1))]
