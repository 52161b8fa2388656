"""`foveate attend`: finds objects in images."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from foveate.cli import options
from foveate.cli.options import note, parse_shard, print_figures, progress
from foveate.cli.outputs import Outputs, Pictures, check, write_all
from foveate.cli.recipe import attend_settings
from foveate.errors import BadInput
from foveate.runtime.progress import Tick
from foveate.storage.results import STDOUT, Results
from foveate.storage.run import PAPER, Run


def attend(
    run: str,
    first: Annotated[str, Parameter(name="IMAGES")],
    /,
    *more: Annotated[str, Parameter(name="MORE_IMAGES")],
    out: Annotated[str, Parameter(allow_leading_hyphen=True)],
    outputs: Outputs = Outputs(),  # noqa: B008 it is frozen
    starts: options.Starts = None,
    max_gazes: options.MaxGazes = None,
    min_probability: options.MinProbability = None,
    like: str | None = None,
    with_: Annotated[list[str] | None, Parameter(name="--with")] = None,
    coverage: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None,
    paper: Annotated[bool, Parameter(show_default=False)] = False,
    visible: Annotated[bool, Parameter(show_default=False)] = False,
    page: options.Count | None = None,
    shard: str | None = None,
    workers: Annotated[int | None, options.ONE_OR_MORE] = None,
    tiles: Annotated[bool, Parameter(show_default=False)] = False,
    ray: str | None = None,
    set_: options.Overrides = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    common: options.Common = options.Common(),  # noqa: B008 it is frozen
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
        like: Look for this one: an aligned crop, or IMAGE:a,b,tx,ty. Gazes are ordered by `likeness`, in nats.
        with_: A RUN of another kind of object, to find both kinds; may be repeated. Of gazes at one place the most
            probable stays, whatever its kind. Each has its `category`, each image `counts` by kind.
        coverage: Also give a region for each gaze that holds the true one of this share of the objects that are found.
        paper: Infer as the paper does, with a RUN of train --paper: one gaze an image, by ConvNet and HMC.
        visible: Also give the share of each object that nothing covers.
        page: Which page of files that have several. [default: 1]
        shard: I/N processes the I-th of N equal shares of the images.
        workers: Images processed in parallel. [default: one per core]
        tiles: Also attend tiles of images larger than the setting `attend.largest`, to find small objects.
        ray: Address of a Ray cluster; auto for the cluster of this machine; local for its cores. Images, RUN and output
            folders need the same paths on every machine.
    """
    from foveate.scenes.listing import scan

    started, arguments = time.monotonic(), [first, *more]
    settings = attend_settings(run, set_, common, starts, max_gazes, min_probability)
    settings = dataclasses.replace(settings, page=page or 1, coverage=coverage, visible=visible)
    if paper:
        settings = in_the_paper(run, settings)
    listing = scan(*arguments)
    number, count = parse_shard(shard)
    images = listing.images[number - 1 :: count]
    note(listing.summary() + (f", {len(images)} of them in shard {shard}" if shard else ""))
    if not images:
        raise BadInput(f"{' '.join(arguments)}: no images")
    if common.json and out in STDOUT:
        raise BadInput("--json and --out both write to stdout: write the results to a file")
    if outputs.draws is not None and ray is not None:
        raise BadInput("--draws can't be combined with --ray: draws stay where they were made")
    check(outputs, out, arguments, images)
    if coverage is not None:
        _say_if_unbounded(run, coverage)
    made_by = {**made_with(run, settings), "tiles": tiles, **({} if like is None else {"like": like})}
    several = {other: attend_settings(other, set_, common, starts, max_gazes, min_probability) for other in with_ or ()}
    if several and (like is not None or ray is not None):
        raise BadInput("--with can't be combined with --like or --ray")
    if several:
        made_by["with"] = [made_with(other, its) for other, its in several.items()]
    lines = _looking(run, settings, common, workers, tiles, like, ray, several)
    with Results(out, resume, overwrite, made_by) as results:
        begun = len(results.done)
        if begun:
            note(f"{begun} already done by an earlier run")
            if outputs.draws is not None:
                raise BadInput(f"--draws {outputs.draws}: the draws of what an earlier run did are gone; start anew")
        pictures = Pictures(outputs, None if page else note)
        counts, kept = _attend_all(lines, images, results, pictures, outputs.wants_lines(), settings.max_gazes)
        pictures.finish()
        if ray or begun:
            results.arrange(name for name, _ in images)
        results.finish()
        everything = (lambda: iter(kept)) if results.streaming else results.records
        kinds = [Run.open(each).config.get("category") or "object" for each in (run, *several)]
        write_all(outputs, everything, arguments, *kinds)
    if counts["full"]:
        note(f"{counts['full']} images have {settings.max_gazes} gazes, and may hold more objects: raise --max-gazes")
    counts |= _strangeness(run, pictures.figures)
    figures = {**counts, "seconds": round(time.monotonic() - started, 3)}
    if common.json:
        print_figures(figures, as_json=True)
    else:
        note(", ".join(f"{value} {name}" for name, value in figures.items() if name not in ("strange", "full")))
    if counts["errors"] and counts["errors"] == counts["images"] and not begun:
        raise BadInput(f"none of the {counts['errors']} images can be used")


def in_the_paper(run: str, settings: Any) -> Any:
    """The settings with the paper's inference, whose last gaze no posterior moves.

    Raises:
        BadInput: The RUN was not trained for it.
    """
    if not (Path(run) / PAPER).exists():
        raise BadInput(f"--paper: {run} was not trained by foveate train --paper")
    return dataclasses.replace(settings, starts="paper", posterior=dataclasses.replace(settings.posterior, chains=0))


def _say_if_unbounded(run: str, coverage: float) -> None:
    from foveate.attention.posterior.conformal import fewest
    from foveate.storage.files import load_tensors

    errors = load_tensors(Path(run) / "background.safetensors").get("errors", ())
    if len(errors) < fewest(coverage):
        needed = f"{fewest(coverage)} are needed, from foveate recalibrate with more annotated scenes"
        note(f"regions of coverage {coverage:g} are unbounded: {run} was calibrated on {len(errors)} objects, {needed}")


def _strangeness(run: str, seen: list[Any]) -> dict[str, Any]:
    """Whether these images differ from those of training: said, and under the name `strange`; nothing if unknown."""
    import numpy as np

    from foveate.attention.familiarity import FEWEST, compare, told
    from foveate.storage.files import load_tensors

    if len(seen) < FEWEST:
        return {}
    known = load_tensors(Path(run) / "background.safetensors")["known"].numpy()
    strange = compare(known, np.stack(seen))
    if strange is not None:
        note(told(strange, len(seen), len(known)))
    return {"strange": None if strange is None else strange._asdict()}


def made_with(run: str, settings: Any) -> dict[str, Any]:
    """What made the results, for their first line: the RUN, by its name and a hash of its weights, and the settings."""
    name = os.path.basename(os.path.realpath(run))
    return {"run": name, "hash": Run.open(run).weights_hash(), "settings": dataclasses.asdict(settings)}


Look = Callable[[Any], None]
Lines = Callable[[list[tuple[str, str]], Tick, Look], Iterator[dict[str, Any]]]


def _looking(
    run: str, settings: Any, common: options.Common, workers: int | None, tiles: bool, like: str | None,
    ray: str | None, several: Mapping[str, Any],
) -> Lines:  # fmt: skip
    """The lines of images: of this machine in their order, of a cluster in the order in which they are done.

    `several` are further RUNs, each with its settings.
    """
    device = str(common.torch_device())
    if ray:
        from foveate.attention.images.cluster import attending, over_ray

        def far(images: list[tuple[str, str]], tick: Tick, look: Look) -> Iterator[dict[str, Any]]:
            function = attending(run, settings, device=device, look=look, tiles=tiles, like=like)
            found = over_ray(function, images, ray, workers, gpus=int(device != "cpu"))
            for done, line in enumerate(found, start=1):
                yield line
                tick(done)

        return far
    from foveate.attention.attend import Attention
    from foveate.attention.images.image_files import attend_images
    from foveate.attention.images.kinds import Kinds

    attention = Attention.load(run, device=device)
    minded = attention if like is None else attention.looking_for(like)
    if several:
        minded = Kinds([minded, *(Attention.load(other, device=device) for other in several)], several.values())

    def here(images: list[tuple[str, str]], tick: Tick, look: Look) -> Iterator[dict[str, Any]]:
        for attended in attend_images(minded, images, settings, tick, workers, tiles):
            look(attended)
            yield attended.line()

    return here


def _attend_all(
    lines: Lines, images: list[tuple[str, str]], results: Results, pictures: Pictures, keep: bool, most: int
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Writes every line; counts, those with as many as `most` gazes too, and the lines where they are wanted again and
    can't be read back."""
    todo = [(name, path) for name, path in images if name not in results.done]
    counts, kept = {"images": 0, "gazes": 0, "errors": 0, "full": 0}, []
    with progress().phase("attend", total=len(todo)) as tick:
        for line in map(pictures.tell, lines(todo, tick, pictures.write)):
            results.append(line)
            counts["images"] += 1
            counts["gazes"] += len(line.get("gazes", []))
            counts["full"] += len(line.get("gazes", [])) >= most
            if "error" in line:
                counts["errors"] += 1
                note(f"{line['image']}: {line['error']}")
            if keep and results.streaming:
                kept.append(line)
    return counts, kept
