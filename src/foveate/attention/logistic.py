"""Logistic regression (scikit-learn's), for ranking gazes by several measured features.

A handful of features and some thousands of gazes, in float64, with the optimum reached to rounding.
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
    features: Real[ndarray, "n features"], labels: Bool[ndarray, " n"] | Int[ndarray, " n"], l2: float = 1.0
) -> Logistic:
    """Minimise sum_n [log(1 + exp f_n) - y_n f_n] + l2 / 2 |weight|^2 over weight and bias.

    Features are standardised first (mean and standard deviation), so one l2 suits nats, votes and angles alike; the
    bias is not penalised. With one class only the optimum lies at infinity: the weights are then 0 and the bias is the
    logit of (N+ + 1) / (N + 2).

    Args:
        features: One row a gaze, finite.
        labels: 1 where the gaze is on an object, else 0.
        l2: Penalty, > 0.

    Raises:
        BadInput: A feature is not finite, there are none, or a label is neither 0 nor 1.
    """
    features, labels = np.asarray(features, dtype=np.float64), np.asarray(labels).astype(np.int64)
    if not np.isfinite(features).all():
        row, column = np.argwhere(~np.isfinite(features))[0]
        raise BadInput(f"feature {column} of gaze {row} is {features[row, column]}: features must be finite")
    if not len(features):
        raise BadInput("no gaze to fit the ranking on")
    if len(features) != len(labels) or not np.isin(labels, (0, 1)).all():
        raise BadInput("labels must be 0 or 1, one for each row of features")
    total, positive = len(labels), labels.sum()
    mean = features.sum(axis=0) / total
    centred = features - mean
    largest = np.maximum(np.abs(centred).max(axis=0), np.finfo(np.float64).tiny)
    scale = largest * np.sqrt(((centred / largest) ** 2).sum(axis=0) / total)
    # What is left of a constant after subtracting its mean is rounding, not a feature.
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-290), scale, 1.0)
    if positive in (0, total):
        share = (positive + 1.0) / (total + 2.0)
        return Logistic(mean, scale, np.zeros(features.shape[1]), float(np.log(share) - np.log1p(-share)))
    weight, bias = minimise_logistic(centred / scale, labels, l2)
    return Logistic(mean, scale, weight, bias)


def sigmoid(logits: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
    """1 / (1 + exp(-x)) without overflow or underflow at any x; strictly inside (0, 1) below x = 36."""
    small = np.exp(-np.minimum(np.abs(logits), 300.0))
    return np.asarray(np.where(logits >= 0.0, 1.0, small) / (1.0 + small))


def minimise_logistic(
    features: Float[ndarray, "n features"], labels: Int[ndarray, " n"], l2: float
) -> tuple[Float[ndarray, " features"], float]:
    """Coefficients and bias at the optimum of `fit_logistic`'s objective, features taken as they are."""
    from sklearn.linear_model import LogisticRegression

    penalty = 1.0 / l2 if l2 > 0.0 else np.inf
    fit = LogisticRegression(C=penalty, solver="newton-cg", tol=1e-12, max_iter=1000).fit(features, labels)
    return fit.coef_[0], float(fit.intercept_[0])
