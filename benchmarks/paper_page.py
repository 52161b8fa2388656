"""How the page of `paper.py` is put together: sections, tables, pictures, curves."""

import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from foveate.report.pictures import data_uri, jpeg, wall
from foveate.storage.files import write_atomic

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d5dae1, #3a414c); --quiet: light-dark(#5a6472, #9aa5b4); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#fff, #14171c); color: light-dark(#1a1f27, #e6e9ee); }
h2 { margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
td, th { padding: .25rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
td:first-child, th:first-child { text-align: left; }
figure { margin: 1rem 0; overflow-x: auto; }
img { max-width: 100%; vertical-align: top; } .row { display: flex; flex-wrap: wrap; gap: .8rem; margin-bottom: 1rem; }
.patches img { image-rendering: pixelated; } .said { font-size: .9rem; color: var(--quiet); }
p.differs { color: var(--quiet); }
"""
PHOTOGRAPH = 100  # rows of a picture that is more than patches
INK = "#7f8a99"  # of axes and words in a chart, which stands on white as well as on black
Curves = Mapping[str, Sequence[Sequence[float]]]  # of each line [x, y, ...]


def section(title: str, inside: str, differs: str) -> str:
    """A part of the page, with what is the same and what differs."""
    return f'<section><h2>{html.escape(title)}</h2><figure>{inside}</figure><p class="differs">{differs}</p></section>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    head = "".join(f"<th>{html.escape(each)}</th>" for each in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(each)}</td>' for each in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def said(text: str) -> str:
    """What stands above a picture, or below."""
    return f'<div class="said">{html.escape(text)}</div>'


def patches(shown: Float[Tensor, "n 3 24 24"], what: str, side: int = 52) -> str:
    """Patches in a row, enlarged to `side` pixels each."""
    picture = wall(shown.numpy(), len(shown), 2, 2)
    return f'<span class="patches">{image_of(picture, side * len(shown), what)}</span>'


def image_of(shown: Image.Image, width: int, what: str) -> str:
    """A picture in the page, no finer than twice as fine as it is shown; photographs as JPEG."""
    shown = shown.convert("RGB")
    if shown.width > 2 * width:
        shown = shown.resize((2 * width, round(2 * width * shown.height / shown.width)), Image.Resampling.LANCZOS)
    content = jpeg(shown, 88) if shown.height > PHOTOGRAPH else shown
    return f'<img alt="{html.escape(what)}" width="{width}" src="{data_uri(content)}">'


def chart(panels: Sequence[tuple[str, str, Curves]], what: str) -> str:
    """Panels beside each other, of shares; the lines of the first are named below, of others that differ within."""
    colours = {name: INK for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")}
    with rc_context(colours):
        figure = Figure(figsize=(12, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(panels))
        named: list[str] = []
        for axis, (across, up, curves) in zip(axes, panels, strict=True):
            for name, points in curves.items():
                x, y = np.array(points)[:, :2].T
                axis.plot(x, y, marker="o", markersize=4, label=name)
            axis.set(xlabel=across, ylabel=up, ylim=(-0.02, 1.03))
            axis.set_facecolor("none")
            axis.grid(color=INK, alpha=0.25, linewidth=0.6)
            if named and list(curves) != named:
                axis.legend(fontsize=8, frameon=False)
            named = named or list(curves)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
        held = io.BytesIO()
        figure.savefig(held, dpi=144, transparent=True)
    return f'<img alt="{html.escape(what)}" width="992" src="{data_uri(Image.open(held))}">'


def write_page(path: Path, parts: Sequence[str], told: str) -> None:
    """The page."""
    title = "Learning generative models with visual attention, done again"
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style><body><h1>{title}</h1><p>The experiments of Tang, Srivastava "
        f"and Salakhutdinov (NIPS 2014) with their models and algorithms. {html.escape(told)}</p>"
        f"{''.join(parts)}</body></html>"
    )
    write_atomic(path, page.encode())
