"""Training curves from the records of metrics.jsonl, whatever figures they hold.

A record names its phase, its step or epoch, and figures. A figure of training and the same one of
validation share a chart.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from foveate.report.charts import Plot, Series, lines

AXES = ("epoch", "step", "round", "iteration", "update")
FIRST = (
    "iw_bound", "bound", "log_density", "log_likelihood", "top1", "accuracy", "recall", "loss", "free_energy",
    "reconstruction", "error", "sigma", "active", "acceptance",
)  # fmt: skip
LAST = ("seconds", "time", "rate", "momentum", "decay", "memory")
SETS = re.compile(r"(?:^|[_. ])(training|train|validation|valid|val|held_out|heldout|test)(?=$|[_. ])")
SET_NAMES = {
    "train": "training", "valid": "validation", "val": "validation", "held_out": "held out", "heldout": "held out",
}  # fmt: skip
MOST_POINTS = 240
SHOWN_FIRST = 3


PHASES = {
    "grbm": "First layer: Gaussian-binary RBM",
    "rbm": "Second layer: binary RBM",
    "shiftnet": "ConvNet",
    "fine": "ConvNet, looking closer",
    "background": "Background",
    "learn": "Learning",
}


@dataclass
class Phase:
    """A phase's charts: the headline ones, and the others."""

    name: str
    charts: list[Plot]
    more: list[Plot]


def phases(records: list[Any]) -> list[Phase]:
    """The phases in the order they began, each with a chart for every figure that has at least two points."""
    by_phase: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if isinstance(record, dict):
            by_phase.setdefault(str(record.get("phase", "training")), []).append(record)
    found = []
    for name, rows in by_phase.items():
        charts = [chart for chart in _charts(rows) if chart is not None]
        if charts:
            found.append(Phase(PHASES.get(name, readable(name)), charts[:SHOWN_FIRST], charts[SHOWN_FIRST:]))
    return found


def readable(name: str) -> str:
    """A key as words."""
    return re.sub(r"[_.]+", " ", str(name)).strip() or str(name)


def _charts(rows: list[dict[str, Any]]) -> list[Plot | None]:
    axis = next((axis for axis in AXES if any(is_number(row.get(axis)) for row in rows)), None)
    curves: dict[str, dict[float, float]] = {}
    for index, row in enumerate(rows):
        place = row.get(axis, None) if axis else index
        if not isinstance(place, int | float) or not is_number(place):
            continue
        for key, value in figures(row).items():
            if key not in AXES and key.split(".")[-1] not in ("phase", "total", "done"):
                curves.setdefault(key, {})[float(place)] = value  # of records twice there, after resuming, the later
    groups: dict[str, list[tuple[str, dict[float, float]]]] = {}
    for key, points in curves.items():
        match = SETS.search(key)
        base = SETS.sub("", key).strip("_. ") if match else key
        which = SET_NAMES.get(match[1], match[1]) if match else ""
        groups.setdefault(base or key, []).append((which, points))
    ordered = sorted(groups.items(), key=lambda item: _rank(item[0]))
    return [_chart(base, curves, axis or "record") for base, curves in ordered]


def _chart(base: str, curves: list[tuple[str, dict[float, float]]], axis: str) -> Plot | None:
    series = []
    order = {"training": 0, "": 0, "validation": 1}
    for tone, (which, points) in zip("abcd", sorted(curves, key=lambda curve: order.get(curve[0], 2)), strict=False):
        if len(points) >= 2 and len(set(points.values())) > 1:
            x, y = thinned(sorted(points.items()))
            series.append(Series(which, x, y, tone))
    if not series:
        return None
    title = readable(base)
    chart: Markup = lines(series, axis, words=title)
    legend = [(one.name, one.tone) for one in series if one.name] if len(series) > 1 else []
    return Plot(title, chart, legend=legend, only=series[0].name if len(series) == 1 else "")


def thinned(points: list[tuple[float, float]], most: int = MOST_POINTS) -> tuple[list[float], list[float]]:
    """At most `most` points: means of runs of neighbours, so that a noisy curve is smoothed, not skipped over."""
    array = np.array(points, dtype=float)
    if len(array) > most:
        first, last = array[0].copy(), array[-1].copy()
        array = np.stack([part.mean(axis=0) for part in np.array_split(array, most)])
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
    last = any(word in base for word in LAST)
    place = next((index for index, word in enumerate(FIRST) if word in base), len(FIRST))
    return int(last), place, base
