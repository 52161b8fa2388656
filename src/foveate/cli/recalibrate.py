"""foveate recalibrate: what a RUN states, made true where it is used."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from foveate.cli import options
from foveate.cli.options import note, print_figures, progress
from foveate.cli.recipe import annotated_scenes, attend_settings
from foveate.errors import BadInput
from foveate.storage.run import METRICS, MODELS, PAPER, PERIPHERY, STORY, Run

BACKGROUND = "background.safetensors"


def recalibrate(
    run: str,
    scenes: str,
    /,
    *,
    out: str,
    overwrite: options.Overwrite = False,
    on: options.On = options.On(),  # noqa: B008 it is frozen
    common: options.Common = options.Common(),  # noqa: B008 it is frozen
) -> None:
    """Calibrate a RUN anew on annotated scenes, and write it to another RUN.

    Fits the probabilities, the spreads and the regions of attend --coverage; the patch model, the networks and the
    ranking of gazes stay as they are. Thirty scenes that neither trained RUN nor will be used to judge it are a start.

    Args:
        run: A RUN folder.
        scenes: Annotated scenes of the place of use.
        out: RUN folder to write.
    """
    started, source = time.monotonic(), Run.open(run)
    settings = attend_settings(run, on.set_, common, "many")
    from foveate.attention.models import Models
    from foveate.learning.recalibration import recalibrate as fit
    from foveate.report.page import write_report
    from foveate.report.results import TableStory
    from foveate.storage.files import save_tensors
    from foveate.training.gallery import load_gallery

    device = common.torch_device()
    read = annotated_scenes(scenes, run, on.select, on.category, on.unannotated)
    if os.path.realpath(out) == os.path.realpath(run):
        raise BadInput(f"--out {out}: it is the RUN itself; name another folder")
    with Run.claim(out, overwrite) as made:
        told = {"recalibrated": os.path.abspath(scenes), "recalibrated_images": len(read.scenes)}
        made.begin(source.config | told)

        def work(target: Run) -> dict[str, Any]:
            gallery = load_gallery(read.scenes, progress(), settings.largest)
            evidence, figures = fit(Models.load(run).to(device), gallery, settings, progress())
            _copy(source.path, target.path)
            save_tensors(target.path / BACKGROUND, evidence.tensors())
            target.log({"phase": "recalibration", **figures})
            return figures

        def tell(story: Path, figures: dict[str, Any]) -> None:
            rows = [[name.replace("_", " "), value] for name, value in figures.items()]
            caption = "On the scenes that it was fitted on, by which ece after comes out too small."
            TableStory(["figure", "value"], rows, caption, "Calibrated anew").save(story)

        figures = made.complete(work, tell, lambda path: note(f"page: {write_report(path)}"))
    print_figures({"run": str(made.path), **figures, "seconds": round(time.monotonic() - started, 1)}, common.json)


def _copy(source: Path, target: Path) -> None:
    """Everything that stays as it is: models, log, and what the page is made from."""
    for name in (*MODELS, PERIPHERY, PAPER, METRICS):
        if name != BACKGROUND and (source / name).exists():
            shutil.copyfile(source / name, target / name)
    if (source / STORY).is_dir():
        shutil.copytree(source / STORY, target / STORY, dirs_exist_ok=True)
