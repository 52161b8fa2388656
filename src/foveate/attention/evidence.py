"""How much speaks for an object at a gaze: several measured figures, one score, one probability.

Measured of each gaze that came to rest:

- the log-ratio of object and background (`background`), in nats a dimension, up to what objects usually reach: what
  is nothing like a photograph is nearly impossible under the background model, which makes it no likelier an object;
- the verifier's log-odds that an object is here (`verifier`);
- how far the ShiftNet would still move: at an object it comes to rest;
- how many starts ended here, beside how many looked;
- how much of the glimpse lies outside the image.

A logistic regression on photographs that trained none of these weighs them; its logit is the score, a log-ratio of
posterior odds in nats. A calibration on the same photographs turns the score into P(object | score).
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.background import Gaussian, log_ratio
from foveate.attention.calibration import Calibration
from foveate.attention.logistic import Logistic
from foveate.attention.search import Look
from foveate.attention.shiftnet import UNIT, ShiftNet
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import present

NEAR, HERE = 0, 1  # the verifier's outputs
VERIFIER = "verifier."  # what the names of its tensors begin with
MEASURED = ("log_ratio", "here", "rest", "votes", "outside")
USUAL = 0.9  # share of objects whose log-ratio stays below the ceiling


@dataclass(frozen=True)
class Evidence:
    """Everything that turns a look at a gaze into a probability.

    Attributes:
        background: Density of glimpses without an object, in the patch model's units.
        object_log_z: The GRBM's log partition function.
        verifier: The network that says whether an object is near, and whether it is here.
        ranking: Weighs the measured figures; its logit is the score.
        calibration: Score -> probability.
        spread: How far from an object gazes come to rest, standard deviations of (log s, angle, x / s, y / s); zeros
            where it isn't known.
        ceiling: Log-ratio that objects usually stay below, nats a dimension; more of it counts for no more.
        temper: Factor by which log-likelihoods of glimpses are divided, since misfit is not independent between pixels.
    """

    background: Gaussian
    object_log_z: float
    verifier: ShiftNet
    ranking: Logistic | None
    calibration: Calibration | None
    temper: float = 1.0
    spread: Float[Tensor, "4"] = field(default_factory=lambda: torch.zeros(4, dtype=torch.float64))
    ceiling: float = np.inf

    def measure(
        self,
        gdbn: GaussianDBN,
        look: Look,
        here: Float[Tensor, "n"],
        votes: Float[np.ndarray, "n"],
        outside: Float[Tensor, "n"],
    ) -> Float[np.ndarray, "n measured"]:
        """The figures of `MEASURED` for each gaze."""
        ratio = log_ratio(gdbn, self.object_log_z, self.background, look.glimpse) / gdbn.grbm.b.numel()
        left = (look.change / torch.tensor(UNIT)).square().mean(1).sqrt()
        columns = (
            torch.asinh(ratio.clamp(max=self.ceiling)),  # thousands of nats weigh no more than they can be trusted
            here,
            torch.log(left + 0.02),
            torch.log1p(torch.from_numpy(votes).float()),
            outside.float(),
        )
        return torch.stack(columns, 1).double().numpy()

    def score(self, measured: Float[np.ndarray, "n measured"]) -> Float[np.ndarray, "n"]:
        """Log-odds of an object, from what `measure` gives.

        Raises:
            FoveateError: The ranking has not been fitted.
        """
        return present(self.ranking, "the ranking").logit(measured)

    def probability(self, score: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """P(object | score).

        Raises:
            FoveateError: The calibration has not been fitted.
        """
        return present(self.calibration, "the calibration").probability(score)

    def to(self, device: str | torch.device) -> "Evidence":
        """The same with its network on another device; the rest is weighed on the CPU."""
        return replace(self, verifier=self.verifier.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """Plain tensors, for background.safetensors."""
        out = {"background.mean": self.background.mean, "background.whiten": self.background.whiten}
        out |= self.verifier.tensors(VERIFIER)
        out["object_log_z"] = torch.tensor(self.object_log_z, dtype=torch.float64)
        out["temper"] = torch.tensor(self.temper, dtype=torch.float64)
        out["spread"] = self.spread
        out["ceiling"] = torch.tensor(self.ceiling, dtype=torch.float64)
        out |= self.ranking.tensors() if self.ranking is not None else {}
        return out | (self.calibration.tensors() if self.calibration is not None else {})

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Evidence":
        """Rebuilds what `tensors` gave."""
        return cls(
            Gaussian(tensors["background.mean"], tensors["background.whiten"]),
            float(tensors["object_log_z"]),
            ShiftNet.from_tensors(tensors, "the verifier", VERIFIER),
            Logistic.from_tensors(tensors) if "ranking.weight" in tensors else None,
            Calibration.from_tensors(tensors) if any(k.startswith("calibration.") for k in tensors) else None,
            float(tensors["temper"]),
            tensors["spread"],
            float(tensors.get("ceiling", torch.inf)),
        )


def capped(measured: Float[np.ndarray, "n measured"], ceiling: float) -> Float[np.ndarray, "n measured"]:
    """The figures as `Evidence.measure` gives them under that ceiling, from those without one."""
    out = measured.copy()
    column = MEASURED.index("log_ratio")
    out[:, column] = np.minimum(out[:, column], np.arcsinh(ceiling))
    return out


def below_which_usual(reached: Float[np.ndarray, "n"]) -> float:
    """What `USUAL` of the log-ratios that objects reached stay below; infinite where there are none."""
    return float(np.quantile(reached, USUAL)) if len(reached) else np.inf
