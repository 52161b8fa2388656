"""One object that attention found, or what may be one, and what its posterior says."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from foveate.attention.posterior.conformal import Region

NOT_MOVING, DIVERGING, DISAGREEING, FEW = "not moving", "diverging", "chains disagree", "few effective draws"
"""What may be wrong with the chains of a gaze (`Refined.flags`)."""
STILL = 1e-6  # of a half-side, of a radian or of log scale: a spread below it is a chain that didn't move


@dataclass(frozen=True)
class Refined:
    """The posterior of one gaze: by importance sampling, or by chains of Hamiltonian Monte Carlo.

    Attributes:
        u: The posterior mean, or the gaze the chains started from where they can't be believed.
        std: Standard deviations of (a, b, tx, ty), pixels; NaN where the chains did not move.
        spread: Standard deviations of (log s, angle in radians, tx, ty); NaN likewise.
        trail: The mean of all draws so far, at some of the draws, then u: the estimate as it settles.
        draws: Some draws of all chains.
        rhat: Of (log s, angle, tx, ty); NaN without chains.
        ess: Bulk effective sample sizes of the same; of the weights, without chains.
        acceptance: Mean acceptance probability of each chain; empty without.
        flags: What is wrong with the chains, in words.
        pareto_k: Shape of the tail of the importance weights; NaN where none were asked.
    """

    u: Float[np.ndarray, "4"]
    std: Float[np.ndarray, "4"]
    spread: Float[np.ndarray, "4"]
    trail: Float[np.ndarray, "steps 4"]
    draws: Float[np.ndarray, "draws 4"]
    rhat: Float[np.ndarray, "4"]
    ess: Float[np.ndarray, "4"]
    acceptance: Float[np.ndarray, "chains"]
    flags: tuple[str, ...]
    pareto_k: float = math.nan

    @property
    def doubts(self) -> tuple[str, ...]:
        """Flags for which the draws can't be believed; chains that merely disagree are far apart, and say so."""
        return tuple(sorted({NOT_MOVING, DIVERGING} & set(self.flags)))

    def moved(self, factor: float, x: float | int = 0, y: float | int = 0) -> "Refined":
        """The same posterior in an image `factor` times the size, whose origin then lies at (-x, -y)."""
        u, trail, draws = (_moved(part, factor, x, y) for part in (self.u, self.trail, self.draws))
        spread = self.spread * np.array([1.0, 1.0, factor, factor])
        return replace(self, u=u, trail=trail, draws=draws, std=self.std * factor, spread=spread)


@dataclass(frozen=True)
class Found:
    """One object, or what may be one.

    Attributes:
        u: The gaze (a, b, tx, ty): posterior mean where there is one, else where the network came to rest.
        score: Log-odds in nats by which gazes are ranked.
        probability: P(object | score).
        trail: Every gaze on the way, the start first.
        network_steps: How many of the trail's steps are the networks'; the rest are Monte Carlo's.
        posterior: What the chains found, None where they were not run.
        region: What holds the true gaze with a stated probability, where that was asked for.
    """

    u: Float[np.ndarray, "4"]
    score: float
    probability: float
    trail: Float[np.ndarray, "steps 4"]
    network_steps: int
    posterior: Refined | None = None
    region: Region | None = None

    @classmethod
    def at_rest(cls, trail: Float[np.ndarray, "steps 4"], score: float, probability: float) -> "Found":
        """Where the network left a gaze, before any chain has run."""
        return cls(trail[-1], score, probability, trail, len(trail) - 1)

    def refined(self, posterior: Refined) -> "Found":
        """With what the chains that set out from it found."""
        return replace(self, u=posterior.u, trail=np.concatenate((self.trail, posterior.trail)), posterior=posterior)

    def moved(self, factor: float, x: float | int = 0, y: float | int = 0) -> "Found":
        """The same object in an image `factor` times the size, whose origin then lies at (-x, -y)."""
        posterior = self.posterior and self.posterior.moved(factor, x, y)
        u, trail = _moved(self.u, factor, x, y), _moved(self.trail, factor, x, y)
        return replace(self, u=u, trail=trail, posterior=posterior, region=self.region and self.region.moved(factor))

    @property
    def scale(self) -> float:
        """Half-side of its square, pixels."""
        return math.hypot(self.u[0], self.u[1])

    @property
    def angle(self) -> float:
        """Degrees in (-180, 180], clockwise on the screen."""
        angle = math.degrees(math.atan2(self.u[1], self.u[0]))
        return 180.0 if angle <= -180.0 else angle

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The upright square (x0, y0, x1, y1) around its centre, pixels."""
        (_, _, x, y), s = self.u.tolist(), self.scale
        return x - s, y - s, x + s, y + s

    @property
    def rest(self) -> Float[np.ndarray, "4"]:
        """The gaze where the network left it."""
        return self.trail[self.network_steps]

    @property
    def std(self) -> Float[np.ndarray, "4"]:
        """Posterior standard deviations of (a, b, tx, ty), pixels; NaN without chains, and where they did not move."""
        return np.full(4, np.nan) if self.posterior is None else self.posterior.std

    @property
    def spread(self) -> Float[np.ndarray, "4"]:
        """Posterior standard deviations of (log s, angle in radians, tx, ty); NaN as for `std`."""
        return np.full(4, np.nan) if self.posterior is None else self.posterior.spread

    @property
    def spread_is_known(self) -> bool:
        """Whether there is a spread, and not that of chains that did not move: finite, and above `STILL`."""
        relative = self.spread / np.array([1.0, 1.0, max(self.scale, 1e-300), max(self.scale, 1e-300)])
        return bool((np.isfinite(relative) & (np.nan_to_num(relative) > STILL)).all())

    @property
    def flags(self) -> tuple[str, ...]:
        """What is wrong with the posterior's chains, in words."""
        return () if self.posterior is None else self.posterior.flags


def _moved(
    gazes: Float[np.ndarray, "*n 4"], factor: float, x: float | int, y: float | int
) -> Float[np.ndarray, "*n 4"]:
    return gazes * factor + np.array([0.0, 0.0, x, y])
