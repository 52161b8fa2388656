"""What is believed about a gaze before looking: its scale, its angle, its place.

The prior is one of two kinds in scale: flat in (a, b, tx, ty), or log-normal. The angle is uniform or a wrapped
normal, the centre uniform over a region, the scale within bounds. The bounds are not for show: far outside the image
all gazes see the same colour, so under a flat prior without bounds the posterior would not be a distribution at all.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.settings import GazePrior
from foveate.scenes.gaze import angle, angle_difference, scale
from foveate.scenes.pyramid import Pyramids

_WRAPS = 3  # copies of the normal density on either side that make the wrapped one


def prior_rows(prior: GazePrior, n: int, flat: bool = True) -> Float[Tensor, "{n} 5"]:
    """Rows (power, mean, precision, centre, precision of the angle) with log p(q) = power log s -
    precision (log s - mean)^2 / 2 + log wrapped normal.

    In chart coordinates the flat prior is s^2 (the Jacobian), left out if not `flat`; the log-normal one, being a
    density of log s, has no power.
    """
    power, (mean, std) = (2.0 * flat, (0.0, math.inf)) if prior.log_scale is None else (0.0, prior.log_scale)
    centre, spread = (0.0, math.inf) if prior.angle is None else prior.angle
    return torch.tensor([[power, mean, std**-2, centre, spread**-2]], dtype=torch.float64).repeat(n, 1)


def prior_bounds(prior: GazePrior, pyramids: Pyramids, index: np.ndarray) -> tuple[Tensor, Tensor]:
    """(low, high), [n, 4] each, of (log s, angle, tx, ty), for gazes at these images."""
    width, height = (torch.from_numpy(side[index, 0]).double() for side in (pyramids.width, pyramids.height))
    one = torch.ones_like(width)
    least, greatest = (one, torch.maximum(width, height)) if prior.scale_range is None else prior.scale_range
    x0, y0, x1, y1 = (0.0, 0.0, width, height) if prior.region is None else prior.region
    low, high = (torch.full((len(index), 4), bound, dtype=torch.float64) for bound in (-math.inf, math.inf))
    low[:, 0], high[:, 0] = (one * least).log(), (one * greatest).log()
    low[:, 2], high[:, 2], low[:, 3], high[:, 3] = x0, x1, y0, y1
    return low, high


def log_ratio_to_searched(
    prior: GazePrior, gazes: Float[Tensor, "n 4"], width: int, height: int, smallest: float
) -> Float[Tensor, "n"]:
    """log p(u) - log p0(u), nats: what a stated prior adds to the log-odds of an object at each gaze.

    p0 is what a search takes for granted, uniform over what it covers: log s from `smallest` to half the longer side,
    all angles, the centre in the image. What the prior does not state is p0's, so the default adds nothing. Densities
    are of (log s, angle, tx, ty), lengths in pixels; `smallest` is the half-side of the smallest objects searched.
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


def log_prior(
    q: Float[Tensor, "chains 4"], rows: Float[Tensor, "chains 5"]
) -> tuple[Float[Tensor, " chains"], Float[Tensor, "chains 4"]]:
    """log p(q) of the prior in the chart, and its gradient; rows as of `prior_rows`."""
    power, scale_mean, scale_precision, angle_mean, angle_precision = rows.unbind(1)
    away = q[:, 0] - scale_mean
    value = power * q[:, 0] - 0.5 * scale_precision * away.square()
    by_angle = nothing = torch.zeros_like(value)
    if (angle_precision > 0).any():  # else most of this would go into copies that weigh nothing
        copies = angle_difference(q[:, 1], angle_mean)[:, None] + 2 * math.pi * torch.arange(-_WRAPS, _WRAPS + 1)
        wrapped = -0.5 * angle_precision[:, None] * copies.square()
        value = value + torch.where(angle_precision > 0, torch.logsumexp(wrapped, 1), 0.0)
        by_angle = -angle_precision * (torch.softmax(wrapped, 1) * copies).sum(1)
    return value, torch.stack((power - scale_precision * away, by_angle, nothing, nothing), 1)
