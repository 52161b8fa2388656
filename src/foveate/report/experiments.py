"""The paper's experiments on inference, as tables with curves: what `evaluate ambiguity` and `convergence` find."""

from collections.abc import Mapping, Sequence
from typing import Any

from foveate.evaluation.convergence import SHOWN
from foveate.report.results import TableStory

WHERE = ("in_mind", "stderr", "other", "neither", "in_mind_left", "in_mind_right")
DRAWN = ("network", "ncc_mean", "ncc_best", "euclid_best")  # as many as there are tones
AXES = {
    "by_offset": "pixels of the canonical patch, 24 to a window",
    "by_size": "half-side of the start, of the object's",
}


def ambiguity_table(figures: Mapping[str, Any], name: str) -> TableStory:
    """Where gazes end with one of two objects in mind."""
    rows = [[row, *figures[row].values()] for row in ("pipeline", "network", "network_unlike") if figures[row]]
    caption = f"{figures['pairs']} pairs of photographs side by side, each object in mind once: shares of gazes."
    return TableStory(["", *WHERE], rows, caption, f"One of two in mind: {name}")


def convergence_table(figures: Mapping[str, Any], name: str) -> TableStory:
    """Accuracy and mean IoU by method, and their curves."""
    curves = []
    for column, what in ((1, "Accuracy (IoU above 0.5)"), (2, "Mean IoU")):
        for key, axis in AXES.items():
            drawn = [[SHOWN[method], *_line(figures[key][method], column)] for method in DRAWN]
            curves.append([f"{what}, by {key[3:]} of the start", axis, drawn])
        drawn = [[SHOWN["network"], *_line(figures["by_step"], column)]]
        curves.append([f"{what}, by step", "step of the networks", drawn])
    rows = [[SHOWN[method], *pair] for method, pair in figures["all"].items()]
    rows += [[f"{SHOWN['network']}, of starts that see the object's centre", *figures["in_sight"]["network"]]]
    if figures["hmc"]["n"]:
        rows += [[f"{SHOWN['network']}, {figures['hmc']['n']} of them", *figures["hmc"]["before"]]]
        rows += [["these after Hamiltonian Monte Carlo", *figures["hmc"]["after"]]]
    count = f"{figures['starts']} gazes set out from {figures['objects']} objects"
    caption = f"{count}: up to 30 pixels off, at 0.5 to 1.5 times the object's size."
    return TableStory(["", "accuracy", "mean IoU"], rows, caption, f"Convergence: {name}", curves)


def _line(rows: Sequence[Sequence[float]], column: int) -> tuple[list[float], list[float]]:
    """The first column, and another one."""
    return [row[0] for row in rows], [row[column] for row in rows]
