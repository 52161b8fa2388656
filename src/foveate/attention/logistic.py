"""Logistic regression by Newton's method, for ranking gazes by several measured features.

Small on purpose: a handful of features and some thousands of gazes, in float64, with the optimum reached to rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Real
from numpy import ndarray
from torch import Tensor

from foveate.errors import BadInput

PREFIX = "ranking."


@dataclass(frozen=True)
class Logistic:
    """logit P(object | features) = bias + weight . (features - mean) / scale.

    Attributes:
        mean: Weighted means of the features [F].
        scale: Their weighted standard deviations [F], 1 where a feature is constant.
        weight: Coefficients of the standardised features [F].
        bias: Logit at the mean.
    """

    mean: ndarray
    scale: ndarray
    weight: ndarray
    bias: float

    def logit(self, features: Real[ndarray, "*batch features"]) -> Float[ndarray, "*batch"]:
        """Log-odds of an object, float64."""
        features = np.asarray(features, dtype=np.float64)
        return np.asarray((features - self.mean) / self.scale @ self.weight + self.bias)

    def probability(self, features: Real[ndarray, "*batch features"]) -> Float[ndarray, "*batch"]:
        """P(object | features)."""
        return sigmoid(self.logit(features))

    def tensors(self) -> dict[str, Tensor]:
        """Plain float64 tensors that `from_tensors` reads back exactly; names begin with "ranking."."""
        parts = {"mean": self.mean, "scale": self.scale, "weight": self.weight, "bias": np.array([self.bias])}
        return {PREFIX + name: torch.from_numpy(np.array(part, dtype=np.float64)) for name, part in parts.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Logistic":
        """The regression among these tensors; others are ignored.

        Raises:
            BadInput: A tensor is missing or of a shape that doesn't fit, or a scale is not positive.
        """
        try:
            mean, scale, weight, bias = (
                tensors[PREFIX + name].detach().cpu().to(torch.float64).numpy().copy()
                for name in ("mean", "scale", "weight", "bias")
            )
        except KeyError as missing:
            raise BadInput(f"no tensor {missing.args[0]}: the model was saved without a ranking") from None
        if mean.ndim != 1 or not mean.shape == scale.shape == weight.shape or bias.shape != (1,):
            shapes = [part.shape for part in (mean, scale, weight, bias)]
            raise BadInput(f"ranking tensors of shapes {shapes} don't fit together")
        if not all(np.isfinite(part).all() for part in (mean, scale, weight, bias)) or (scale <= 0.0).any():
            raise BadInput("a ranking tensor is not finite, or a scale in it is not positive")
        return cls(mean, scale, weight, float(bias[0]))


def fit_logistic(
    features: Real[ndarray, "n features"],
    labels: Bool[ndarray, " n"] | Int[ndarray, " n"] | Float[ndarray, " n"],
    l2: float = 1.0,
    weights: Real[ndarray, " n"] | None = None,
) -> Logistic:
    """Minimise sum_n w_n [log(1 + exp f_n) - y_n f_n] + l2 / 2 |weight|^2 over weight and bias.

    Features are standardised first (weighted mean and deviation), so one l2 suits nats, votes and angles alike; the
    bias is not penalised. With one class only the optimum lies at infinity: the weights are then 0 and the bias is the
    logit of (W+ + 1) / (W + 2), W the sums of weights.

    Args:
        features: One row a gaze, finite.
        labels: 1 where the gaze is on an object; values between are soft labels.
        l2: Penalty, > 0 where the classes can be separated.
        weights: One non-negative number a gaze; 1 where left out.

    Raises:
        BadInput: A feature is not finite, a label is outside [0, 1], a weight is negative, or l2 is.
    """
    features = np.asarray(features, dtype=np.float64)
    labels = np.asarray(labels, dtype=np.float64)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not np.isfinite(features).all():
        row, column = np.argwhere(~np.isfinite(features))[0]
        raise BadInput(f"feature {column} of gaze {row} is {features[row, column]}: features must be finite")
    if len(features) != len(labels) or ((labels < 0.0) | (labels > 1.0)).any():
        raise BadInput("labels must be one number in [0, 1] for each row of features")
    if (weights < 0.0).any() or not np.isfinite(weights).all() or not l2 >= 0.0:
        raise BadInput(f"weights must be finite and not negative, and l2 ({l2}) not negative")
    total, positive = weights.sum(), (weights * labels).sum()
    if total <= 0.0:
        raise BadInput("no gaze of positive weight to fit the ranking on")
    mean = weights @ features / total
    centred = features - mean
    largest = np.maximum(np.abs(centred).max(axis=0, initial=0.0), np.finfo(np.float64).tiny)
    scale = largest * np.sqrt(weights @ (centred / largest) ** 2 / total)
    # What is left of a constant after subtracting its mean is rounding, not a feature.
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-290), scale, 1.0)
    if positive <= 0.0 or positive >= total:
        share = (positive + 1.0) / (total + 2.0)
        return Logistic(mean, scale, np.zeros(features.shape[1]), float(np.log(share) - np.log1p(-share)))
    weight, bias = minimise_logistic(centred / scale, labels, weights, l2)
    return Logistic(mean, scale, weight, float(bias))


def sigmoid(logits: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
    """1 / (1 + exp(-x)) without overflow or underflow at any x; strictly inside (0, 1) below x = 36."""
    small = np.exp(-np.minimum(np.abs(logits), 300.0))
    return np.asarray(np.where(logits >= 0.0, 1.0, small) / (1.0 + small))


def minimise_logistic(
    features: Float[ndarray, "n features"],
    targets: Float[ndarray, " n"],
    weights: Float[ndarray, " n"],
    l2: float,
) -> tuple[Float[ndarray, " features"], float]:
    """Newton's method with halved steps on the objective of `fit_logistic`, features taken as they are.

    Levenberg's damping keeps the Hessian invertible when features are collinear or all probabilities are saturated.

    Returns:
        The coefficients and the bias.
    """
    design = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    penalty = np.full(design.shape[1], float(l2))
    penalty[-1] = 0.0
    share = np.clip((weights * targets).sum() / weights.sum(), 1e-12, 1.0 - 1e-12)
    theta = np.zeros(design.shape[1])
    theta[-1] = np.log(share) - np.log1p(-share)
    value, damping = _objective(design, targets, weights, penalty, theta), 1e-10
    for _ in range(200):
        probability = sigmoid(design @ theta)
        gradient = design.T @ (weights * (probability - targets)) + penalty * theta
        curvature = (design.T * (weights * probability * (1.0 - probability))) @ design + np.diag(penalty)
        ridge = damping * max(np.trace(curvature) / len(theta), 1e-300)
        step = np.linalg.lstsq(curvature + ridge * np.eye(len(theta)), gradient, rcond=None)[0]
        candidate = theta - step
        proposed = _objective(design, targets, weights, penalty, candidate)
        if proposed <= value:
            theta, gain, value = candidate, value - proposed, proposed
            damping = max(damping * 0.1, 1e-12)
            if gain <= 1e-15 * abs(value) and np.abs(step).max() <= 1e-9 * (1.0 + np.abs(theta).max()):
                break
        elif damping > 1e6:
            break
        else:
            damping = max(damping * 10.0, 1e-6)
    return theta[:-1], float(theta[-1])


def _objective(design: ndarray, targets: ndarray, weights: ndarray, penalty: ndarray, theta: ndarray) -> float:
    logits = design @ theta
    loss = np.maximum(logits, 0.0) - targets * logits + np.log1p(np.exp(-np.minimum(np.abs(logits), 300.0)))
    return float(weights @ loss + 0.5 * (penalty * theta) @ theta)
