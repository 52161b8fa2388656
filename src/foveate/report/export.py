"""What foveate hands to other people's programs: posteriors for ArviZ, a card for a model that is passed on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from foveate.errors import BadInput

MISSING_ARVIZ = "ArviZ is not installed: pip install 'foveate[diagnostics]'"


def to_arviz(posterior: Any, names: Sequence[str] | None = None) -> Any:
    """Posterior draws of gazes as ArviZ has them: InferenceData, or a DataTree from ArviZ 1.0 on.

    Variables, each with the dimensions chain, draw, gaze: `a`, `b`, `tx`, `ty` (pixels), `log_scale`, and `angle` in
    degrees, taken around its circular mean so that no chain jumps at 180. R-hat and effective sample sizes of
    `log_scale`, `angle`, `tx` and `ty` are those of `attention.posterior.diagnostics`.

    Args:
        posterior: An `attention.posterior.summary.Posterior`, or draws of u as an array or tensor
            [gaze, chain, draw, 4] or, of one gaze, [chain, draw, 4].
        names: What the gazes are called; numbers where left out.

    Raises:
        BadInput: ArviZ is not installed, or the draws have another shape, or there is another number of names.
    """
    try:
        import arviz
    except ImportError:
        raise BadInput(MISSING_ARVIZ) from None
    draws = _draws(getattr(posterior, "draws", posterior))
    labels = list(range(len(draws))) if names is None else list(names)
    if len(labels) != len(draws):
        raise BadInput(f"{len(labels)} names for the posteriors of {len(draws)} gazes")
    variables = _variables(np.moveaxis(draws, 0, 2))
    described = {"coords": {"gaze": labels}, "dims": {name: ["gaze"] for name in variables}}
    if int(arviz.__version__.split(".")[0]) >= 1:
        return arviz.from_dict({"posterior": variables}, **described)
    return arviz.from_dict(posterior=variables, **described)


def model_card(
    config: Mapping[str, Any],
    localization: Mapping[str, Mapping[str, Any]] | None = None,
    bound: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """A card (Mitchell et al. 2019) for the folder of a model: what it is, of what, how good, and what it can't do.

    Markdown with the front matter that model hubs read. Only what is known is written; nothing is claimed.

    Args:
        config: Of the RUN: `category`, `scenes`, `version`, `seed`, `settings` and whatever else it holds.
        localization: Figures of `evaluate localization`, by the name of what they were measured on.
        bound: Figures of `evaluate bound`, likewise.
    """
    kind = _one_line(config.get("category") or "object")
    parts = [
        "---\nlibrary_name: foveate\ntags:\n- object-localization\n- energy-based-model\n"
        "- restricted-boltzmann-machine\n- uncertainty\n---",
        f"# {kind}: a generative model with visual attention",
        f"Finds objects of the kind *{kind}* in photographs, each as a similarity transformation (place, size, angle) "
        "with a probability and a posterior, and gives the density of their aligned patches. After Tang, Srivastava "
        "and Salakhutdinov, *Learning Generative Models with Visual Attention* (NIPS 2014).",
        _section("Use", "```\nfoveate attend RUN photograph.jpg --out gazes.jsonl --overlays overlays\n```"),
        _section("Trained on", _training(config)),
        _section("How well it finds", _localization_table(localization or {})),
        _section("Density of aligned patches", _bound_table(bound or {})),
        _section("Limits", LIMITS),
        _section("Files", FILES),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


LIMITS = """\
- It knows one kind of object, as the photographs it was trained on show it; on others its probabilities mean little.
- A gaze is a square that may be turned in the plane. Turns out of the plane, stretching and occlusion have no name
  in it.
- Deviations are the model's own, tempered by one factor that was fitted on photographs held out; they are true on
  average, not for every photograph.
- A bound on log density rests on an estimate of log Z; read it together with its bracket."""

FILES = """\
- `gdbn.safetensors`: the Gaussian deep belief network of patches.
- `shiftnet.safetensors`: the network that moves a gaze.
- `background.safetensors`: what windows without an object look like, the ranking, the calibration.
- `config.toml`: all that is needed to train it again."""


def figure_at(figures: Any, *path: str) -> Any:
    """A figure in tables inside tables; None where it, or one of them, isn't there."""
    for key in path:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures


def _draws(values: Any) -> Float[ndarray, "gaze chain draw 4"]:
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    draws = np.asarray(values, dtype=np.float64)
    draws = draws[None] if draws.ndim == 3 else draws
    if draws.ndim != 4 or draws.shape[-1] != 4:
        raise BadInput(f"draws of shape {draws.shape}: [gaze, chain, draw, 4] is expected")
    return draws


def _variables(draws: Float[ndarray, "chain draw gaze 4"]) -> dict[str, Float[ndarray, "chain draw gaze"]]:
    a, b, tx, ty = np.moveaxis(draws, -1, 0)
    turn = np.arctan2(b, a)
    middle = np.arctan2(np.sin(turn).mean(axis=(0, 1)), np.cos(turn).mean(axis=(0, 1)))
    turn = middle + np.remainder(turn - middle + np.pi, 2.0 * np.pi) - np.pi
    log_scale = np.log(np.maximum(np.hypot(a, b), np.finfo(np.float64).tiny))
    return {"a": a, "b": b, "tx": tx, "ty": ty, "log_scale": log_scale, "angle": np.degrees(turn)}


def _training(config: Mapping[str, Any]) -> str:
    known = {name: value for name, value in config.items() if isinstance(value, str | int | float) and value != ""}
    return "\n".join(f"- {_one_line(name)}: `{_one_line(value)}`" for name, value in known.items())


def _localization_table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, figures in measured.items():
        angle = [_share(figure_at(figures, "angle_error_degrees", part), 2) for part in ("median", "p90")]
        cells = [
            _one_line(name),
            " / ".join(_share(figure_at(figures, part), 0) for part in ("photos", "objects")),
            _share(figure_at(figures, "top1", "0.5")),
            _share(figure_at(figures, "recall", "0.5")),
            _share(figure_at(figures, "false_positives_per_photo")),
            " / ".join(angle),
            _share(figure_at(figures, "calibration", "ece")),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    if not rows:
        return ""
    columns = ("measured on", "photographs / objects", "top1", "recall", "false positives a photograph",
               "angle error in degrees, median / p90", "calibration error")  # fmt: skip
    head = "| " + " | ".join(columns) + " |"
    return "\n".join([head, "| --- " * 7 + "|", *rows, "", "Overlap: IoU of upright squares at 0.5 or more."])


def _bound_table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, figures in measured.items():
        bracket = f"{_share(figure_at(figures, 'log_z_lower'), 1)} to {_share(figure_at(figures, 'log_z_upper'), 1)}"
        nats = f"{_share(figure_at(figures, 'bound'), 1)} ± {_share(figure_at(figures, 'bound_stderr'), 1)}"
        cells = [_one_line(name), _share(figure_at(figures, "n"), 0), nats, bracket]
        rows.append("| " + " | ".join(cells) + " |")
    if not rows:
        return ""
    return "\n".join(["| measured on | patches | bound, nats a patch | log Z between |", "| --- " * 4 + "|", *rows])


def _share(value: float | int | None, digits: int = 3) -> str:
    return "not known" if value is None else f"{value:.{digits}f}"


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _one_line(value: Any) -> str:
    """A word of someone else's as part of a Markdown line: no line breaks, cells, code or tags begin in it."""
    text = " ".join(str(value).split())
    return text.replace("`", "'").replace("|", "/").replace("<", "&lt;").replace(">", "&gt;")
