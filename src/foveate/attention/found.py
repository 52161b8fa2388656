"""One object that attention found, or what may be one."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from foveate.attention.refine import Refined


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
