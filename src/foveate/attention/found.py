"""One object that attention found, or what may be one."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from foveate.attention.posterior.refine import Refined

# Below this share of a half-side, of a radian or of log scale, a spread is a chain that didn't move, not certainty.
NOT_MOVING = 1e-6


@dataclass(frozen=True)
class Found:
    """One object, or what may be one.

    Attributes:
        u: The gaze (a, b, tx, ty): posterior mean where there is one, else where the network came to rest.
        score: Log-odds in nats by which gazes are ranked.
        probability: P(object | score).
        std: Posterior standard deviations of (a, b, tx, ty), pixels; NaN where the chains did not move.
        trail: Every gaze on the way, the start first.
        network_steps: How many of the trail's steps are the network's; the rest are Monte Carlo's.
        posterior: What the chains found, None where they were not run.
    """

    u: Float[np.ndarray, "4"]
    score: float
    probability: float
    std: Float[np.ndarray, "4"]
    trail: Float[np.ndarray, "steps 4"]
    network_steps: int
    posterior: Refined | None = None

    @property
    def spread(self) -> Float[np.ndarray, "4"] | None:
        """Posterior standard deviations of (log s, angle in radians, tx, ty); None without a posterior."""
        return None if self.posterior is None else self.posterior.spread

    def scaled(self, factor: float) -> "Found":
        """The same object in an image `factor` times the size."""
        posterior = self.posterior and self.posterior.scaled(factor)
        u, std, trail = self.u * factor, self.std * factor, self.trail * factor
        return replace(self, u=u, std=std, trail=trail, posterior=posterior)

    @property
    def flags(self) -> tuple[str, ...]:
        """What is wrong with the posterior's chains, in words."""
        return () if self.posterior is None else self.posterior.flags


def found(trail: Float[Tensor, "steps 4"], score: float, probability: float, refined: Refined | None) -> Found:
    """From the network's trail and what the chains found, if they were run."""
    steps = trail.numpy()
    if refined is None:
        return Found(steps[-1], score, probability, np.full(4, np.nan), steps, len(steps) - 1)
    whole = np.concatenate((steps, refined.trail), axis=0)
    return Found(refined.u, score, probability, refined.std, whole, len(steps) - 1, refined)


def spread_of(found: Any) -> Float[np.ndarray, "4"] | None:
    """Stated standard deviations of (log s, angle in radians, tx, ty); None where no posterior was sampled.

    They are the `spread` of the gaze or of its `posterior`; failing that, they follow from `std`, those of
    (a, b, tx, ty), to first order. A `posterior` of None says that no deviation is stated, whatever `std` holds.
    """
    spread, std = of_posterior(found, "spread"), getattr(found, "std", None)
    if spread is not None:
        return four(spread)
    if std is None or getattr(found, "posterior", "unknown") is None:
        return None
    return chart_spread(four(found.u)[None], four(std)[None])[0]


def of_posterior(found: Any, name: str) -> Any:
    """An attribute of the gaze, or else of its posterior; None where neither has it."""
    own = getattr(found, name, None)
    return getattr(getattr(found, "posterior", None), name, None) if own is None else own


def chart_spread(u: Float[np.ndarray, "n 4"], std: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """Standard deviations of (log s, angle, tx, ty) from those of (a, b, tx, ty), to first order.

    d log s = (a da + b db) / s^2 and d angle = (a db - b da) / s^2, a and b taken as uncorrelated.
    """
    a, b = u[:, 0], u[:, 1]
    square = np.maximum(a * a + b * b, 1e-300)
    log_s = np.hypot(a * std[:, 0], b * std[:, 1]) / square
    angle = np.hypot(a * std[:, 1], b * std[:, 0]) / square
    return np.stack([log_s, angle, std[:, 2], std[:, 3]], axis=1)


def moving(u: Float[np.ndarray, "n 4"], spread: Float[np.ndarray, "n 4"]) -> Bool[np.ndarray, " n"]:
    """Whether a spread in (log s, angle, tx, ty) is one: finite, and above 1e-6 (of a half-side for the centre)."""
    s = np.maximum(np.hypot(u[:, 0], u[:, 1]), 1e-300)[:, None]
    relative = np.concatenate([spread[:, :2], spread[:, 2:] / s], axis=1)
    finite = np.isfinite(relative)
    return np.all(finite & (np.where(finite, relative, 0.0) > NOT_MOVING), axis=1)


def four(values: Any) -> Float[np.ndarray, "4"]:
    """Four numbers as float64, from a tensor, an array or a list."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    return np.asarray(values, dtype=np.float64).reshape(4)
