"""Training curves from the records of metrics.jsonl, whatever figures they hold.

A record names its phase, its step or epoch, and figures. A figure of training and the same one of validation share a
chart.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foveate.report.charts import Plot, Series, lines

AXES = ("epoch", "step", "round")
FIRST = ("bound", "gain", "top1", "loss", "free_energy", "error", "sigma", "active")
"""Words of figures whose charts come first, in this order."""
LAST = ("seconds", "rate", "memory")
SETS = re.compile(r"(?:^|[_. ])(training|train|validation|held_out)(?=$|[_. ])")
SET_NAMES = {"train": "training", "held_out": "held out"}
MOST_POINTS = 240
SHOWN_FIRST = 3

PHASES = {
    "grbm": "First layer: Gaussian-binary RBM",
    "rbm": "Second layer: binary RBM",
    "shiftnet": "ShiftNet",
    "fine": "ShiftNet, small steps",
    "periphery": "Periphery",
    "learn": "Learning without annotations",
}


@dataclass
class Phase:
    """A phase's charts: the headline ones, and the others."""

    name: str
    charts: list[Plot]
    more: list[Plot]


def phases(records: Sequence[Any]) -> list[Phase]:
    """The phases in the order they began, each with a chart for every figure that has at least two points."""
    by_phase: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if isinstance(record, dict):
            by_phase.setdefault(str(record.get("phase", "training")), []).append(record)
    found = []
    for name, rows in by_phase.items():
        if charts := _charts(rows):
            found.append(Phase(PHASES.get(name, readable(name)), charts[:SHOWN_FIRST], charts[SHOWN_FIRST:]))
    return found


def readable(name: str) -> str:
    """A key as words."""
    return re.sub(r"[_.]+", " ", name).strip() or name


def axis_of(record: dict[str, Any]) -> str | None:
    """What a record counts: epochs, steps or rounds."""
    return next((axis for axis in AXES if is_number(record.get(axis))), None)


def _charts(rows: list[dict[str, Any]]) -> list[Plot]:
    curves: dict[str, dict[float, float]] = {}
    axis = next(filter(None, map(axis_of, rows)), "")
    for row in rows:
        found = figures(row)
        for key, value in found.items():
            if axis in found and key not in AXES:
                # Of a step that was logged twice, the second time after resuming, the later.
                curves.setdefault(key, {})[found[axis]] = value
    groups: dict[str, list[tuple[str, dict[float, float]]]] = {}
    for key, points in curves.items():
        match = SETS.search(key)
        base = SETS.sub("", key).strip("_. ") if match else key
        groups.setdefault(base or key, []).append((SET_NAMES.get(match[1], match[1]) if match else "", points))
    plots = [_chart(base, groups[base], axis) for base in sorted(groups, key=_rank)]
    return [plot for plot in plots if plot is not None]


def _chart(base: str, curves: list[tuple[str, dict[float, float]]], axis: str) -> Plot | None:
    series, order = [], {"training": 0, "": 0, "validation": 1}
    for tone, (which, points) in zip("abcd", sorted(curves, key=lambda curve: order.get(curve[0], 2)), strict=False):
        if len(points) >= 2 and len(set(points.values())) > 1:
            series.append(Series(which, *thinned(sorted(points.items())), tone))
    if not series:
        return None
    title = readable(base)
    legend = [(one.name, one.tone) for one in series if one.name] if len(series) > 1 else []
    only = series[0].name if len(series) == 1 else ""
    return Plot(title, lines(series, axis, words=title), legend=legend, only=only)


def thinned(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """At most `MOST_POINTS`: means of runs of neighbours, so that a noisy curve is smoothed, not skipped over."""
    array = np.array(points, dtype=float)
    if len(array) > MOST_POINTS:
        first, last = array[0].copy(), array[-1].copy()
        array = np.stack([part.mean(axis=0) for part in np.array_split(array, MOST_POINTS)])
        array[0], array[-1] = first, last
    return array[:, 0].tolist(), array[:, 1].tolist()


def is_number(value: Any) -> bool:
    """Whether a value of a record can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def figures(row: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a record by name; those of a table inside it as `table.name`."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if is_number(value):
            found[prefix + key] = float(value)
        elif isinstance(value, dict):
            found.update(figures(value, f"{prefix}{key}."))
    return found


def _rank(base: str) -> tuple[int, int, str]:
    place = next((index for index, word in enumerate(FIRST) if word in base), len(FIRST))
    return int(any(word in base for word in LAST)), place, base
