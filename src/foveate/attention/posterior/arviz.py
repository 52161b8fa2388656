"""Posterior draws of gazes as ArviZ has them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.posterior.summary import Posterior, coordinates, mean_gaze
from foveate.errors import BadInput
from foveate.scenes import gaze

MISSING = "ArviZ is not installed: pip install 'foveate[diagnostics]'"


def to_arviz(posterior: Posterior | Tensor | np.ndarray, names: Sequence[str] | None = None) -> Any:
    """Posterior draws of gazes as ArviZ has them: InferenceData, or a DataTree from ArviZ 1.0 on.

    Variables, each with the dimensions chain, draw, gaze: `a`, `b`, `tx`, `ty` (pixels), `log_scale`, and `angle` in
    degrees, taken around its circular mean so that no chain jumps at 180. R-hat and effective sample sizes of
    `log_scale`, `angle`, `tx` and `ty` are those of `attention.posterior.diagnostics`.

    Args:
        posterior: The posterior of gazes, or its draws of u, [gaze, chain, draw, 4] or, of one gaze, [chain, draw, 4].
        names: What the gazes are called; numbers where left out.

    Raises:
        BadInput: ArviZ is not installed, or the draws have another shape, or there is another number of names.
    """
    try:
        import arviz
    except ImportError:
        raise BadInput(MISSING) from None
    draws = torch.as_tensor(posterior.draws if isinstance(posterior, Posterior) else posterior).double().cpu()
    draws = draws[None] if draws.ndim == 3 else draws
    if draws.ndim != 4 or draws.shape[-1] != 4:
        raise BadInput(f"draws of shape {tuple(draws.shape)}: expected [gaze, chain, draw, 4]")
    labels = list(range(len(draws))) if names is None else list(names)
    if len(labels) != len(draws):
        raise BadInput(f"{len(labels)} names for the posteriors of {len(draws)} gazes")
    variables = _variables(draws)
    described = {"coords": {"gaze": labels}, "dims": {name: ["gaze"] for name in variables}}
    if int(arviz.__version__.split(".")[0]) >= 1:
        return arviz.from_dict({"posterior": variables}, **described)
    return arviz.from_dict(posterior=variables, **described)


def _variables(draws: Float[Tensor, "gaze chain draw 4"]) -> dict[str, Float[np.ndarray, "chain draw gaze"]]:
    log_scale, turn, tx, ty = coordinates(draws).unbind(1)
    turn = torch.rad2deg(turn + gaze.angle(mean_gaze(draws.flatten(1, 2)))[:, None, None])
    found = {"a": draws[..., 0], "b": draws[..., 1], "tx": tx, "ty": ty, "log_scale": log_scale, "angle": turn}
    return {name: values.movedim(0, -1).numpy() for name, values in found.items()}
