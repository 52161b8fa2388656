"""The law of error: how far from its object a gaze comes to rest, given what is seen there.

A gaze at something small, blurred, covered or noisy is off by more than one at a sharp object that fills the view. How
much can be asked of the network that left it there: pushed a little to either side in each coordinate, does the gaze
come back, and to the same place? The features f of a gaze are the logs of

- the scatter of the `PUSHES` ends: standard deviations of log s, the angle, and the centre in half-sides;
- how far from the gaze itself their mean lies, in the same three.

What they say of errors is learned from scenes that trained nothing, and from copies of them that are harder to see. The
error e of each of (log s, angle, x / s, y / s) is normal, of standard deviation

    log sigma(f) = intercept + weight . z,    z = (f - mean) / scale, held within `LIMIT`.

Harvey (1976), "Estimating regression models with multiplicative heteroscedasticity", has the model. Errors have longer
tails than a normal density and a few are enormous, so weights are fitted under Student's t of `FREEDOM` degrees,

    sum_n [log sigma_n + (nu + 1) / 2 log(1 + r_n^2 / nu)] + ridge / 2 |weight|^2,    r = e / sigma,

which is convex in intercept and weight, with a curvature of at most (nu + 1) / 2 for each error: steps with that
curvature in place of the true one can't fail to descend (Boehning & Lindsay 1988). With few errors the ridge leaves
weights near zero: the law is then the same for all gazes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from foveate.attention.shiftnet import Canonical, ShiftNet, change_between, look, move
from foveate.errors import BadInput
from foveate.scenes.pyramid import Pyramids
from foveate.storage.files import checked

FEATURES = 6
PUSH = 0.1  # of log scale, radians, half-sides
PUSHES = 8
FREEDOM = 4.0
RIDGE = 30.0  # about a dozen errors have to speak for a weight
LIMIT = 3.0  # standard deviations: what is stranger than anything that the law was fitted on counts no more
LEAST, MOST = 1e-3, 0.5  # of a spread
STEPS = 300
PREFIX = "law."  # of tensors
COORDINATES = 3  # log s, angle, centre


@dataclass(frozen=True)
class Law:
    """Standard deviations of errors, by features."""

    mean: Float[ndarray, "features"]  # of features where it was fitted
    scale: Float[ndarray, "features"]  # standard deviations of features there
    weight: Float[ndarray, "features 3"]  # of standardised features, for log s, angle, centre
    intercept: Float[ndarray, "3"]  # log standard deviations at the mean

    @classmethod
    def constant(cls, spread: Float[ndarray, "3"]) -> "Law":
        """The same for all gazes."""
        return cls(np.zeros(FEATURES), np.ones(FEATURES), np.zeros((FEATURES, COORDINATES)), np.log(spread))

    def spread(self, features: Float[ndarray, "n features"]) -> Float[ndarray, "n 4"]:
        """Standard deviations of (log s, angle, x / s, y / s)."""
        log_sigma = self.intercept + _standard(features, self.mean, self.scale) @ self.weight
        return np.exp(log_sigma).clip(LEAST, MOST)[:, [0, 1, 2, 2]]

    @property
    def usual(self) -> Float[ndarray, "4"]:
        """Of gazes whose features are those where it was fitted, on average."""
        return self.spread(self.mean[None])[0]

    def tensors(self) -> dict[str, Tensor]:
        """Plain float64 tensors that `of_file` reads back exactly."""
        return {f"{PREFIX}{name}": torch.from_numpy(np.asarray(part)) for name, part in vars(self).items()}

    @classmethod
    def of_file(cls, tensors: Mapping[str, Tensor]) -> "Law | None":
        """The law that a RUN's tensors hold, None where it isn't known; older versions had one for all gazes.

        Raises:
            BadInput: A tensor is missing, of another shape, not finite, or a scale is not positive.
        """
        if PREFIX + "weight" not in tensors:
            spread = tensors.get("spread", torch.zeros(4)).double().numpy()
            return cls.constant(spread[:COORDINATES]) if (spread > 0).all() else None
        likes = vars(cls.constant(np.ones(COORDINATES))).items()
        found = {name: checked(tensors, PREFIX + name, like.shape, PREFIX[:-1]) for name, like in likes}
        parts = {name: part.double().numpy() for name, part in found.items()}
        if not (parts["scale"] > 0).all():
            raise BadInput(f"tensor {PREFIX}scale must be positive")
        return cls(**parts)


def pushed(
    net: ShiftNet, canonical: Canonical, pyramids: Pyramids, index: Sequence[int], gazes: Float[Tensor, "n 4"]
) -> Float[ndarray, "n features"]:
    """The features of gazes, each looked at by itself, so that none depends on how many more there are."""
    push = torch.cat((PUSH * torch.eye(4), -PUSH * torch.eye(4)))
    out = np.zeros((len(gazes), FEATURES))
    for k, u in enumerate(gazes.double()):
        starts = move(u.expand(PUSHES, 4), push)
        where = torch.full((PUSHES,), int(index[k]), dtype=torch.int64)
        ends = move(starts, look(net, canonical, pyramids, where, starts).change)
        change = change_between(u.expand(PUSHES, 4), ends)
        mean, scatter = change.mean(0), change.std(0)
        sizes = (*scatter[:2], scatter[2:].norm(), *mean[:2].abs(), mean[2:].norm())
        out[k] = torch.log(torch.stack(sizes) + 1e-3).numpy()
    return out


def fit_law(features: Float[ndarray, "n features"], errors: Float[ndarray, "n 4"], ridge: float = RIDGE) -> Law:
    """The law of errors (log s, angle, x / s, y / s) of gazes with these features; the intercepts are not penalised."""
    mean, scale = features.mean(0), features.std(0)
    scale = np.where(scale > 1e-9 * np.maximum(np.abs(mean), 1.0), scale, 1.0)
    x = np.column_stack((np.ones(len(features)), _standard(features, mean, scale)))
    fitted = np.stack([_fit(x, errors[:, part], ridge) for part in ([0], [1], [2, 3])], 1)
    return Law(mean, scale, fitted[1:], fitted[0])


def _fit(x: Float[ndarray, "n terms"], errors: Float[ndarray, "n k"], ridge: float) -> Float[ndarray, "terms"]:
    """Intercept and weights of one coordinate, or of several of the same law."""
    square = np.square(errors)
    penalty = np.diag([0.0, *[ridge] * (x.shape[1] - 1)])
    curvature = (FREEDOM + 1) / 2 * errors.shape[1] * x.T @ x + penalty + 1e-9 * np.eye(x.shape[1])
    beta = np.zeros(x.shape[1])
    beta[0] = np.log(max(float(np.median(np.abs(errors))) / 0.74, 1e-6))
    for _ in range(STEPS):
        r = square * np.exp(-2 * (x @ beta))[:, None]
        slope = ((FREEDOM + 1) * r / (FREEDOM + r) - 1).sum(1)
        step = np.linalg.solve(curvature, x.T @ slope - penalty @ beta)
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            break
    return beta


def _standard(
    features: Float[ndarray, "n features"], mean: Float[ndarray, "features"], scale: Float[ndarray, "features"]
) -> Float[ndarray, "n features"]:
    return ((features - mean) / scale).clip(-LIMIT, LIMIT)
