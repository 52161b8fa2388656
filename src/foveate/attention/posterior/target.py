"""The densities of gazes that Hamiltonian Monte Carlo moves in: one for each chain, as tables for compiled loops.

A chain moves in q = (log s, angle, tx / L, ty / L), L fixed for as long as it runs. Its target is

    log p(q) = -1/2 sum_i w_i (x_i(u(q)) - m_i)^2 + log p(u) + 2 log s

(`glimpse_density`, `prior`), where 2 log s is the Jacobian of the chart,
da db dtx dty = s^2 L^2 dlog s dangle dq_2 dq_3.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.posterior.glimpse_density import to_lanes
from foveate.attention.posterior.hmc import Box, LogDensityAndGradient
from foveate.attention.posterior.prior import log_prior_reference, prior_bounds, prior_rows
from foveate.attention.settings import GazePrior
from foveate.scenes.gaze import from_chart
from foveate.scenes.glimpse import plain_glimpses, plain_views
from foveate.scenes.pyramid import Pyramids


class GazeTargets(NamedTuple):
    """The densities of a batch of chains, one each.

    Attributes:
        pyramids: The images.
        index: Image of each chain.
        length: L of each chain's chart, in pixels.
        mean: m of each chain, lanes of the kernel (`glimpse_density.to_lanes`).
        weight: w, for all chains or each.
        size: Side of the patch.
        extent: Half-side of the window in canonical units.
        pyramid: Whether to sample from the pyramid (the paper does not).
        prior: [chains, 5] as `prior_rows` gives it.
        low: [chains, 4] lower bounds in the chart, or -inf.
        high: [chains, 4] upper bounds.
    """

    pyramids: Pyramids
    index: np.ndarray
    length: np.ndarray
    mean: np.ndarray
    weight: np.ndarray
    size: int
    extent: float
    pyramid: bool
    prior: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def with_patches(self, mean: Tensor, weight: Tensor) -> "GazeTargets":
        """The same with other means and weights, in units of pixels in [0, 1]."""
        return self._replace(mean=to_lanes(mean, 65535.0), weight=to_lanes(weight, 65535.0**-2))

    def with_means(self, mean: Tensor) -> "GazeTargets":
        """The same with other means alone."""
        return self._replace(mean=to_lanes(mean, 65535.0))

    def subset(self, chains: np.ndarray) -> "GazeTargets":
        """The targets of some of the chains."""
        weight = self.weight if len(self.weight) == 1 else self.weight[chains]
        rows = {name: getattr(self, name)[chains] for name in ("index", "length", "mean", "prior", "low", "high")}
        return self._replace(weight=weight, **rows)

    @property
    def tables(self) -> tuple[Any, ...]:
        """The fields in order, as compiled loops take them, the pyramids' first."""
        return (*self.pyramids.arrays, *self[1:])

    @property
    def box(self) -> Box:
        """The bounds as `hmc.step` takes them."""
        return Box(torch.from_numpy(self.low), torch.from_numpy(self.high))


def gaze_targets(
    pyramids: Pyramids,
    index: np.ndarray,
    gazes: Float[Tensor, "chains 4"],
    mean: Float[Tensor, "chains 3 size size"],
    weight: Float[Tensor, "#chains 3 size size"],
    prior: GazePrior | None = None,
    extent: float = 1.0,
    pyramid: bool = True,
) -> GazeTargets:
    """The targets of chains that start at `gazes`: their scales there are the lengths of the charts."""
    prior = GazePrior() if prior is None else prior
    index = np.ascontiguousarray(index, np.int64)
    low, high = prior_bounds(prior, pyramids, index)
    # A start of an impossible size still needs a chart.
    length = torch.hypot(gazes[:, 0], gazes[:, 1]).double().nan_to_num(nan=1.0).numpy()
    length = np.clip(length, np.exp(low[:, 0]), np.exp(high[:, 0]))
    low[:, 2:], high[:, 2:] = low[:, 2:] / length[:, None], high[:, 2:] / length[:, None]
    rows = prior_rows(prior, len(index))
    empty = np.empty((0, 0, 0), np.float32)
    targets = GazeTargets(
        pyramids, index, length, empty, empty, mean.shape[-1], float(extent), pyramid, rows, low, high
    )
    return targets.with_patches(mean, weight)


def reference(
    targets: GazeTargets, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
) -> LogDensityAndGradient:
    """The same targets for `hmc.step`, by autograd through `plain_glimpses`, on any device.

    Everything is brought there once: an evaluation copies nothing between devices and looks at no value, so that it can
    be captured as a CUDA graph.
    """
    size = targets.size
    like = torch.zeros((), dtype=dtype).to(device)
    mean, weight = (
        torch.from_numpy(t).double().unflatten(2, (size, 4))[..., :3].permute(0, 3, 1, 2)
        for t in (targets.mean, targets.weight)
    )
    mean, weight = (mean / 65535).to(like), (weight * 65535.0**2).to(like)
    length, rows = torch.from_numpy(targets.length).to(like), torch.from_numpy(targets.prior).to(like)
    views = plain_views(targets.pyramids, targets.index, like, size, targets.extent)

    def logdensity_and_grad(position: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            q = position.detach().requires_grad_()
            seen = plain_glimpses(views, from_chart(q, length), size, targets.extent, targets.pyramid)
            value = -0.5 * (weight * (seen - mean).square()).sum((1, 2, 3)) + log_prior_reference(q, rows)
            (gradient,) = torch.autograd.grad(value.sum(), q)
        return value.detach(), gradient

    return logdensity_and_grad
