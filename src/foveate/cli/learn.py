"""`foveate learn`: learns from scenes without annotations."""

import os
import time
from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter

from foveate.cli import options
from foveate.cli import replay as replaying
from foveate.cli.options import note, print_figures, progress
from foveate.cli.recipe import Recipe, after, agree, configuration, device_of, gather, read_scenes, settings_of
from foveate.learning.settings import PRESETS
from foveate.runtime.devices import resolve
from foveate.runtime.progress import Progress
from foveate.storage.run import Run


def learn(
    run: str,
    scenes: str,
    /,
    *,
    out: str,
    preset: options.Preset | None = None,
    select: options.Select = None,
    group: options.Group = None,
    config: options.ConfigFile = None,
    set_: options.Overrides = None,
    replay: str | None = None,
    no_replay: Annotated[bool, Parameter(show_default=False)] = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    common: options.Common = options.Common(),  # noqa: B008 it is frozen
) -> None:
    """Learn from scenes without annotations.

    Infers gazes with the models of RUN, trains on those that are certain enough, and writes the new models to another
    RUN. Annotations of the scenes are ignored. The annotated scenes that RUN was trained on are mixed in, where they
    are still found, so that the old kind is not forgotten. Without --preset, preset and settings of training are
    those of RUN. An interrupted run continues with --resume.

    Args:
        run: RUN folder to start from.
        scenes: A folder of images.
        out: RUN folder to write.
        replay: Annotated scenes to mix in instead of those of RUN.
        no_replay: Mix in no annotated scenes.
    """
    recipe = gather(config, preset, select, None, set_, common, group=group)
    mixing = (replay, no_replay)
    figures = learn_run(run, scenes, out, recipe, common.device, mixing, resume, overwrite, progress())
    if figures is not None:
        print_figures(figures, common.json)


def learn_run(
    run: str, scenes: str, out: str, recipe: Recipe, device: str, mixing: tuple[str | None, bool], resume: bool,
    overwrite: bool, progress: Progress, beside: Collection[str] | None = None,
) -> dict[str, Any] | None:  # fmt: skip
    """Learns as a recipe says, to a whole RUN with its page; None where an earlier run has done it all.

    `mixing` is the folder to replay, and whether nothing is replayed; see `replay.choose`.
    `beside` are real paths of annotated images, which are left out of `scenes`; with them, where too few of the scenes
    can be trusted, the models stay as they are, while without it is `BadInput`.
    """
    source = Run.open(run)
    begun_with = after(recipe, source, PRESETS["standard"])
    settings = settings_of(begun_with, PRESETS)  # what is wrong is refused before anything is read
    from foveate.attention.models import Models
    from foveate.learning.learn import learn as learn_models
    from foveate.report.page import write_report
    from foveate.report.stories import save_learning_story

    started = time.monotonic()
    resolve(device)  # it must be there before anything is claimed
    with Run.claim(out, overwrite, resume) as learned:
        if learned.begun:
            begun_with = agree(learned, "learn", recipe)
            settings = settings_of(begun_with, PRESETS)
        mixed_in = replaying.choose(learned, *mixing, source.config)
        if learned.whole:
            note(f"{out}: finished by an earlier run")
            return None
        where = device_of(learned, device)
        read = read_scenes(scenes, begun_with, annotated=False)
        if beside is not None:
            read = replace(read, scenes=[each for each in read.scenes if os.path.realpath(each.path) not in beside])
        old, told = replaying.read(mixed_in, read, source.config)
        told |= {"run": os.path.abspath(run), "category": source.config.get("category"), "images": len(read.scenes)}
        learned.begin(configuration("learn", scenes, begun_with, settings, device=str(where), **told))
        models = Models.load(run).to(where)
        _, gallery, done = learned.complete(
            lambda run: learn_models(models, read, run, settings, progress, old, beside is not None),
            lambda story, made: save_learning_story(story, models, *made, progress),
            lambda path: note(f"page: {write_report(path)}"),
        )
        rounds = [_figures(each) for each in done]
        replayed = 0 if old is None else len(old.scenes)
        figures = {"run": str(learned.path), "images": len(gallery.names), "replayed": replayed, "rounds": rounds}
    return {**figures, "seconds": round(time.monotonic() - started, 1)}


def _figures(done: Any) -> dict[str, Any]:
    """A round: how many scenes taught, and what it did to the bound on the attended patches of held-out scenes."""
    return {
        "round": done.number,
        "taught": len(done.verdict.teaches),
        "rejected": sum(bool(reason) for reason in done.verdict.reasons),
        "bound_before": done.bound_before,
        "bound_after": done.bound_after,
        "undone": done.undone,
    }
