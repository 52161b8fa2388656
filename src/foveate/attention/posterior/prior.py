"""What is believed about a gaze before looking: its scale, its angle, its place.

The prior is one of two kinds in scale: flat in (a, b, tx, ty), or log-normal. The angle is uniform or a wrapped
normal, the centre uniform over a region, the scale within bounds. The bounds are not for show: far outside the image
all gazes see the same colour, so under a flat prior without bounds the posterior would not be a distribution at all.
"""

import math
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from foveate.attention.settings import GazePrior
from foveate.scenes.gaze import angle, scale
from foveate.scenes.pyramid import Pyramids

_WRAPS = 3  # copies of the normal density on either side that make the wrapped one


def prior_rows(prior: GazePrior, n: int) -> np.ndarray:
    """[n, 5] as the compiled density takes it: log p(q) = power log s - precision (log s - mean)^2 / 2 + log
    wrapped normal.

    In chart coordinates the flat prior is s^2 (the Jacobian), the log-normal one, being a density of log s, has
    no power.
    """
    power, (mean, std) = (2.0, (0.0, math.inf)) if prior.log_scale is None else (0.0, prior.log_scale)
    centre, spread = (0.0, math.inf) if prior.angle is None else prior.angle
    return np.tile(np.array([power, mean, std**-2, centre, spread**-2]), (n, 1))


def prior_bounds(prior: GazePrior, pyramids: Pyramids, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), [n, 4] each, of (log s, angle, tx, ty), for gazes at these images."""
    width = pyramids.width[index, 0].astype(np.float64)
    height = pyramids.height[index, 0].astype(np.float64)
    by_default = (np.ones(len(index)), np.maximum(width, height))
    least, greatest = by_default if prior.scale_range is None else prior.scale_range
    x0, y0, x1, y1 = (0.0, 0.0, width, height) if prior.region is None else prior.region
    low, high = np.full((len(index), 4), -np.inf), np.full((len(index), 4), np.inf)
    low[:, 0], high[:, 0] = np.log(least), np.log(greatest)
    low[:, 2], high[:, 2] = x0, x1
    low[:, 3], high[:, 3] = y0, y1
    return low, high


def log_ratio_to_searched(
    prior: GazePrior, gazes: Float[Tensor, "n 4"], width: int, height: int, smallest: float
) -> Float[Tensor, "n"]:
    """log p(u) - log p0(u), nats: what a stated prior adds to the log-odds of an object at each gaze.

    p0 is what a search takes for granted, uniform over what it covers: log s from `smallest` to half the longer side,
    all angles, the centre in the image. What the prior does not state is p0's, so the default adds nothing.

    Args:
        prior: p(u), in densities of (log s, angle, tx, ty).
        gazes: u.
        width: Of the image, pixels; as all lengths.
        height: Of the image.
        smallest: Half-side of the smallest objects that are searched.
    """
    out, log_s = torch.zeros(len(gazes), dtype=torch.float64), torch.log(scale(gazes)).double()
    widest = math.log(max(width, height) / 2) - math.log(smallest)
    if prior.log_scale is not None:
        mean, std = prior.log_scale
        out += math.log(widest) - 0.5 * ((log_s - mean) / std).square() - math.log(std * math.sqrt(2 * math.pi))
    if prior.scale_range is not None:
        low, high = (math.log(bound) for bound in prior.scale_range)
        inside = math.log(widest / (high - low)) if prior.log_scale is None else 0.0
        out += torch.where((log_s >= low) & (log_s <= high), inside, -torch.inf)
    if prior.angle is not None:
        mean, std = prior.angle
        turns = angle(gazes).double()[:, None] - mean + 2 * math.pi * torch.arange(-_WRAPS, _WRAPS + 1)
        out += torch.logsumexp(-0.5 * (turns / std).square(), 1) + math.log(math.sqrt(2 * math.pi) / std)
    if prior.region is not None:
        x0, y0, x1, y1 = prior.region
        seen = max(min(x1, width) - max(x0, 0.0), 0.0) * max(min(y1, height) - max(y0, 0.0), 0.0)
        inside = ((gazes[:, 2:] >= torch.tensor([x0, y0])) & (gazes[:, 2:] <= torch.tensor([x1, y1]))).all(1)
        out += torch.where(inside, math.log(width * height / seen) if seen > 0 else 0.0, -torch.inf)
    return out


@no_type_check  # here and below: the tests' import hook would wrap what numba has to compile
@njit(cache=True, error_model="numpy")
def log_prior(q, row):
    """(log p(q) of the prior in the chart, its derivative in log s, and in angle). Row: see `prior_rows`."""
    power, log_scale_mean, log_scale_precision, angle_mean, angle_precision = row[0], row[1], row[2], row[3], row[4]
    away = q[0] - log_scale_mean
    value = power * q[0] - 0.5 * log_scale_precision * away * away
    by_scale = power - log_scale_precision * away
    by_angle = 0.0
    if angle_precision > 0.0:
        turn = q[1] - angle_mean
        turn -= 2.0 * math.pi * math.floor(turn / (2.0 * math.pi) + 0.5)
        total = moment = 0.0
        for k in range(-_WRAPS, _WRAPS + 1):
            angle = turn + 2.0 * math.pi * k
            density = math.exp(-0.5 * angle_precision * (angle * angle - turn * turn))
            total += density
            moment += density * angle
        value += math.log(total) - 0.5 * angle_precision * turn * turn
        by_angle = -angle_precision * moment / total
    return value, by_scale, by_angle


@no_type_check
@njit(cache=True, error_model="numpy", nogil=True)
def _log_priors(q, rows, value, gradient):
    for n in range(len(q)):
        value[n], gradient[n, 0], gradient[n, 1] = log_prior(q[n], rows[n])


def log_priors(
    q: Float[Tensor, "chains 4"], rows: Float[np.ndarray, "chains 5"]
) -> tuple[Float[Tensor, " chains"], Float[Tensor, "chains 4"]]:
    """`log_prior` of many chains, a row each, and its gradient in the chart."""
    value, gradient = np.empty(len(q)), np.zeros((len(q), 4))
    _log_priors(q.numpy(), rows, value, gradient)
    return torch.from_numpy(value), torch.from_numpy(gradient)


def log_prior_reference(q: Float[Tensor, "chains 4"], rows: Float[Tensor, "chains 5"]) -> Float[Tensor, " chains"]:
    """`log_prior` in torch."""
    power, scale_mean, scale_precision, angle_mean, angle_precision = rows.to(q).unbind(1)
    value = power * q[:, 0] - 0.5 * scale_precision * (q[:, 0] - scale_mean).square()
    turn = torch.remainder(q[:, 1] - angle_mean + math.pi, 2 * math.pi) - math.pi
    copies = turn.unsqueeze(1) + 2 * math.pi * torch.arange(-_WRAPS, _WRAPS + 1, device=q.device, dtype=q.dtype)
    wrapped = torch.logsumexp(-0.5 * angle_precision.unsqueeze(1) * copies.square(), 1)
    return value + torch.where(angle_precision > 0, wrapped, torch.zeros_like(wrapped))
