"""Posterior draws of gazes as ArviZ has them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.found import Refined
from foveate.attention.posterior.summary import Posterior, coordinates, mean_gaze
from foveate.errors import BadInput, extra
from foveate.scenes import gaze


def to_arviz(
    posterior: Posterior | Refined | Sequence[Refined] | Tensor | np.ndarray, names: Sequence[str] | None = None
) -> Any:
    """Posterior draws of gazes as ArviZ has them: InferenceData, or a DataTree from ArviZ 1.0 on.

    Variables, each with the dimensions chain, draw, gaze: `a`, `b`, `tx`, `ty` (pixels), `log_scale`, and `angle` in
    degrees, taken around its circular mean so that no chain jumps at 180. R-hat and effective sample sizes of
    `log_scale`, `angle`, `tx` and `ty` are those of `attention.posterior.diagnostics`. Chains stay as they are; weighed
    points become one chain of as many draws, resampled (that have no order: R-hat says nothing of them). Where gazes
    have different numbers of chains or draws, what is missing is NaN.

    Args:
        posterior: The `posterior` of a gaze that attention found, or of several; or draws of u, [gaze, chain, draw, 4]
            or, of one gaze, [chain, draw, 4].
        names: What the gazes are called; numbers where left out.

    Raises:
        BadInput: ArviZ is not installed, or the draws have another shape, or there is another number of names.
    """
    arviz = extra("arviz", "ArviZ", "diagnostics")
    draws = _of_each(posterior)
    labels = list(range(len(draws))) if names is None else list(names)
    if len(labels) != len(draws):
        raise BadInput(f"{len(labels)} names for the posteriors of {len(draws)} gazes")
    variables = _variables(draws)
    described = {"coords": {"gaze": labels}, "dims": {name: ["gaze"] for name in variables}}
    if int(arviz.__version__.split(".")[0]) >= 1:
        return arviz.from_dict({"posterior": variables}, **described)
    return arviz.from_dict(posterior=variables, **described)


def _of_each(posterior: Any) -> list[Float[Tensor, "_ _ 4"]]:
    """The draws of each gaze, [chain, draw, 4]."""
    if isinstance(posterior, Refined):
        posterior = [posterior]
    if isinstance(posterior, Sequence) and posterior and all(isinstance(each, Refined) for each in posterior):
        return [torch.from_numpy(each.unweighed()).double() for each in posterior]
    draws = torch.as_tensor(posterior.draws if isinstance(posterior, Posterior) else posterior).double().cpu()
    draws = draws[None] if draws.ndim == 3 else draws
    if draws.ndim != 4 or draws.shape[-1] != 4:
        raise BadInput(f"draws of shape {tuple(draws.shape)}: expected [gaze, chain, draw, 4]")
    return list(draws)


def _variables(draws: Sequence[Float[Tensor, "_ _ 4"]]) -> dict[str, Float[np.ndarray, "chain draw gaze"]]:
    chains, length = (max((each.shape[k] for each in draws), default=1) for k in (0, 1))
    out = {name: np.full((chains, length, len(draws)), np.nan) for name in ("a", "b", "tx", "ty", "log_scale", "angle")}
    for k, each in enumerate(draws):
        log_scale, turn, tx, ty = coordinates(each).unbind(0)
        turn = torch.rad2deg(turn + gaze.angle(mean_gaze(each.flatten(0, 1))))
        for name, values in zip(out, (each[..., 0], each[..., 1], tx, ty, log_scale, turn), strict=True):
            out[name][: each.shape[0], : each.shape[1], k] = values.numpy()
    return out
