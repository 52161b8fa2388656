"""How much speaks for an object at a gaze: several measured figures, one score, one probability.

Measured of each gaze that came to rest:

- what the periphery says for it: the largest logit of its answers that agree with the gaze, and its logit of a second
  look at that place alone, turned upright and at the size that it knows best;
- the log-ratio of object and background, in nats a dimension, up to what objects usually reach: what is nothing like a
  photograph is nearly impossible under the background model, which makes it no likelier an object;
- how much of the glimpse lies outside the image.

A logistic regression on photographs that trained none of these weighs them; its logit is the score, a log-ratio of
posterior odds in nats. A calibration on the same photographs turns the score into P(object | score).

A density of objects alone can't rank gazes: two gazes explain different pixels of the same image, and a small window
on a smooth wall scores well. The full scene likelihood of a gaze, with the rest of the image explained by the
background whatever u is, is up to a constant of the image

    log p_object(x(u)) - log p_background(x(u)),

with p_object the patch model's density of the glimpse, log p_object(x) = -F(x) - log Z (F: the GRBM's free energy), and
p_background a Gaussian of full covariance, fitted to windows that hold no object. Its covariance is shrunk towards a
multiple of the identity by the amount that Ledoit & Wolf (2004, "A well-conditioned estimator for large-dimensional
covariance matrices") derive.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.calibration import Calibration, Logistic
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import present

MEASURED = ("proposal", "again", "log_ratio", "outside")
OLDER = ("log_ratio", "here", "rest", "votes", "outside")  # what was measured before there was a periphery
USUAL = 0.9  # share of objects whose log-ratio stays below the ceiling


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian of full covariance."""

    mean: Float[Tensor, "d"]
    whiten: Float[Tensor, "d d"]  # [D, D], lower triangular, the inverse of the covariance's Cholesky factor

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """Log density, nats: -1/2 |L^-1 (x - mean)|^2 + sum log diag L^-1 - D/2 log 2 pi."""
        white = (x - self.mean) @ self.whiten.T
        half_log_det = self.whiten.diagonal().double().log().sum()
        normaliser = half_log_det - 0.5 * len(self.mean) * torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64))
        return (normaliser - 0.5 * white.double().square().sum(1)).float()


def fit_gaussian(x: Float[Tensor, "n d"]) -> Gaussian:
    """Fits mean and Ledoit-Wolf covariance (scikit-learn's), which any number of vectors makes invertible."""
    from sklearn.covariance import ledoit_wolf

    x = x.double()
    covariance = torch.from_numpy(ledoit_wolf(x.numpy())[0])
    covariance.diagonal().add_(1e-6)
    factor = torch.linalg.cholesky(covariance)
    whiten = torch.linalg.solve_triangular(factor, torch.eye(len(factor), dtype=torch.float64), upper=False)
    return Gaussian(x.mean(0).float(), whiten.float())


def log_ratio(
    gdbn: GaussianDBN, object_log_z: float, background: Gaussian, glimpse: Float[Tensor, "n 3 24 24"]
) -> Float[Tensor, "n"]:
    """log p_object(x) - log p_background(x) of glimpses in [0, 1], nats, with p_object the GRBM's; on the CPU."""
    x = gdbn.standardise(glimpse)
    return -gdbn.grbm.free_energy(x).cpu() - object_log_z - background.log_prob(x.cpu())


@dataclass(frozen=True)
class Evidence:
    """Everything that turns a look at a gaze into a probability.

    Attributes:
        background: Density of glimpses without an object, in the patch model's units.
        object_log_z: The GRBM's log partition function.
        ranking: Weighs the measured figures; its logit is the score.
        calibration: Score -> probability.
        spread: How far from an object gazes come to rest, standard deviations of (log s, angle, x / s, y / s); zeros
            where it isn't known.
        ceiling: Log-ratio that objects usually stay below, nats a dimension; more of it counts for no more.
        temper: Factor by which log-likelihoods of glimpses are divided, since misfit is not independent between pixels.
        errors: Of objects set aside, in standard deviations that were stated of them; see `posterior.conformal`.
    """

    background: Gaussian
    object_log_z: float
    ranking: Logistic | None
    calibration: Calibration | None
    temper: float = 1.0
    spread: Float[Tensor, "4"] = field(default_factory=lambda: torch.zeros(4, dtype=torch.float64))
    ceiling: float = np.inf
    errors: Float[Tensor, "objects"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    def measure(
        self,
        gdbn: GaussianDBN,
        glimpse: Float[Tensor, "n 3 24 24"],
        proposal: Float[Tensor, "n"],
        again: Float[Tensor, "n"],
        outside: Float[Tensor, "n"],
    ) -> Float[np.ndarray, "n measured"]:
        """The figures of `MEASURED` for each gaze."""
        ratio = log_ratio(gdbn, self.object_log_z, self.background, glimpse) / gdbn.grbm.b.numel()
        columns = (
            proposal.float(),
            again.float(),
            torch.asinh(ratio.clamp(max=self.ceiling)),  # thousands of nats weigh no more than they can be trusted
            outside.float(),
        )
        return torch.stack(columns, 1).double().numpy()

    def score(self, measured: Float[np.ndarray, "n measured"]) -> Float[np.ndarray, "n"]:
        """Log-odds of an object, from what `measure` gives.

        Raises:
            FoveateError: The ranking has not been fitted.
        """
        return present(self.ranking, "the ranking").logit(measured)

    def probability(
        self, score: Float[np.ndarray, "n"], more: float | Float[np.ndarray, "n"] = 0.0
    ) -> Float[np.ndarray, "n"]:
        """P(object | score), with log-odds that are known besides.

        Raises:
            FoveateError: The calibration has not been fitted.
        """
        return present(self.calibration, "the calibration").probability(score, more)

    def tensors(self) -> dict[str, Tensor]:
        """Plain tensors, for background.safetensors."""
        out = {"background.mean": self.background.mean, "background.whiten": self.background.whiten}
        out["object_log_z"] = torch.tensor(self.object_log_z, dtype=torch.float64)
        out["temper"] = torch.tensor(self.temper, dtype=torch.float64)
        out["spread"] = self.spread
        out["ceiling"] = torch.tensor(self.ceiling, dtype=torch.float64)
        out["errors"] = self.errors
        out |= self.ranking.tensors() if self.ranking is not None else {}
        return out | (self.calibration.tensors() if self.calibration is not None else {})

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Evidence":
        """Rebuilds what `tensors` gave."""
        return cls(
            Gaussian(tensors["background.mean"], tensors["background.whiten"]),
            float(tensors["object_log_z"]),
            _renamed(Logistic.from_tensors(tensors)) if "ranking.weight" in tensors else None,
            Calibration.from_tensors(tensors) if any(k.startswith("calibration.") for k in tensors) else None,
            float(tensors["temper"]),
            tensors["spread"],
            float(tensors.get("ceiling", torch.inf)),
            tensors.get("errors", torch.zeros(0, dtype=torch.float64)),
        )


def _renamed(ranking: Logistic) -> Logistic:
    """A ranking of an older version, by what is measured now; what it doesn't know counts for nothing."""
    if len(ranking.weight) != len(OLDER):
        return ranking
    known = [OLDER.index(name) if name in OLDER else -1 for name in MEASURED]
    parts = ((ranking.mean, 0.0), (ranking.scale, 1.0), (ranking.weight, 0.0))
    mean, scale, weight = (np.append(part, unknown)[known] for part, unknown in parts)
    return Logistic(mean, scale, weight, ranking.bias)


def capped(measured: Float[np.ndarray, "n measured"], ceiling: float) -> Float[np.ndarray, "n measured"]:
    """The figures as `Evidence.measure` gives them under that ceiling, from those without one."""
    out = measured.copy()
    column = MEASURED.index("log_ratio")
    out[:, column] = np.minimum(out[:, column], np.arcsinh(ceiling))
    return out


def below_which_usual(reached: Float[np.ndarray, "n"]) -> float:
    """What `USUAL` of the log-ratios that objects reached stay below; infinite where there are none."""
    return float(np.quantile(reached, USUAL)) if len(reached) else np.inf
