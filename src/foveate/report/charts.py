"""Charts as SVG inside the page: their colours are the page's, so that they turn dark with it, and they stay crisp.

Each returns markup with a sentence for those who can't see it. Text from outside is escaped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

WIDTH, HEIGHT = 340, 216
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 36
STRICT: Any = {"autoescape": True, "undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
MINUS = "\N{MINUS SIGN}"

Number = float | int
Mark = tuple[float, str]  # a tick: a figure, and what stands beside it


@dataclass
class Series:
    """One line of a chart; `tone` is a class of the page's style ("a", "b", "c", "d")."""

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    tone: str = "a"


@dataclass
class Plot:
    """A chart with its heading, its legend (name, tone) and a line under the heading."""

    title: str
    svg: Markup
    text: str = ""
    legend: Sequence[tuple[str, str]] = ()
    only: str = ""
    mark: str = ""  # the entry of the page's glossary that explains it


def part(name: str) -> str:
    """The text of one of the page's templates."""
    return (files("foveate.report") / "template" / name).read_text(encoding="utf-8")


def number(value: Number | None, digits: int = 3) -> str:
    """A number as a reader wants it: three significant digits, thousands parted, a real minus sign; a dash for None."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    size = abs(value)
    if float(value).is_integer() and size < 1e9:
        text = f"{size:,.0f}"
    elif size >= 1e-3:
        text = f"{size:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{size:.1e}"
    return f"{MINUS if value < 0 else ''}{text}"


def percent(value: Number | None, digits: int = 0) -> str:
    """A share as per cent."""
    return "\N{EN DASH}" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}\u202f%"


def ticks(low: Number, high: Number, about: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside [low, high]."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [float(low)]
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def labels(values: Sequence[Number], shares: bool = False) -> list[str]:
    """What stands beside ticks: as few digits as tell them apart."""
    for digits in range(4):
        texts = [percent(value, digits) if shares else number(value, digits + 3) for value in values]
        if len(set(texts)) == len(texts):
            break
    return texts


def marks(low: Number, high: Number, about: int = 4, shares: bool = False) -> list[Mark]:
    """Ticks, each with its label."""
    values = ticks(low, high, about)
    return list(zip(values, labels(values, shares), strict=True))


def place(value: Number, low: Number, high: Number, first: Number, last: Number) -> float:
    """Where between first and last a figure stands that lies between low and high."""
    return round(first + (value - low) / ((high - low) or 1.0) * (last - first), 2)


def padded(values: Sequence[Number]) -> tuple[float, float]:
    """A range that holds the values with a little air."""
    low, high = float(min(values)), float(max(values))
    air = 0.08 * (high - low) or max(abs(high) * 0.1, 0.5)
    return low - air, high + air


def without_outliers(values: Sequence[Number]) -> list[Number]:
    """The values between their 2nd and 98th percentile where there are many: a spike must not flatten the curve."""
    if len(values) < 50:
        return list(values)
    ordered = sorted(values)
    cut = len(ordered) // 50
    return ordered[cut : len(ordered) - cut]


class Plane:
    """A plotting area: from figures to places in it, and its axes."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]):
        self._x, self._y = x, y

    def x(self, value: Number) -> float:
        """Place of a figure from left to right."""
        return place(value, *self._x, LEFT, WIDTH - RIGHT)

    def y(self, value: Number) -> float:
        """Place of a figure from the top."""
        return place(value, *self._y, HEIGHT - BOTTOM, TOP)


def drawn(kind: str, words: str, width: int = WIDTH, height: int = HEIGHT, **parts: Any) -> Markup:
    """A chart of the template, with the sentence that stands for it."""
    box = {"left": LEFT, "right": WIDTH - RIGHT, "base": HEIGHT - BOTTOM}
    return Markup(_charts().render(kind=kind, words=words, width=width, height=height, **box, **parts))


@cache
def _charts() -> jinja2.Template:
    return jinja2.Environment(**STRICT).from_string(part("charts.svg"))


def lines(
    series: Sequence[Series], x_label: str, words: str, shares: bool = False, dots: bool = False, whole: bool = True
) -> Markup:
    """Lines over a common horizontal axis; with `shares` the vertical one is 0 to 100 %.

    `dots` marks each point, `whole` has whole numbers alone on the horizontal axis. What the series begin and end with
    is added to `words`.
    """
    xs = [value for one in series for value in one.x]
    ys = [value for one in series for value in one.y]
    x_range = (float(min(xs)), float(max(xs))) if min(xs) < max(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    low, high = (0.0, 1.0) if shares else padded(without_outliers(ys))
    plane = Plane(x_range, (low, high))
    x_marks = [mark for mark in marks(*x_range, 5) if not whole or float(mark[0]).is_integer()]
    curves = [
        (one.tone, [(plane.x(x), plane.y(min(max(y, low), high))) for x, y in zip(one.x, one.y, strict=True)])
        for one in series
    ]
    form = percent if shares else number
    ends = "; ".join(
        f"{one.name or 'it'} goes from {form(one.y[0])} at {number(one.x[0])} "
        f"to {form(one.y[-1])} at {number(one.x[-1])}"
        for one in series
    )
    words, y_marks = f"{words}: {ends}.", marks(low, high, shares=shares)
    return drawn("lines", words, plane=plane, x_marks=x_marks, y_marks=y_marks, name=x_label, curves=curves, dots=dots)


Bins = Sequence[Sequence[Number]]
"""Of a reliability diagram: [mean stated probability, share that was right, count] each."""


def reliability(curves: Sequence[tuple[str, str, Bins]], words: str) -> Markup:
    """What was stated against what was right, of one or more (name, tone, bins): on the diagonal, 80 % means 4 of 5."""
    plane = Plane((0.0, 1.0), (0.0, 1.0))
    most = max(count for _, _, bins in curves for _, _, count in bins) or 1
    shown, told = [], []
    for name, tone, bins in curves:
        radii = (f"{3 + 8 * math.sqrt(count / most):.1f}" for _, _, count in bins)
        shown.append((tone, [(plane.x(x), plane.y(y), r) for (x, y, _), r in zip(bins, radii, strict=True)]))
        points = (f"{percent(stated)} stated, {percent(right)} correct of {number(n)}" for stated, right, n in bins)
        told.append(f"{name + ': ' if name else ''}{'; '.join(points)}")
    axes = {"x_marks": marks(0, 1, 5), "y_marks": marks(0, 1, shares=True), "name": "stated probability"}
    return drawn("reliability", f"{words}: {'. '.join(told)}.", WIDTH, HEIGHT, plane=plane, curves=shown, **axes)


@dataclass
class Row:
    """A row of `ranking`: a value, perhaps with a bracket and a standard error; the `strong` are what it is about."""

    name: str
    value: Number
    low: Number | None = None
    high: Number | None = None
    error: Number | None = None
    strong: bool = False


def ranking(rows: Sequence[Row], unit: str, words: str, shares: bool = False) -> Markup:
    """Figures on one scale, in the order given, each with its bracket and a bar of one standard error to both sides."""
    spread = [end for row in rows if row.error is not None for end in (row.value - row.error, row.value + row.error)]
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    low, high = padded(ends + spread)
    high = min(high, 1.0) if shares else high
    pitch, width = 44, 440

    def at(value: Number) -> float:
        return place(value, low, high, 6, width - 6)

    shown, told = [], []
    for row in rows:
        figure = percent(row.value, 1) if shares else number(row.value, 4)
        figure += f" ±\N{NO-BREAK SPACE}{number(row.error, 2)}" if row.error is not None else ""
        error = None if row.error is None else (at(row.value - row.error), at(row.value + row.error))
        bracket = None if row.low is None or row.high is None else (at(row.low), at(row.high))
        shown.append((row, figure, at(row.value), error, bracket))
        told.append(f"{row.name} {figure}")
    ticks = [(at(value), text) for value, text in marks(low, high, shares=shares)]
    words = f"{words}: {'; '.join(told)} {unit}."
    return drawn("ranking", words, width, pitch * len(rows) + 30, ticks=ticks, rows=shown, pitch=pitch)


def stacks(rounds: Sequence[tuple[str, Number, Number]], words: str) -> Markup:
    """Two counts stacked, column by column: (name, used, not used)."""
    most = max(used + unused for _, used, unused in rounds) or 1
    plane = Plane((0.0, float(len(rounds))), (0.0, most * 1.08))
    wide = min(46.0, 0.62 * (plane.x(1) - plane.x(0)))
    y_marks = [mark for mark in marks(0, most * 1.08) if float(mark[0]).is_integer()]
    boxes = []
    for index, (_, used, unused) in enumerate(rounds):
        for tone, low, high in (("a", 0, used), ("warn", used, used + unused)):
            if (tall := plane.y(low) - plane.y(high)) > 0:
                boxes.append((tone, f"{plane.x(index + 0.5) - wide / 2:.1f}", plane.y(high), f"{tall:.2f}"))
    told = "; ".join(f"{name}: {number(used)} used, {number(unused)} not" for name, used, unused in rounds)
    x_marks = [(index + 0.5, name) for index, (name, _, _) in enumerate(rounds)]
    axes = {"plane": plane, "x_marks": x_marks, "y_marks": y_marks, "name": ""}
    return drawn("stacks", f"{words}: {told}.", WIDTH, HEIGHT, boxes=boxes, wide=f"{wide:.1f}", **axes)
