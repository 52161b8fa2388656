"""How much speaks for an object at a gaze: several measured figures, one score, one probability.

Measured of each gaze that came to rest:

- what the periphery says for it: the largest logit of its answers that agree with the gaze, and its logit of a second
  look at that place alone, turned upright and at the size that it knows best;
- the log-ratio of object and background, in nats a dimension;
- how much of the glimpse lies outside the image.

A logistic regression on photographs that trained none of these weighs them; its logit is the score, a log-ratio of
posterior odds in nats. A calibration on the same photographs turns the score into P(object | score).

A density of objects alone can't rank gazes: two gazes explain different pixels of the same image, and a small window
on a smooth wall scores well. The full scene likelihood of a gaze, with the rest of the image explained by the
background whatever u is, is up to a constant of the image

    log p_object(x(u)) - log p_background(x(u)),

with p_object the patch model's density of the glimpse, log p_object(x) = -F(x) - log Z (F: the GRBM's free energy), and
p_background that of windows that hold no object: their own whitened directions in bands, each a scale mixture of
Gaussians by precision units (`boltzmann.precision`, without mean units). Both densities know that contrast and
sharpness vary, so that they cancel, and what is left is what the object looks like: beside a single Gaussian, which is
beaten by whatever has an unusual contrast, an object in a photograph has the largest ratio twice as often.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.calibration import Calibration, Logistic
from foveate.attention.familiarity import FIGURES, figures_of
from foveate.attention.posterior.law import Law
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.precision import PrecisionRBM
from foveate.errors import present
from foveate.scenes.pyramid import Pyramids

NONE_KNOWN = torch.zeros(0, len(FIGURES), dtype=torch.float64)
MEASURED = ("proposal", "again", "log_ratio", "outside")
OLDER = ("log_ratio", "here", "rest", "votes", "outside")  # what was measured before there was a periphery
MOST_MISSED = 0.5  # that one is taken for; where more is missed, numbers say little
NAME, OF_BANDS = "background.", ("log_sigma", "precisions", "precision_c", "band")  # of tensors


@dataclass(frozen=True)
class Background:
    """The density of glimpses without an object, in the patch model's units.

    Attributes:
        machine: One without mean units: in bands of whitened directions a scale mixture of Gaussians.
    """

    machine: PrecisionRBM

    @cached_property
    def log_z(self) -> float:
        """Its log partition function, in closed form."""
        return present(self.machine.log_z_closed(), "the background's log Z")

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """Log density, nats."""
        return (self.machine.log_mass(x) - self.log_z).float()

    @classmethod
    def normal(cls, mean: Float[Tensor, "d"], whiten: Float[Tensor, "d d"]) -> "Background":
        """A Gaussian, of which whiten (x - mean) has covariance 1: what older versions had."""
        machine = PrecisionRBM(len(mean), 1, torch.zeros(len(mean), dtype=torch.int64), 1, 1)
        machine.mean.copy_(mean)
        machine.whiten.copy_(whiten)
        return cls(machine)

    def tensors(self) -> dict[str, Tensor]:
        """Plain tensors, for background.safetensors."""
        return {NAME + name: getattr(self.machine, name) for name in ("mean", "whiten", *OF_BANDS)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Background":
        """Rebuilds what `tensors` gave, now or in an older version."""
        made = cls.normal(tensors[NAME + "mean"], tensors[NAME + "whiten"])
        if NAME + "band" not in tensors:
            return made
        gains, old = tensors[NAME + "precisions"], made.machine
        machine = PrecisionRBM(old.n_visible, 1, tensors[NAME + "band"], *gains.shape)
        for name in ("mean", "whiten", *OF_BANDS):
            getattr(machine, name).copy_(tensors[NAME + name])
        return cls(machine)


def log_ratio(
    gdbn: GaussianDBN, object_log_z: float, background: Background, glimpse: Float[Tensor, "n 3 24 24"]
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
        law: How far from an object gazes come to rest; None where it isn't known.
        temper: Factor by which log-likelihoods of glimpses are divided, since misfit is not independent between pixels.
        known: Figures of images set aside, which others are compared with; see `familiarity`.
        missed: Share of the objects set aside at which no gaze came to rest.
        errors: Of objects set aside, in standard deviations that were stated of them; see `posterior.conformal`.
    """

    background: Background
    object_log_z: float
    ranking: Logistic | None
    calibration: Calibration | None
    temper: float = 1.0
    law: Law | None = None
    missed: float = 0.0
    errors: Float[Tensor, "objects"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    known: Float[Tensor, "images figures"] = field(default_factory=lambda: NONE_KNOWN)

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
        return torch.stack((proposal.float(), again.float(), torch.asinh(ratio), outside.float()), 1).double().numpy()

    def log_ratio(self, gdbn: GaussianDBN, measured: Float[np.ndarray, "n measured"]) -> Float[np.ndarray, "n"]:
        """log p_object(x) - log p_background(x), nats, of what `measure` gave."""
        return np.sinh(measured[:, MEASURED.index("log_ratio")]) * gdbn.grbm.b.numel()

    def figures(
        self, pyramids: Pyramids, gazes: Float[Tensor, "n 4"], scores: Float[np.ndarray, "n"]
    ) -> Float[np.ndarray, "figures"] | None:
        """Those of `known`, of another image; None where none are known."""
        return figures_of(pyramids, gazes, scores) if len(self.known) else None

    def score(self, measured: Float[np.ndarray, "n measured"]) -> Float[np.ndarray, "n"]:
        """Log-odds of an object, from what `measure` gives; FoveateError where the ranking has not been fitted."""
        return present(self.ranking, "the ranking").logit(measured)

    def probability(
        self, score: Float[np.ndarray, "n"], more: float | Float[np.ndarray, "n"] = 0.0
    ) -> Float[np.ndarray, "n"]:
        """P(object | score), with log-odds known besides; FoveateError where the calibration has not been fitted."""
        return present(self.calibration, "the calibration").probability(score, more)

    def unseen(self, probability: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """Expected number of objects that no gaze finds, for each place that holds one with this probability."""
        share = min(self.missed, MOST_MISSED)
        return probability * share / (1 - share)

    def tensors(self) -> dict[str, Tensor]:
        """Plain tensors, for background.safetensors."""
        out = self.background.tensors() | {"errors": self.errors, "known": self.known}
        for name in ("object_log_z", "temper", "missed"):
            out[name] = torch.tensor(getattr(self, name), dtype=torch.float64)
        for part in (self.law, self.ranking, self.calibration):
            out |= {} if part is None else part.tensors()
        return out

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Evidence":
        """Rebuilds what `tensors` gave."""
        return cls(
            Background.from_tensors(tensors),
            float(tensors["object_log_z"]),
            _renamed(Logistic.from_tensors(tensors)) if "ranking.weight" in tensors else None,
            Calibration.from_tensors(tensors) if any(k.startswith("calibration.") for k in tensors) else None,
            float(tensors["temper"]),
            Law.of_file(tensors),
            float(tensors.get("missed", 0.0)),
            tensors.get("errors", torch.zeros(0, dtype=torch.float64)),
            known if (known := tensors.get("known", NONE_KNOWN)).shape[1:] == NONE_KNOWN.shape[1:] else NONE_KNOWN,
        )


def _renamed(ranking: Logistic) -> Logistic:
    """A ranking of an older version, by what is measured now; what it doesn't know counts for nothing."""
    if len(ranking.weight) != len(OLDER):
        return ranking
    known = [OLDER.index(name) if name in OLDER else -1 for name in MEASURED]
    parts = ((ranking.mean, 0.0), (ranking.scale, 1.0), (ranking.weight, 0.0))
    mean, scale, weight = (np.append(part, unknown)[known] for part, unknown in parts)
    return Logistic(mean, scale, weight, ranking.bias)
