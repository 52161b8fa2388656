"""Localization and density of several models or data sets: side by side, each kind of figure on one axis."""

from collections.abc import Mapping, Sequence
from typing import Any

from foveate.evaluation.reliability import wilson
from foveate.report.charts import Plot, Row, Series, lines, number, percent, ranking, reliability
from foveate.report.curves import readable
from foveate.report.gallery import DEGREE
from foveate.report.results import REJECTED_SHOWN, BoundStory, LocalizationStory

BASELINES = {
    "diagonal": "Diagonal Gaussian",
    "factor_analysis": "Factor analysis",
    "ppca": "Probabilistic PCA",
    "ledoit_wolf": "Full covariance (Ledoit-Wolf)",
    "held_out": "Full covariance (variances held out)",
    "student_t": "Multivariate t",
    "mixture": "Gaussian mixture",
}
GAUSSIAN = (0.6827, 0.9545)  # within one and within two standard deviations
TONES = "abcd"

Figures = dict[str, Any]
Table = dict[str, Any]


def figure_at(figures: Any, *path: str) -> Any:
    """A figure in tables inside tables; None where it, or one of them, isn't there."""
    for key in path:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures


def localization(stories: Sequence[LocalizationStory]) -> dict[str, Any] | None:
    """Charts and figures of `evaluate localization`, all data sets together; None where there are none."""
    if not stories:
        return None
    by_step = [story.figures.get("by_step") or [] for story in stories]
    by_overlap = [sorted((float(at), v) for at, v in (one.figures.get("top1") or {}).items()) for one in stories]
    steps = "Step 0 is the start; then the ShiftNet moves the gaze."
    exact = "How exact the best gaze is: larger thresholds ask for more."
    plots = [
        _top1(stories),
        _plot(stories, by_step, "inference step", "Top-1 accuracy, by step", steps, "shiftnet"),
        _plot(stories, by_overlap, "IoU at least", "Top-1 accuracy, by IoU threshold", exact, "iou"),
        _reliability(stories),
    ]
    wrong = [(name, story.name) for story in stories for name in story.figures.get("wrong") or []]
    return {
        "name": stories[0].name if len(stories) == 1 else "",
        "charts": [plot for plot in plots if plot is not None],
        "table": _table([(story.name, _localization_rows(story.figures)) for story in stories]),
        "groups": [(story.name, rows) for story in stories if (rows := _groups(story.figures))],
        "wrong": wrong[:REJECTED_SHOWN],
        "wrong_total": len(wrong),
    }


def interval(story: LocalizationStory) -> tuple[float, int, float, float] | None:
    """Top-1 accuracy at IoU 0.5, of how many images, and its 95 % interval."""
    top1, n = figure_at(story.figures, "top1", "0.5"), story.figures.get("photos_with_objects")
    return (top1, n, *wilson(top1, n)) if top1 is not None and n else None


def _top1(stories: Sequence[LocalizationStory]) -> Plot | None:
    rows = []
    for story in stories:
        if (known := interval(story)) is not None:
            value, n, low, high = known
            name = story.name or "images"
            rows.append(Row(f"{name} (n = {number(n)})", value, low, high, strong=True))
            if (floor := figure_at(story.figures, "constant_box", "0.5")) is not None:
                rows.append(Row(f"{name}: constant box", floor))
    if not rows:
        return None
    svg = ranking(rows, "of the images", "Top-1 accuracy", shares=True)
    text = "The best gaze has IoU > 0.5 with an object; 95 % intervals."
    text += "" if all(row.strong for row in rows) else " A constant box is the median one, without looking."
    return Plot("Top-1 accuracy", svg, text, mark="top1")


def _plot(
    stories: Sequence[LocalizationStory], points: Sequence[Any], axis: str, title: str, text: str, mark: str
) -> Plot | None:
    """Curves of the same figure, one for each data set that has two points of it or more."""
    series = []
    for index, (story, all_rows) in enumerate(zip(stories, points, strict=True)):
        rows = [row for row in all_rows if None not in row]
        if len(rows) > 1:
            xs, ys = map(list, zip(*rows, strict=True))
            series.append(Series(story.name, xs, ys, TONES[index % len(TONES)]))
    if not series:
        return None
    svg = lines(series, axis, shares=True, dots=True, words=title, whole=axis.endswith("step"))
    return Plot(title, svg, text, [(one.name, one.tone) for one in series if len(stories) > 1], mark=mark)


def _reliability(stories: Sequence[LocalizationStory]) -> Plot | None:
    curves = []
    for index, story in enumerate(stories):
        rows = figure_at(story.figures, "calibration", "reliability") or []
        if bins := [row for row in rows if None not in row and row[2] > 0]:
            curves.append((story.name, TONES[index % len(TONES)], bins))
    if not curves:
        return None
    svg = reliability(curves, "Stated probabilities and the share that was correct")
    legend = [(name, tone) for name, tone, _ in curves if len(stories) > 1]
    text = "Perfect on the diagonal; areas are counts."
    return Plot("Calibration of the probabilities", svg, text, legend, mark="calibration")


def _localization_rows(figures: Figures) -> list[tuple[str, str]]:
    rows = [
        ("Images", number(figures.get("photos"))),
        ("Annotated objects", number(figures.get("objects"))),
        ("Top-1 accuracy (IoU > 0.5)", percent(figure_at(figures, "top1", "0.5"), 1)),
        ("The same of a constant box", percent(figure_at(figures, "constant_box", "0.5"), 1)),
        ("Recall (IoU > 0.5)", percent(figure_at(figures, "recall", "0.5"), 1)),
        ("False positives per image", number(figures.get("false_positives_per_photo"))),
        ("Calibration error of P", number(figure_at(figures, "calibration", "ece"), 2)),
        ("Angle error, median / p90", _pair(figures.get("angle_error_degrees"), DEGREE)),
        ("Centre error in half-sides, median / p90", _pair(figures.get("centre_error"))),
        ("Scale error, median / p90", _pair(figures.get("scale_error"))),
        ("Seconds per image", number(figures.get("seconds_per_photo"))),
    ]
    for name in ("centre", "angle", "scale"):
        shares = figure_at(figures, "calibration", name) or [None]
        if None not in shares:
            told = f"{percent(shares[0])} / {percent(shares[1])}"
            rows.append((f"True {name} within 1 / 2 standard deviations", told))
    upside = figures.get("upside_down") or {}
    if upside.get("n"):
        rows.append(("Upside down, of those found", f"{percent(upside['share'], 1)} (n = {number(upside['n'])})"))
    for name, one in (figure_at(figures, "calibration", "correlation") or {}).items():
        told = f"{number(one['rho'], 2)} of {number(one['ceiling'], 2)} possible (n = {number(one['n'])})"
        rows.append((f"Rank correlation of stated and real {name} error", told if one["rho"] is not None else ""))
    return [(name, text) for name, text in rows if text.strip(f"\N{EN DASH}{DEGREE} /")]


def _groups(figures: Figures) -> list[list[str]]:
    """A row of cells for each third by size, blur, cover and angle."""
    rows = []
    for name, thirds in (figure_at(figures, "calibration", "groups") or {}).items():
        for third in thirds:
            held = []
            for part in ("centre", "angle", "scale"):
                share, interval = third[part][0], third["intervals"][part][0]
                held.append(f"{percent(share)} ({percent(interval[0])} to {percent(interval[1])})" if interval else "")
            span = f"{name} {number(third['from'])} to {number(third['to'])}"
            rows.append([span, number(third["n"]), *held, number(third["ece"], 2)])
    return rows


def _pair(errors: Figures | None, unit: str = "") -> str:
    return " / ".join(number(value) + unit for value in (errors or {}).values())


def _table(columns: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> Table:
    """A table with a column for each of (name, rows of (measure, text)), and a row for each measure that one has."""
    measures = dict.fromkeys(measure for _, rows in columns for measure, _ in rows)
    told = [dict(rows) for _, rows in columns]
    return {
        "names": [name for name, _ in columns],
        "rows": [(measure, [one.get(measure, "\N{EN DASH}") for one in told]) for measure in measures],
    }


def bounds(stories: Sequence[BoundStory]) -> dict[str, Any] | None:
    """Bounds with their brackets and standard errors on one axis, and the baselines; None where there are none."""
    if not stories:
        return None
    rows = [row for story in stories for row in _bound_rows(story, len(stories) > 1)]
    rows = rows if len(stories) > 1 else sorted(rows, key=lambda row: -row.value)
    known = [(story.name, story.figures) for story in stories if story.figures.get("bound") is not None]
    return {
        "name": stories[0].name if len(stories) == 1 else "",
        "chart": ranking(rows, "nats per patch", "Mean log density of held-out patches") if rows else None,
        "table": _table([(story.name, _bound_details(story.figures)) for story in stories]),
        "wide": [name for name, one in known if sum(_bracket(one)) > max(5.0, 0.02 * abs(one["bound"]))],
        "several": len(stories) > 1,
    }


def _bracket(figures: Figures) -> tuple[float, float]:
    """How far below and above the bound its log density may lie, since log Z lies between two estimates.

    The reverse estimate is noisy too and may fall below the forward one, which the bound was had with.
    """
    log_z, lower, upper = (figures.get(name) for name in ("log_z", "log_z_lower", "log_z_upper"))
    if log_z is None or lower is None or upper is None:
        return 0.0, 0.0
    return max(upper, log_z) - log_z, log_z - min(lower, log_z)


def _bound_rows(story: BoundStory, several: bool) -> list[Row]:
    """The bounds of one model, and its baselines; beside others the tighter of its bounds stands for it."""
    figures, (below, above) = story.figures, _bracket(story.figures)
    kinds = [("iw_bound", "GDBN, importance-weighted bound", "iw_stderr"), ("bound", "GDBN, bound", "bound_stderr")]
    known = [kind for kind in kinds if figures.get(kind[0]) is not None]
    rows = []
    for key, name, error in known[:1] if several else known:
        nats = figures[key]
        bracket = (nats - below, nats + above) if below or above else (None, None)
        rows.append(Row(story.name or name if several else name, nats, *bracket, figures.get(error), strong=True))
    tail = f", {story.name}" if several else ""
    if figures.get("grbm_log_density") is not None:
        rows.append(Row(f"First layer alone{tail}", figures["grbm_log_density"], strong=True))
    for key, nats in (figures.get("baselines") or {}).items():
        error = (figures.get("baselines_stderr") or {}).get(key)
        rows.append(Row(BASELINES.get(key, readable(key)) + tail, nats, error=error))
    return rows


def _bound_details(figures: Figures) -> list[tuple[str, str]]:
    value, offset, lower, upper = (figures.get(k) for k in ("bound", "pixel_offset", "log_z_lower", "log_z_upper"))
    details = [
        ("Patches", number(figures.get("n"))),
        ("Bound", number(value, 5)),
        ("Importance-weighted bound", number(figures.get("iw_bound"), 5)),
        ("Standard error of the bound", number(figures.get("bound_stderr"))),
        ("log Z, forward", number(figures.get("log_z"), 5)),
        ("log Z between", f"{number(lower, 5)} and {number(upper, 5)}" if None not in (lower, upper) else ""),
        ("Standard error of log Z", number(figures.get("log_z_stderr"))),
        ("Effective sample size", f"{number(figures.get('ess'))} of {number(figures.get('chains'))} chains"),
        ("Intermediate distributions", number(figures.get("temperatures"))),
        ("Bound in nats over pixels", number(value + offset, 5) if value is not None and offset is not None else ""),
    ]
    return [(name, text) for name, text in details if text and not text.startswith("\N{EN DASH}")]
