"""`foveate evaluate ambiguity` and `foveate evaluate convergence`: the paper's experiments on inference."""

from collections.abc import Sequence

from foveate.cli import options
from foveate.cli.evaluate import annotated_scenes, keep, name_of
from foveate.cli.options import note, print_figures, progress
from foveate.cli.recipe import attend_settings

AXES = {
    "by_offset": "pixels of the canonical patch, 24 to a window",
    "by_size": "half-side of the start, of the object's",
}


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
    from foveate.report.results import TableStory

    attention = Attention.load(run, device=str(common.torch_device()))
    read = annotated_scenes(scenes, select, category, run)
    with progress().phase("evaluate ambiguity", 2 * pairs) as tick:
        result = ambiguity(attention, read.scenes, settings, pairs, tick)
    for name, reason in result.unreadable.items():
        note(f"{name}: {reason}")
    figures = result.figures
    columns = ("in_mind", "stderr", "other", "neither", "in_mind_left", "in_mind_right")
    rows = [[row, *figures[row].values()] for row in ("pipeline", "network", "network_unlike") if figures[row]]
    caption = f"{pairs} pairs of photographs side by side, each object in mind once. Shares of gazes by where they end."
    keep(run, TableStory(["", *columns], rows, caption, f"One of two in mind: {name_of(scenes, select)}"))
    print_figures(figures, common.json)


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
    from foveate.evaluation.convergence import SHOWN, convergence
    from foveate.report.results import TableStory
    from foveate.training.gallery import load_gallery

    attention = Attention.load(run, device=str(common.torch_device()))
    read = annotated_scenes(scenes, select, category, run)
    gallery = load_gallery(read.scenes, progress(), settings.largest, fewest=1)
    figures = convergence(attention.models, gallery, settings, progress())
    curves = []
    for column, what in ((1, "Accuracy (IoU above 0.5)"), (2, "Mean IoU")):
        for key, axis in AXES.items():
            drawn = [[SHOWN[name], *_line(rows, column)] for name, rows in figures[key].items()]
            curves.append([f"{what}, by {key[3:]} of the start", axis, drawn])
        drawn = [[SHOWN["network"], *_line(figures["by_step"], column)]]
        curves.append([f"{what}, by step", "step of the networks", drawn])
    rows = [[SHOWN[name], *pair] for name, pair in figures["all"].items()]
    if figures["hmc"]["n"]:
        rows += [[f"{SHOWN['network']}, {figures['hmc']['n']} of them", *figures["hmc"]["before"]]]
        rows += [["these after Hamiltonian Monte Carlo", *figures["hmc"]["after"]]]
    count = f"{figures['starts']} gazes set out from {figures['objects']} objects"
    caption = f"{count}: up to 30 pixels off, at 0.5 to 1.5 times the object's size."
    columns = ["", "accuracy", "mean IoU"]
    keep(run, TableStory(columns, rows, caption, f"Convergence: {name_of(scenes, select)}", curves))
    print_figures(figures, common.json)


def _line(rows: Sequence[Sequence[float]], column: int) -> tuple[list[float], list[float]]:
    """The first column, and another one."""
    return [row[0] for row in rows], [row[column] for row in rows]
