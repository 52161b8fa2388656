"""`foveate evaluate bound`, `localization`, `ambiguity` and `convergence`."""

import io
import os
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from foveate.cli import options
from foveate.cli.options import note, parse_shard, print_figures, progress
from foveate.cli.recipe import Recipe, attend_settings, read_scenes
from foveate.errors import BadInput
from foveate.storage.files import CannotWrite, write_atomic
from foveate.storage.run import STORY, Run

PLOTS = (".png", ".pdf", ".svg")
JITTERS = 8  # patches of each object that baselines are fitted on


def bound(
    run: str,
    patches: str,
    /,
    *,
    select: options.Select = None,
    category: options.Category = None,
    chains: options.Count = 100,
    temperatures: options.Count = 50_000,
    samples: options.Count = 100,
    importance_samples: options.Count = 1000,
    schedule: Literal["adaptive", "linear", "sigmoid"] = "adaptive",
    baselines: str | None = None,
    grbm: Annotated[bool, Parameter(show_default=False)] = False,
    shard: str | None = None,
    state: str | None = None,
    merge: list[str] | None = None,
    resume: options.Resume = False,
    common: options.Common = options.Common(),  # noqa: B008 it is frozen
) -> None:
    """Log density of patches under the patch model: bounds in nats, with log Z bracketed.

    Prints the variational and the importance-weighted bound. Forward and reverse annealed importance sampling bracket
    log Z. Figures are nats per standardised patch; add pixel_offset for nats over pixels in [0, 1].

    Args:
        run: A RUN folder; only its gdbn.safetensors is needed.
        patches: A .npy file of standardised patches [N, D], or annotated scenes.
        chains: Annealing chains, in each direction.
        temperatures: Intermediate distributions.
        samples: Samples of the hidden layer per patch, for the variational bound.
        importance_samples: The same for the importance-weighted bound.
        schedule: Spacing of the temperatures.
        baselines: Patches or scenes to fit baseline densities on, which are evaluated on the same patches; of scenes,
            the annotated objects through jittered gazes, and mirrored where the run was trained so.
        grbm: Also estimate the log density of the first layer alone.
        shard: I/N computes the I-th of N parts; keep each with --state, and combine them with --merge.
        state: File for intermediate results, to continue with --resume.
        merge: State file of a finished shard; give one for each shard. Only combines them.
    """
    path, part = Run.open(run, needs=("gdbn.safetensors",)).path / "gdbn.safetensors", parse_shard(shard)
    if resume and state is None:
        raise BadInput("--resume needs --state FILE")
    from foveate.boltzmann.dbn import GaussianDBN
    from foveate.evaluation.bound import evaluate_bound, merge_bounds
    from foveate.report.results import BoundStory

    device = common.torch_device()
    if merge:
        figures = merge_bounds(merge, progress())
    else:
        model = GaussianDBN.load(path)
        v = _patches(patches, model, select, category, run)
        fit, layout = (None, None) if baselines is None else _to_fit_on(baselines, model, category, run)
        figures = evaluate_bound(
            model.to(device),
            v,
            chains=chains,
            temperatures=temperatures,
            samples=samples,
            importance_samples=importance_samples,
            seed=common.seed or 0,
            schedule=schedule,
            shard=part,
            state_file=state,
            resume=resume,
            baselines=fit,
            layout=layout,
            grbm=grbm,
            progress=progress(),
        )
    if "shard" not in figures:
        keep(run, BoundStory(figures, _name_of(patches, select)))
    print_figures(figures, common.json)


def localization(
    run: str,
    scenes: str,
    /,
    *,
    select: options.Select = None,
    category: options.Category = None,
    unannotated: options.Unannotated = None,
    turn: float = 0.0,
    starts: options.Starts = None,
    max_gazes: options.MaxGazes = None,
    min_probability: options.MinProbability = None,
    plot: str | None = None,
    set_: options.Overrides = None,
    common: options.Common = options.Common(),  # noqa: B008 it is frozen
) -> None:
    """Accuracy, errors and calibration on annotated scenes.

    Prints top-1 accuracy and recall by IoU threshold, accuracy by inference step, errors of angle and scale, and the
    calibration of probabilities and posterior standard deviations. Adds them to the page of RUN, and a plot to RUN.

    Args:
        run: A RUN folder.
        scenes: Annotated scenes.
        turn: Rotate images and annotations first, by this many degrees clockwise.
        plot: File of the plot, .png, .pdf or .svg. [default: RUN/localization-NAME.png]
    """
    if plot is not None and Path(plot).suffix.lower() not in PLOTS:
        raise BadInput(f"--plot {plot}: expected a file name that ends in {', '.join(PLOTS)}")
    settings = attend_settings(run, starts, max_gazes, min_probability, set_, common)
    from foveate.attention.attend import Attention
    from foveate.evaluation.localization import localize
    from foveate.report.results import LocalizationStory
    from foveate.scenes.listing import mark_output

    attention = Attention.load(run, device=str(common.torch_device()))
    read = annotated_scenes(scenes, select, category, run, unannotated)
    with progress().phase("evaluate localization", len(read.scenes)) as tick:
        result = localize(attention, read, settings, turn, tick)
    for name, reason in result.unreadable.items():
        note(f"{name}: {reason}")
    name = _name_of(scenes, select) + (f", turned {turn:g} degrees" if turn % 360 else "")
    kept = keep(run, LocalizationStory(result.figures, name))
    print_figures(result.figures, common.json)
    if plot is not None:
        draw(result.figures, name, Path(plot))
    elif kept is not None:
        try:
            mark_output(run)  # a RUN that lies among images adds none to them
            draw(result.figures, name, Path(run) / f"{kept.stem}.png")
        except (CannotWrite, OSError) as error:
            note(f"no plot: {error}")


def ambiguity(
    run: str,
    scenes: str,
    /,
    *,
    pairs: options.Count = 100,
    select: options.Select = None,
    category: options.Category = None,
    set_: options.Overrides = None,
    common: options.Common = options.Common(),  # noqa: B008 it is frozen
) -> None:
    """Two objects side by side, one of them in mind: how often that one is attended to.

    Puts photographs side by side, each cut around its largest object, and has each of the two in mind once: as it looks
    through another gaze, in another light, and partly covered. Prints where the first gaze of the whole pipeline is,
    and where the networks alone take a gaze that starts midway. Adds a table to the page of RUN.

    Args:
        run: A RUN folder.
        scenes: Annotated scenes.
        pairs: Pairs of photographs.
    """
    settings = attend_settings(run, None, None, None, set_, common)
    from foveate.attention.attend import Attention
    from foveate.evaluation.ambiguity import ambiguity
    from foveate.report.experiments import ambiguity_table

    attention = Attention.load(run, device=str(common.torch_device()))
    read = annotated_scenes(scenes, select, category, run)
    with progress().phase("evaluate ambiguity", 2 * pairs) as tick:
        result = ambiguity(attention, read.scenes, settings, pairs, tick)
    for name, reason in result.unreadable.items():
        note(f"{name}: {reason}")
    keep(run, ambiguity_table(result.figures, _name_of(scenes, select)))
    print_figures(result.figures, common.json)


def convergence(
    run: str,
    scenes: str,
    /,
    *,
    select: options.Select = None,
    category: options.Category = None,
    set_: options.Overrides = None,
    common: options.Common = options.Common(),  # noqa: B008 it is frozen
) -> None:
    """From how far off gazes find their object, beside template matching.

    Prints accuracy (IoU above 0.5) and mean IoU against the start's offset, in pixels of the canonical patch (24 to a
    window), against its size, and against steps; what Hamiltonian Monte Carlo adds; and the same of normalised
    cross-correlation and of Euclidean matching. Adds curves and a table to the page of RUN.

    Args:
        run: A RUN folder.
        scenes: Annotated scenes.
    """
    settings = attend_settings(run, None, None, None, set_, common)
    from foveate.attention.attend import Attention
    from foveate.evaluation.convergence import convergence
    from foveate.report.experiments import convergence_table
    from foveate.training.gallery import load_gallery

    attention = Attention.load(run, device=str(common.torch_device()))
    read = annotated_scenes(scenes, select, category, run)
    gallery = load_gallery(read.scenes, progress(), settings.largest, fewest=1)
    figures = convergence(attention.models, gallery, settings, progress())
    keep(run, convergence_table(figures, _name_of(scenes, select)))
    print_figures(figures, common.json)


def keep(run: str, story: Any) -> Path | None:
    """Save figures for the page, and return the file; a RUN that can't be written to is evaluated all the same."""
    folder = Path(run) / STORY
    try:
        folder.mkdir(exist_ok=True)
        return story.save(folder)
    except (CannotWrite, OSError) as error:
        note(f"not added to the page: {error}")
        return None


def draw(figures: dict[str, Any], name: str, target: Path) -> None:
    """Write the plot of figures of localization, in the form that the file's ending names."""
    from foveate.evaluation.plots import plot_localization

    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name in a script that the font lacks is drawn as boxes
        plot_localization(figures, name).savefig(content, format=target.suffix[1:].lower(), dpi=150)
    write_atomic(target, content.getvalue())
    note(f"plot: {target}")


def annotated_scenes(
    folder: str, select: str | None, category: str | None, run: str, unannotated: options.Unannotated = None
) -> Any:
    """Annotated scenes, read with the canonical points that the run was trained with; of several kinds, its own.

    Raises:
        BadInput: They can't be read, or nothing is annotated at all.
    """
    config = Run.open(run, needs=()).config
    known = config.get("category")
    recipe = Recipe(select=select, category=category, canonical=config.get("canonical"), unannotated=unannotated)
    read = read_scenes(folder, recipe, usual=known)
    if read.layout == "images":
        raise BadInput(f"{folder}: no annotations to evaluate against")
    if read.category is not None and known not in (None, read.category):
        note(f"{run} was trained on {known!r}; what is annotated in {folder} is {read.category!r}")
    return read


def _name_of(path: str, select: str | None) -> str:
    name = os.path.basename(os.path.abspath(path))
    return f"{name} {select}" if select else name


def _patches(path: str, model: Any, select: str | None, category: str | None, run: str) -> Any:
    """Standardised patches from a .npy file or from annotated scenes."""
    from foveate.evaluation.patches import load_patches, scene_patches

    if not os.path.isdir(path):
        if select is not None:
            raise BadInput(f"--select needs a folder of images, and {path} is a file")
        return load_patches(path)
    scenes = annotated_scenes(path, select, category, run)
    with progress().phase("aligned patches", len(scenes.scenes)) as tick:
        return scene_patches(scenes, model, tick, note)


def _to_fit_on(path: str, model: Any, category: str | None, run: str) -> tuple[Any, Any]:
    """What baselines are fitted on: a .npy file's patches; or of scenes jittered ones, in folds, and how pixels lie."""
    from foveate.boltzmann.training.whitening import Layout
    from foveate.evaluation.patches import jittered_folds
    from foveate.scenes.glimpse import PATCH_SIZE
    from foveate.training.settings import PatchSettings

    if not os.path.isdir(path):
        return _patches(path, model, None, category, run), None
    trained = Run.open(run, needs=()).config.get("settings", {}).get("patches", {})
    settings = PatchSettings(copies=JITTERS, mirror=bool(trained.get("mirror", True)))
    scenes = annotated_scenes(path, None, category, run)
    with progress().phase("jittered patches", len(scenes.scenes)) as tick:
        folds = jittered_folds(scenes, model, settings, 0, tick, note)
    return folds, Layout(3, PATCH_SIZE, PATCH_SIZE, settings.mirror)
