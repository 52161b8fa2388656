"""`foveate suggest`: which images to annotate next."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from foveate.cli import options
from foveate.cli.options import note, print_figures, progress
from foveate.cli.outputs import Outputs, Pictures, check, claim_folder, write_all
from foveate.cli.recipe import attend_settings
from foveate.errors import BadInput
from foveate.storage.files import load_tensors, write_atomic
from foveate.storage.run import Run

SHEET, BEFORE = "sheet.jpg", "pre-annotations.coco.json"  # files of the folder `out`


def suggest(
    run: str,
    first: Annotated[str, Parameter(name="IMAGES")],
    /,
    *more: Annotated[str, Parameter(name="MORE_IMAGES")],
    count: options.Count = 20,
    out: str | None = None,
    outputs: Outputs = Outputs(),  # noqa: B008 it is frozen
    max_gazes: options.MaxGazes = None,
    min_probability: options.MinProbability = None,
    set_: options.Overrides = None,
    common: options.Common = options.Common(),  # noqa: B008 it is frozen
) -> None:
    """Which images to annotate next, and why.

    Prints a line for each, the most useful first: its path, a tab, and the reason. Useful are images that are uncertain
    (probabilities that are neither high nor low), unlike the images of training, or crowded; and of images that
    resemble each other one. What is found in them can be written for an annotation tool, to be corrected there.

    Args:
        run: A RUN folder.
        first: Images without annotations: an image, or a folder of them.
        more: More images or folders.
        count: How many to suggest.
        out: Folder for a contact sheet, sheet.jpg, and for the gazes found, pre-annotations.coco.json.
    """
    from foveate.scenes.listing import scan

    started, arguments = time.monotonic(), [first, *more]
    settings = attend_settings(run, set_, common, None, max_gazes, min_probability)
    listing = scan(*arguments)
    note(listing.summary())
    if not listing.images:
        raise BadInput(f"{' '.join(arguments)}: no images")
    check(outputs, "-", arguments, listing.images)
    folder = None if out is None else claim_folder("--out", out, arguments)
    from foveate.attention.attend import Attention
    from foveate.attention.images.image_files import attend_images
    from foveate.attention.overlay import draw_overlay
    from foveate.learning.contact_sheet import contact_sheet
    from foveate.learning.suggestion import Looked
    from foveate.learning.suggestion import suggest as choose

    attention = Attention.load(run, device=str(common.torch_device()))
    quick = dataclasses.replace(settings, posterior=dataclasses.replace(settings.posterior, chains=0))
    looked, errors = [], 0
    with progress().phase("look", len(listing.images)) as tick:
        for attended in attend_images(attention, listing.images, quick, tick):
            if attended.error is None:
                looked.append(Looked.at(attended))
            else:
                errors += 1
                note(f"{attended.name}: {attended.error}")
    if not looked:
        raise BadInput(f"none of the {errors} images can be used")
    known = load_tensors(Path(run) / "background.safetensors").get("known")
    chosen = choose(looked, None if known is None else known.numpy(), count)
    if len(chosen) < min(count, len(looked)):
        note(f"{len(chosen)} images are suggested: the others are copies of these")
    if folder is not None or outputs != Outputs():
        paths, pictures, lines, shown = dict(listing.images), Pictures(outputs, note), [], {}
        with progress().phase("attend", len(chosen)) as tick:
            images = [(each.image, paths[each.image]) for each in chosen]
            for attended in attend_images(attention, images, settings, tick):
                pictures.write(attended)
                lines.append(pictures.tell(attended.line()))
                if attended.pixels is not None:
                    shown[attended.name] = draw_overlay(attended.pixels, attended.founds)
        pictures.finish()
        if folder is not None:
            outputs = dataclasses.replace(outputs, coco=outputs.coco or str(folder / BEFORE))
            reasons = [f"{number}. {Path(each.image).name}: {each.reason}" for number, each in enumerate(chosen, 1)]
            seen = [(shown[each.image], why) for each, why in zip(chosen, reasons, strict=True) if each.image in shown]
            made = contact_sheet(seen)
            write_atomic(folder / SHEET, lambda handle: made.save(handle, format="JPEG", quality=90))
        write_all(outputs, lambda: iter(lines), arguments, Run.open(run).config.get("category") or "object")
    if common.json:
        figures = {"images": len(looked), "errors": errors, "suggested": [each._asdict() for each in chosen]}
        print_figures({**figures, "seconds": round(time.monotonic() - started, 3)}, as_json=True)
        return
    for each in chosen:
        print(f"{each.image}\t{each.reason}", flush=True)
