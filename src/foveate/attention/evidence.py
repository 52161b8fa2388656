"""How much speaks for an object at a gaze: several measured figures, one score, one probability.

Measured of each converged gaze:

- the log-ratio of object and background (`background`), in nats a dimension;
- what the ShiftNet's 1024 hidden units say, by a linear discriminant trained on where searches of the training
  photographs
  ended: at an object, or elsewhere (hard negatives, since the network itself was drawn there);
- how far the network would still move: at an object it comes to rest;
- how many starts ended here;
- how many of those whose context covers the whole image ended here: an object is often what its photograph is of;
- how much of the glimpse lies outside the image.

A logistic regression on photographs that trained none of these weighs them; its logit is the score, a log-ratio of
posterior odds in nats. A calibration on the same photographs turns the score into P(object | score). A second
discriminant, on the hidden units at the *start* of a trail, says which starts are worth following.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from foveate.attention.background import Gaussian, log_ratio
from foveate.attention.calibration import Calibration
from foveate.attention.logistic import Logistic, minimise_logistic
from foveate.attention.search import Look
from foveate.attention.shiftnet import UNIT
from foveate.boltzmann.dbn import GaussianDBN

MEASURED = ("log_ratio", "discriminant", "rest", "votes", "whole", "outside")


@dataclass(frozen=True)
class Discriminant:
    """A linear function of the ShiftNet's hidden units: log-odds."""

    weight: Float[Tensor, "1024"]
    bias: Float[Tensor, ""]

    def __call__(self, features: Float[Tensor, "n 1024"]) -> Float[Tensor, "n"]:
        return features @ self.weight + self.bias


def fit_discriminant(
    features: Float[Tensor, "n 1024"], labels: Bool[Tensor, "n"], strength: float = 0.02
) -> Discriminant:
    """L2-regularised logistic regression, both classes weighing the same.

    Args:
        features: Hidden units.
        labels: Whether the object is there.
        strength: Weight of the penalty: sum of squared coefficients of standardised features times half of this times
            n.
    """
    count = len(labels)
    positive = labels.double().numpy()
    share = positive.mean()
    if not 0 < share < 1:
        return Discriminant(torch.zeros(features.shape[1]), torch.tensor(0.0))
    weights = np.where(positive > 0, 0.5 / share, 0.5 / (1 - share))
    x = features.double().numpy()
    mean, scale = x.mean(0), x.std(0)
    scale[scale < 1e-6] = 1.0
    weight, bias = minimise_logistic((x - mean) / scale, positive, weights, strength * count)
    folded = weight / scale
    return Discriminant(torch.from_numpy(folded).float(), torch.tensor(float(bias - folded @ mean)))


@dataclass(frozen=True)
class Evidence:
    """Everything that turns a look at a gaze into a probability.

    Attributes:
        background: Density of glimpses without an object, in the patch model's units.
        object_log_z: The GRBM's log partition function.
        found: Discriminant at the end of a trail.
        promising: Discriminant at its start.
        ranking: Weighs the measured figures; its logit is the score.
        calibration: Score -> probability.
        temper: Factor by which log-likelihoods of glimpses are divided, since misfit is not independent between pixels.
    """

    background: Gaussian
    object_log_z: float
    found: Discriminant
    promising: Discriminant
    ranking: Logistic | None
    calibration: Calibration | None
    temper: float = 1.0

    def measure(
        self,
        gdbn: GaussianDBN,
        look: Look,
        votes: Float[np.ndarray, "n"],
        whole: Float[np.ndarray, "n"],
        outside: Float[Tensor, "n"],
    ) -> Float[np.ndarray, "n measured"]:
        """The figures of `MEASURED` for each gaze."""
        ratio = log_ratio(gdbn, self.object_log_z, self.background, look.glimpse) / gdbn.grbm.b.numel()
        left = (look.change / torch.tensor(UNIT)).square().mean(1).sqrt()
        columns = (
            torch.asinh(ratio),  # thousands of nats either way weigh no more than they can be trusted
            self.found(look.features),
            torch.log(left + 0.02),
            torch.log1p(torch.from_numpy(votes).float()),
            torch.log1p(torch.from_numpy(whole).float()),
            outside.float(),
        )
        return torch.stack(columns, 1).double().numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Plain tensors, for background.safetensors."""
        out = {"background.mean": self.background.mean, "background.whiten": self.background.whiten}
        out |= {"found.weight": self.found.weight, "found.bias": self.found.bias}
        out |= {"promising.weight": self.promising.weight, "promising.bias": self.promising.bias}
        out["object_log_z"] = torch.tensor(self.object_log_z, dtype=torch.float64)
        out["temper"] = torch.tensor(self.temper, dtype=torch.float64)
        out |= self.ranking.tensors() if self.ranking is not None else {}
        return out | (self.calibration.tensors() if self.calibration is not None else {})

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Evidence":
        """Rebuilds what `tensors` gave."""

        def discriminant(name: str) -> Discriminant:
            return Discriminant(tensors[f"{name}.weight"], tensors[f"{name}.bias"])

        return cls(
            Gaussian(tensors["background.mean"], tensors["background.whiten"]),
            float(tensors["object_log_z"]),
            discriminant("found"),
            discriminant("promising"),
            Logistic.from_tensors(tensors) if "ranking.weight" in tensors else None,
            Calibration.from_tensors(tensors) if any(k.startswith("calibration.") for k in tensors) else None,
            float(tensors["temper"]),
        )
