"""`foveate learn`: goes on learning where nobody has pointed."""

import time

from foveate.commands.options import (
    Common,
    ConfigFile,
    Overrides,
    Overwrite,
    Preset,
    Resume,
    Select,
    note,
    print_figures,
    progress,
)
from foveate.commands.recipes import agree, gather, recorded, settings_of
from foveate.commands.train import make_page, read_images


def learn(
    run: str,
    scenes: str,
    /,
    *,
    out: str,
    preset: Preset | None = None,
    select: Select = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """Go on learning from scenes whose object locations are unknown.

    Attends to the scenes with the models of RUN, learns from what it finds where it can be trusted, and writes the new
    models to another RUN. Annotations are not looked at. Stopped at any moment, it goes on with --resume.

    Args:
        run: The RUN folder to begin with.
        scenes: A folder of images.
        out: The RUN folder to write.
    """
    from foveate.attention.learn import PRESETS
    from foveate.attention.learn import learn as learn_models
    from foveate.runs import Run

    started = time.monotonic()
    source = Run.open(run)
    recipe = gather(config, preset, select, None, set_, common)
    with Run.claim(out, overwrite, resume) as learned:
        if learned.begun:
            recipe = agree(learned, "learn", recipe)
        if learned.whole:
            note(f"{out}: finished by an earlier run")
            return
        settings = settings_of(recipe, PRESETS)
        read = read_images(scenes, recipe)
        if not learned.begun:
            kept = {"run": run, "category": source.config.get("category")}
            learned.write_config(recorded("learn", scenes, recipe, settings, **kept))
        learn_models(source, read, learned, settings, progress())
        learned.finish()
        make_page(learned.path)
        figures = {"run": str(learned.path), "scenes": len(read.scenes)}
    print_figures({**figures, "seconds": round(time.monotonic() - started, 1)}, common.json)
