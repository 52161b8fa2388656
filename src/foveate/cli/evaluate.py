"""`foveate evaluate bound`, `localization`, `ambiguity` and `convergence`."""

import io
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from foveate.cli import options
from foveate.cli.options import note, parse_shard, print_figures, progress
from foveate.cli.recipe import annotated_scenes, attend_settings
from foveate.errors import BadInput
from foveate.storage.files import CannotWrite, write_atomic
from foveate.storage.run import STORY, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from foveate.boltzmann.dbn import GaussianDBN
    from foveate.boltzmann.training.whitening import Layout

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
    counts = {"chains": chains, "temperatures": temperatures, "samples": samples}
    how = {**counts, "importance_samples": importance_samples, "seed": common.seed or 0, "schedule": schedule}
    if merge:
        figures = merge_bounds(merge, progress())
    else:
        model = GaussianDBN.load(path)
        v = _patches(patches, model, select, category, run)
        fit, layout = (None, None) if baselines is None else _to_fit_on(baselines, model, category, run)
        how |= {"shard": part, "state_file": state, "resume": resume, "baselines": fit, "layout": layout, "grbm": grbm}
        figures = evaluate_bound(model.to(device), v, **how, progress=progress())
    if "shard" not in figures:
        keep(run, BoundStory(figures, _name_of(patches, select)))
    print_figures(figures, common.json)


def localization(
    run: str,
    scenes: str,
    /,
    *,
    turn: float = 0.0,
    starts: options.Starts = None,
    max_gazes: options.MaxGazes = None,
    min_probability: options.MinProbability = None,
    plot: str | None = None,
    on: options.On = options.On(),  # noqa: B008 it is frozen
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
    settings = attend_settings(run, on.set_, common, starts, max_gazes, min_probability)
    from foveate.evaluation.localization import localize
    from foveate.evaluation.plots import plot_localization
    from foveate.report.results import LocalizationStory

    turned = f", turned {turn:g} degrees" if turn % 360 else ""
    work = partial(localize, settings=settings, turn=turn)
    measure(work, LocalizationStory, run, scenes, on, common, turned, plot_localization, plot)


def ambiguity(
    run: str,
    scenes: str,
    /,
    *,
    pairs: options.Count = 100,
    on: options.On = options.On(),  # noqa: B008 it is frozen
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
    settings = attend_settings(run, on.set_, common)
    from foveate.evaluation.ambiguity import ambiguity
    from foveate.report.experiments import ambiguity_table

    measure(partial(ambiguity, settings=settings, pairs=pairs), ambiguity_table, run, scenes, on, common)


def convergence(
    run: str,
    scenes: str,
    /,
    *,
    on: options.On = options.On(),  # noqa: B008 it is frozen
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
    settings = attend_settings(run, on.set_, common)
    from foveate.evaluation.convergence import convergence
    from foveate.report.experiments import convergence_table

    measure(partial(convergence, settings=settings), convergence_table, run, scenes, on, common)


def measure(
    work: Callable[..., dict[str, Any]],
    story: Callable[[dict[str, Any], str], Any],
    run: str,
    scenes: str,
    on: options.On,
    common: options.Common,
    how: str = "",
    draw: "Callable[[dict[str, Any], str], Figure] | None" = None,
    plot: str | None = None,
) -> None:
    """Loads RUN, measures it on annotated scenes, prints the figures, and adds them to the page of RUN.

    `work(attention, scenes, progress=)` gives the figures, and says itself what can't be read; `story(figures, name)`
    what is kept for the page, under the name of the scenes and `how`; `draw(figures, name)` a plot, which is written to
    `plot`, by default into RUN, named as what is kept.
    """
    from foveate.attention.attend import Attention
    from foveate.scenes.listing import mark_output

    attention = Attention.load(run, device=str(common.torch_device()))
    read = annotated_scenes(scenes, run, on.select, on.category, on.unannotated)
    figures, name = work(attention, read.scenes, progress=progress()), _name_of(scenes, on.select) + how
    kept = keep(run, story(figures, name))
    print_figures(figures, common.json)
    if draw is not None and plot is not None:
        save_plot(draw(figures, name), Path(plot))
    elif draw is not None and kept is not None:
        try:
            mark_output(run)  # a RUN that lies among images adds none to them
            save_plot(draw(figures, name), Path(run) / f"{kept.stem}.png")
        except (CannotWrite, OSError) as error:
            note(f"no plot: {error}")


def keep(run: str, story: Any) -> Path | None:
    """Saves figures for the page, and gives the file; a RUN that can't be written to is evaluated all the same."""
    folder = Path(run) / STORY
    try:
        folder.mkdir(exist_ok=True)
        return story.save(folder)
    except (CannotWrite, OSError) as error:
        note(f"not added to the page: {error}")
        return None


def save_plot(plot: "Figure", target: Path) -> None:
    """Writes a plot in the form that the file's ending names."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name in a script that the font lacks is drawn as boxes
        plot.savefig(content, format=target.suffix[1:].lower(), dpi=150)
    write_atomic(target, content.getvalue())
    note(f"plot: {target}")


def _name_of(path: str, select: str | None) -> str:
    name = os.path.basename(os.path.abspath(path))
    return f"{name} {select}" if select else name


def _patches(path: str, model: "GaussianDBN", select: str | None, category: str | None, run: str) -> Any:
    """Standardised patches from a .npy file or from annotated scenes."""
    from foveate.evaluation.patches import load_patches, scene_patches

    if os.path.isdir(path):
        return scene_patches(annotated_scenes(path, run, select, category), model, progress())
    if select is not None:
        raise BadInput(f"--select needs a folder of images, and {path} is a file")
    return load_patches(path)


def _to_fit_on(path: str, model: "GaussianDBN", category: str | None, run: str) -> "tuple[Any, Layout | None]":
    """What baselines are fitted on: a .npy file's patches; or of scenes jittered ones, in folds, and how pixels lie."""
    from foveate.boltzmann.training.whitening import Layout
    from foveate.evaluation.patches import jittered_folds, load_patches
    from foveate.scenes.glimpse import PATCH_SIZE
    from foveate.training.settings import PatchSettings

    if not os.path.isdir(path):
        return load_patches(path), None
    trained = Run.open(run, needs=()).config.get("settings", {}).get("patches", {})
    settings = PatchSettings(copies=JITTERS, mirror=bool(trained.get("mirror", True)))
    folds = jittered_folds(annotated_scenes(path, run, category=category), model, settings, progress())
    return folds, Layout(3, PATCH_SIZE, PATCH_SIZE, settings.mirror)
