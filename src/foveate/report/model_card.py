"""A card for a model that is passed on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def model_card(
    config: Mapping[str, Any],
    localization: Mapping[str, Mapping[str, Any]] | None = None,
    bound: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """A card (Mitchell et al. 2019) for the folder of a model: what it is, of what, how good, and what it can't do.

    Markdown with the front matter that model hubs read. Only what is known is written; nothing is claimed.
    """
    kind = _one_line(config.get("category") or "object")
    known = {name: value for name, value in config.items() if isinstance(value, str | int | float) and value != ""}
    sections = {
        "Use": "```\nfoveate attend RUN photograph.jpg --out gazes.jsonl --overlays overlays\n```",
        "Training data": "\n".join(f"- {_one_line(name)}: `{_one_line(value)}`" for name, value in known.items()),
        "Localization": _table(LOCALIZATION, localization or {}, _localization_cells),
        "Density of aligned patches": _table(BOUND, bound or {}, _bound_cells),
        "Limits": LIMITS,
        "Files": FILES,
    }
    told = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join([HEAD.replace("KIND", kind), *told]) + "\n"


HEAD = """\
---
library_name: foveate
tags:
- object-localization
- energy-based-model
- restricted-boltzmann-machine
- uncertainty
---

# KIND: a generative model with visual attention

Finds objects of the kind *KIND* in photographs, each as a similarity transformation (place, size, angle) with a
probability and a posterior, and gives the density of their aligned patches. After Tang, Srivastava and Salakhutdinov,
*Learning Generative Models with Visual Attention* (NIPS 2014)."""

LIMITS = """\
- It knows one kind of object, as the photographs it was trained on show it; on others its probabilities mean little.
- A gaze is a square that may be rotated in the image plane. Rotation out of the plane, stretching and occlusion are not
  modelled.
- Standard deviations follow what is seen (they grow where the object is small, blurred or covered) and are calibrated
  on held-out photographs: right on average over photographs like these.
- A bound on log density rests on an estimate of log Z; read it together with the bracket of log Z."""

FILES = """\
- `gdbn.safetensors`: the Gaussian deep belief network of patches.
- `shiftnet.safetensors`: the ShiftNet, the network that moves a gaze.
- `periphery.safetensors`: the periphery, the network that looks at a whole image.
- `background.safetensors`: the density of windows without an object, the ranking, the calibration.
- `config.toml`: all that is needed to train it again."""

LOCALIZATION = (
    "measured on", "images / objects", "top-1 accuracy", "recall", "false positives per image",
    "angle error in degrees, median / p90", "expected calibration error",
)  # fmt: skip
BOUND = ("measured on", "patches", "bound, nats per patch", "log Z between")


def figure_at(figures: Any, *path: str) -> Any:
    """A figure in tables inside tables; None where it, or one of them, isn't there."""
    for key in path:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures


def _table(columns: Sequence[str], measured: Mapping[str, Mapping[str, Any]], cells_of: Callable) -> str:
    lines = [columns, ["---"] * len(columns), *([_one_line(name), *cells_of(one)] for name, one in measured.items())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) if measured else ""


def _localization_cells(figures: Mapping[str, Any]) -> list[str]:
    angle = figures.get("angle_error_degrees")
    return [
        f"{_text(figures.get('photos'), 0)} / {_text(figures.get('objects'), 0)}",
        _text(figure_at(figures, "top1", "0.5")),
        _text(figure_at(figures, "recall", "0.5")),
        _text(figures.get("false_positives_per_photo")),
        f"{_text(figure_at(angle, 'median'), 2)} / {_text(figure_at(angle, 'p90'), 2)}",
        _text(figure_at(figures, "calibration", "ece")),
    ]


def _bound_cells(figures: Mapping[str, Any]) -> list[str]:
    return [
        _text(figures.get("n"), 0),
        f"{_text(figures.get('bound'), 1)} ± {_text(figures.get('bound_stderr'), 1)}",
        f"{_text(figures.get('log_z_lower'), 1)} to {_text(figures.get('log_z_upper'), 1)}",
    ]


def _text(value: float | int | None, digits: int = 3) -> str:
    return "not known" if value is None else f"{value:.{digits}f}"


def _one_line(value: Any) -> str:
    """A word of someone else's as part of a Markdown line: no line breaks, cells, code or tags begin in it."""
    text = " ".join(str(value).split())
    return text.replace("`", "'").replace("|", "/").replace("<", "&lt;").replace(">", "&gt;")
