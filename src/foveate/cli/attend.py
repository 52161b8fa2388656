"""`foveate attend`: finds objects in images."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from foveate.cli.options import (
    ONE_OR_MORE,
    Common,
    MaxGazes,
    MinProbability,
    Overrides,
    Overwrite,
    Resume,
    Starts,
    note,
    parse_shard,
    print_figures,
    progress,
)
from foveate.cli.recipe import attend_settings
from foveate.errors import BadInput
from foveate.runtime.progress import Tick
from foveate.storage.files import CannotWrite, reason, write_atomic, write_json
from foveate.storage.results import Results
from foveate.storage.run import Run


def attend(
    run: str,
    first: Annotated[str, Parameter(name="IMAGES")],
    /,
    *more: Annotated[str, Parameter(name="MORE_IMAGES")],
    out: Annotated[str, Parameter(allow_leading_hyphen=True)],
    coco: str | None = None,
    overlays: str | None = None,
    crops: str | None = None,
    starts: Starts = None,
    max_gazes: MaxGazes = None,
    min_probability: MinProbability = None,
    shard: str | None = None,
    workers: Annotated[int | None, ONE_OR_MORE] = None,
    tiles: Annotated[bool, Parameter(show_default=False)] = False,
    ray: str | None = None,
    set_: Overrides = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """Find objects in images, with probabilities and posteriors.

    Writes one JSON line per image, in the order of the arguments and of the file names in each folder. An image that
    can't be read gives a line with an error, and the run continues. The result of an image depends only on its pixels,
    the RUN, the options and the seed.

    Args:
        run: A RUN folder.
        first: An image, or a folder of images (recognised by content, not by name).
        more: More images or folders.
        out: JSON Lines file to write; - or /dev/stdout for standard output.
        coco: Also write the results as a COCO file.
        overlays: Folder for images with the gazes drawn on them.
        crops: Folder for aligned crops, one per object.
        shard: I/N processes the I-th of N equal shares of the images.
        workers: Images processed in parallel. [default: one per core]
        tiles: Also attend tiles of images larger than the setting `attend.largest`, to find small objects.
        ray: Address of a Ray cluster; auto for the cluster of this machine; local for its cores. Images, RUN and output
            folders need the same paths on every machine.
    """
    from foveate.scenes.listing import scan_all

    started = time.monotonic()
    settings = attend_settings(run, starts, max_gazes, min_probability, set_, common)
    listing = scan_all([first, *more])
    images = share(listing.images, shard)
    note(listing.summary() + (f", {len(images)} of them in shard {shard}" if shard else ""))
    if not images:
        raise BadInput(f"{' '.join([first, *more])}: no images")
    lines = (partial(_on_ray, address=ray) if ray else _here)(run, settings, common, workers, tiles)
    with Results(out, resume, overwrite) as results:
        if results.streaming and common.json:
            raise BadInput("--json and --out both write to stdout: write the results to a file")
        if results.done:
            note(f"{len(results.done)} already done by an earlier run")
        pictures = Pictures(overlays, crops)
        counts = _attend_all(lines, images, results, pictures, keep=coco is not None)
        if ray or results.done:
            results.arrange(name for name, _ in images)
        results.finish()
        if coco:
            records = results.records() if not results.streaming else iter(counts.pop("kept"))
            _write_coco(coco, records, run)
    counts.pop("kept", None)
    figures = {**counts, "seconds": round(time.monotonic() - started, 3)}
    if common.json:
        print_figures(figures, as_json=True)
    else:
        note(", ".join(f"{value} {name}" for name, value in figures.items()))


def share(images: list[tuple[str, str]], shard: str | None) -> list[tuple[str, str]]:
    """The I-th of N shares of the images, as `--shard I/N` asks; the shares together are all images, each once."""
    number, count = parse_shard(shard)
    return images[number - 1 :: count]


class Pictures:
    """The folders of overlays and crops, where they were asked for."""

    def __init__(self, overlays: str | None, crops: str | None):
        self.overlays, self.crops = _output_folder(overlays), _output_folder(crops)

    def write(self, attended: Any) -> None:
        """Draw and cut one image; files are replaced whole, so a resumed run may do them again."""
        if attended.pixels is None or not (self.overlays or self.crops):
            return
        from foveate.attention import output as outputs

        name = outputs.output_name(attended.name)
        if self.overlays:
            _save(self.overlays / f"{name}.jpg", outputs.draw_overlay(attended.pixels, attended.founds), "JPEG")
        if self.crops:
            pixels, founds = attended.detail()
            for number, found in enumerate(founds, start=1):
                _save(self.crops / f"{name}-{number}.png", outputs.crop(pixels, found.u, 192), "PNG")


Look = Callable[[Any], None]
Lines = Callable[[list[tuple[str, str]], Tick, Look], Iterator[dict[str, Any]]]


def _here(run: str, settings: Any, common: Common, workers: int | None, tiles: bool) -> Lines:
    """The lines of images as this machine gives them, in order."""
    from foveate.attention.attend import Attention
    from foveate.attention.image_files import attend_images
    from foveate.runtime.devices import resolve

    attention = Attention.load(run, device=str(resolve(common.device)))

    def lines(images: list[tuple[str, str]], tick: Tick, look: Look) -> Iterator[dict[str, Any]]:
        for attended in attend_images(attention, images, settings, tick, workers, tiles):
            look(attended)
            yield attended.line()

    return lines


def _on_ray(run: str, settings: Any, common: Common, workers: int | None, tiles: bool, address: str) -> Lines:
    """The lines of images as a cluster gives them, in the order in which they are done."""
    from foveate.attention.cluster import attending, over_ray
    from foveate.runtime.devices import resolve

    device = str(resolve(common.device))

    def lines(images: list[tuple[str, str]], tick: Tick, look: Look) -> Iterator[dict[str, Any]]:
        function = attending(run, settings, device, look, tiles)
        found = over_ray(function, images, address, workers, gpus=int(device != "cpu"))
        for done, line in enumerate(found, start=1):
            yield line
            tick(done)

    return lines


def _attend_all(
    lines: Lines, images: list[tuple[str, str]], results: Results, pictures: Pictures, keep: bool
) -> dict[str, Any]:
    todo = [(name, path) for name, path in images if name not in results.done]
    counts: dict[str, Any] = {"images": 0, "gazes": 0, "errors": 0, "kept": []}
    with progress().phase("attend", total=len(todo)) as tick:
        for line in lines(todo, tick, pictures.write):
            results.append(line)
            counts["images"] += 1
            counts["gazes"] += len(line.get("gazes", []))
            if "error" in line:
                counts["errors"] += 1
                note(f"{line['image']}: {line['error']}")
            if keep and results.streaming:
                counts["kept"].append(_slim(line))
    return counts


def _slim(line: dict[str, Any]) -> dict[str, Any]:
    """A line without its trails, which a COCO file has no place for."""
    gazes = [{name: value for name, value in gaze.items() if name != "trail"} for gaze in line.get("gazes", [])]
    return {**line, "gazes": gazes} if "gazes" in line else line


def _write_coco(path: str, records: Any, run: str) -> None:
    from foveate.attention.output import coco

    category = Run.open(run).config.get("category") or "object"
    write_json(path, coco([_slim(record) for record in records], category))


def _output_folder(name: str | None) -> Path | None:
    if name is None:
        return None
    from foveate.scenes.listing import mark_output

    try:
        os.makedirs(name, exist_ok=True)
        mark_output(name)
    except OSError as error:
        raise CannotWrite(f"can't write {name}: {reason(error)}") from error
    return Path(name).absolute()  # workers of a cluster begin elsewhere


def _save(path: Path, picture: Any, kind: str) -> None:
    write_atomic(path, lambda handle: picture.save(handle, format=kind, **({"quality": 90} if kind == "JPEG" else {})))
