"""The figures of `evaluate localization` as one picture."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREEN, GREY = "#2563eb", "#d97706", "#059669", "#9ca3af"
PARTS = {"centre": BLUE, "angle": ORANGE, "scale": GREEN}
WITHIN = 0.6827


def plot_localization(figures: Mapping[str, Any], title: str = "") -> Figure:
    """Accuracy by overlap, accuracy by inference step, reliability of the stated probabilities, coverage by group.

    Of the figures of `localization.measure`. The picture belongs to no window; `.savefig(path)` writes it.
    """
    groups = figures["calibration"].get("groups")
    figure = Figure(figsize=(11.0, 7.0 if groups else 3.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    parts = np.atleast_1d(np.asarray(figure.subfigures(2 if groups else 1, 1)))
    overlap, steps, trust = parts[0].subplots(1, 3)
    if groups:
        _by_group(parts[1].subplots(1, 1), groups)
    _by_overlap(overlap, figures)
    _by_step(steps, figures["by_step"])
    _by_probability(trust, figures["calibration"])
    for axes in (overlap, steps, trust):
        axes.set_ylim(-0.02, 1.02)
        axes.grid(color="#e5e7eb", linewidth=0.6)
        axes.set_axisbelow(True)
    count = f"{figures['photos']} photographs, {figures['objects']} objects"
    figure.suptitle(f"{title}: {count}" if title else count, fontsize=11)
    return figure


def _by_overlap(axes: Axes, figures: Mapping[str, Any]) -> None:
    for name, colour, label in (("top1", BLUE, "top-1 accuracy"), ("recall", ORANGE, "objects found")):
        known = [(float(threshold), share) for threshold, share in figures[name].items() if share is not None]
        if known:
            axes.plot(*zip(*known, strict=True), marker="o", color=colour, label=label)
            axes.legend(loc="lower left", fontsize=8, frameon=False)
    axes.set(title="by overlap", xlabel="IoU threshold", ylabel="share", xticks=(0.3, 0.5, 0.7))


def _by_step(axes: Axes, by_step: list[list[float | int]]) -> None:
    if by_step:
        steps, shares = zip(*by_step, strict=True)
        axes.plot(steps, shares, color=BLUE, marker="o" if len(steps) <= 30 else None, markersize=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title="by inference step", xlabel="step (0: the start)", ylabel="top-1 accuracy at IoU 0.5")


def _by_group(axes: Axes, groups: Mapping[str, list[dict[str, Any]]]) -> None:
    """Shares within one stated standard deviation, in thirds, with 95 % intervals."""
    ticks, names = [], []
    axes.axhline(WITHIN, color=GREY, linewidth=1.0, linestyle="--")
    for place, (name, rows) in enumerate(groups.items()):
        for third, row in enumerate(rows):
            at = place * (len(rows) + 1) + third
            ticks.append(at)
            names.append(f"{name}\n{_short(row['from'])} to {_short(row['to'])}\nn = {row['n']}")
            for k, (part, colour) in enumerate(PARTS.items()):
                share, interval = row[part][0], row["intervals"][part][0]
                if share is not None:
                    away = [[share - interval[0]], [interval[1] - share]]
                    label = part if not ticks[:-1] else None
                    axes.errorbar(at + 0.2 * (k - 1), share, away, fmt="o", color=colour, markersize=4, label=label)
    axes.set_xticks(ticks, names, fontsize=6.5)
    axes.set(title="true values within one stated standard deviation (68 % expected)", ylabel="share", ylim=(0.0, 1.02))
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.6)
    axes.legend(loc="lower right", fontsize=8, frameon=False, ncols=len(PARTS))


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def _by_probability(axes: Axes, calibration: Mapping[str, Any]) -> None:
    axes.plot([0.0, 1.0], [0.0, 1.0], color=GREY, linewidth=1.0, linestyle="--")
    rows = calibration["reliability"]
    if rows:
        stated, right, count = zip(*rows, strict=True)
        sizes = [20.0 + 180.0 * n / max(count) for n in count]
        axes.scatter(stated, right, s=sizes, color=BLUE, alpha=0.7, edgecolors="white")
    ece = calibration["ece"]
    error = "" if ece is None else f", error {ece:.3f}"
    axes.set(title=f"stated probabilities{error}", xlabel="stated", ylabel="share correct", xlim=(-0.02, 1.02))
