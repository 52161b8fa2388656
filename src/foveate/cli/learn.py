"""`foveate learn`: learns from scenes without annotations."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from foveate.cli.options import (
    Common,
    ConfigFile,
    Group,
    Overrides,
    Overwrite,
    Preset,
    Resume,
    Select,
    note,
    print_figures,
    progress,
)
from foveate.cli.recipe import agree, device_of, gather, in_frame_of, like_run, recorded, settings_of
from foveate.cli.train import begin, make_page, read_images


def learn(
    run: str,
    scenes: str,
    /,
    *,
    out: str,
    preset: Preset | None = None,
    select: Select = None,
    group: Group = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    replay: str | None = None,
    no_replay: Annotated[bool, Parameter(show_default=False)] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    common: Common = Common(),  # noqa: B008 it is frozen
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
    from foveate.attention.models import Models
    from foveate.cli import replay as replaying
    from foveate.learning.learn import learn as learn_models
    from foveate.learning.settings import PRESETS
    from foveate.runtime.devices import resolve
    from foveate.storage.run import CONFIG, Run

    started = time.monotonic()
    resolve(common.device)  # it must be there before anything is claimed
    source = Run.open(run)
    recipe = gather(config, preset, select, None, set_, common, group=group)
    with Run.claim(out, overwrite, resume) as learned:
        if learned.begun:
            recipe, mixed_in = agree(learned, "learn", recipe), replaying.go_on(learned, replay, no_replay)
        else:
            recipe = like_run(recipe, source.config, str(source.path / CONFIG))
            recipe = in_frame_of(recipe, source.config, str(source.path / CONFIG))
            mixed_in = replaying.choose(replay, no_replay, source.config)
        if learned.whole:
            note(f"{out}: finished by an earlier run")
            return
        settings = settings_of(recipe, PRESETS)
        device = device_of(learned, common.device)
        read = read_images(scenes, recipe)
        old = replaying.read(mixed_in, read, source.config.get("canonical"))
        known = {} if mixed_in is None or old is None else mixed_in.recorded(old)
        known |= {"run": os.path.abspath(run), "category": source.config.get("category"), "images": len(read.scenes)}
        begin(learned, recorded("learn", scenes, recipe, settings, device=str(device), **known))
        models = Models.load(run).to(device)
        better, gallery, done = learn_models(models, read, learned, settings, progress(), old)
        tell(learned.story, models, better, gallery, done)
        learned.finish()
        make_page(learned.path)
        rounds = [_figures(each) for each in done]
        replayed = 0 if old is None else len(old.scenes)
        figures = {"run": str(learned.path), "images": len(gallery.names), "replayed": replayed, "rounds": rounds}
    print_figures({**figures, "seconds": round(time.monotonic() - started, 1)}, common.json)


def tell(story: Path, source: Any, learned: Any, gallery: Any, rounds: Any) -> None:
    """Keep what the page tells of learning."""
    from foveate.report.learning_story import tell_learning

    story.mkdir(exist_ok=True)
    tell_learning(story, source, learned, gallery, rounds, progress())


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
