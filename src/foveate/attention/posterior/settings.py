"""How the posteriors of gazes are sampled."""

from dataclasses import dataclass, field
from typing import Literal

from foveate.attention.posterior.prior import GazePrior
from foveate.errors import BadInput


@dataclass(frozen=True)
class PosteriorSettings:
    """How posteriors are sampled.

    Attributes:
        chains: Chains a gaze, each from its own start.
        warm_up: Sweeps (v, h1, moves of u) before the draws, in which scales and step sizes adapt.
        draws: Sweeps kept, one draw each.
        moves: HMC transitions of u a sweep.
        n_leapfrog: Leapfrog steps a transition.
        jitter: Random share by which step sizes vary between transitions.
        target: "paper", "marginal" or "collapsed"; see the module.
        temperature: Divides u's log-likelihood.
        dispersion: Standard deviation of the starts around the gaze: of log s, of the angle (radians), and of the
            centre in units of s; where a prior around the gaze is given, that takes its place.
        acceptance: What step sizes are adapted to.
        prior: p(u).
        pyramid: False samples level 0 alone, as the paper does.
    """

    chains: int = 4
    warm_up: int = 40
    draws: int = 60
    moves: int = 2
    n_leapfrog: int = 6
    jitter: float = 0.3
    target: Literal["paper", "marginal", "collapsed"] = "marginal"
    temperature: float = 1.0
    dispersion: float = 0.05
    acceptance: float = 0.8
    prior: GazePrior = field(default_factory=GazePrior)
    pyramid: bool = True

    def __post_init__(self) -> None:
        if self.target not in ("paper", "marginal", "collapsed"):
            raise BadInput(f"target = {self.target!r}: the posterior's targets are 'paper', 'marginal' and 'collapsed'")
        if not self.temperature > 0:
            raise BadInput(f"temperature = {self.temperature}: it must be positive")
        least = {"chains": 0, "warm_up": 0, "draws": 1, "moves": 1, "n_leapfrog": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise BadInput(f"{name} = {getattr(self, name)}: it must be at least {value}")
