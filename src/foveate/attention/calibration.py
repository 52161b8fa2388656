"""Ranking and calibration: from several measured figures to one score, and to a probability that can be believed.

A logistic regression (scikit-learn's) of a handful of features on some thousands of gazes weighs them; its logit is the
score. A second one, of the score alone, is P(object | score).

A gaze's score is a difference of log densities over 1,728 pixels, so thousands of nats are normal, two classes are
often perfectly separated, and easy negatives have a tail as long as one likes. Both fits here stay finite and useful
there: scores are standardised by median and interquartile range, Platt's prior counts as observations at the edge
between the classes, and the sigmoid never sees an exponent that overflows.

Source: Platt (1999), "Probabilistic outputs for support vector machines".
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Real
from numpy import ndarray
from torch import Tensor

from foveate.errors import BadInput
from foveate.storage.files import checked

NAME, RANKING = "calibration.logistic", "ranking."  # of tensors
Labels = Bool[ndarray, " n"] | Int[ndarray, " n"]
"""True or 1 where a gaze is on an object."""


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing map from a score in nats to P(object | score).

    P = sigmoid(intercept + slope * (score - location) / scale), slope >= 0.
    """

    location: float  # median of the scores it was fitted on, nats
    scale: float  # their interquartile range (the standard deviation where that is 0, 1 where that is 0 too), nats
    slope: float  # logit per `scale`; 0 means that the score is uninformative
    intercept: float  # logit at `location`
    positives: int = 0  # how many objects it was fitted on
    negatives: int = 0  # how many gazes without an object it was fitted on

    def probability(
        self, scores: Real[ndarray, "*shape"] | Real[Tensor, "*shape"], more: float | Float[ndarray, "*#shape"] = 0.0
    ) -> Float[ndarray, "*shape"]:
        """P(object | score) in (0, 1), non-decreasing in the score in nats; `more` are log-odds known besides.

        A score of -inf or +inf takes the limit; one that is not a number has probability 0, since a gaze that can't be
        scored is not reported as an object.
        """
        scores = np.asarray(scores, dtype=np.float64)
        unknown = np.isnan(scores)
        finite = np.clip(np.where(unknown, 0.0, scores), -1e300, 1e300)
        if self.slope > 0.0:
            # Each standardised score is held within 1e6 of the middle, so that slope times it can't overflow either.
            standard = np.clip(finite / self.scale - self.location / self.scale, -1e6, 1e6)
            log_odds = self.intercept + self.slope * standard
        else:
            log_odds = np.full(scores.shape, self.intercept)
        return np.where(unknown, 0.0, sigmoid(log_odds + more))

    def shifted(self, scores: Float[ndarray, " n"], labels: Labels) -> "Calibration":
        """With log-odds moved by the most probable constant d of other gazes, under d ~ N(0, 1):

            sum_n [log(1 + exp(f_n + d)) - y_n (f_n + d)] + d^2 / 2

        is least, where f are the log-odds of these scores; the derivative is monotone, and 0 within n of 0.
        """
        from scipy.optimize import brentq

        y, most = np.asarray(labels, dtype=np.float64), len(labels) + 1.0
        by: Any = brentq(lambda d: float((self.probability(scores, d) - y).sum() + d), -most, most)
        return replace(self, intercept=self.intercept + float(by))

    def tensors(self) -> dict[str, Tensor]:
        """A plain float64 tensor, "calibration.logistic", that `from_tensors` reads back exactly."""
        numbers = [self.location, self.scale, self.slope, self.intercept, self.positives, self.negatives]
        return {NAME: torch.tensor(numbers, dtype=torch.float64)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Calibration":
        """The calibration among these tensors; others are ignored.

        Raises:
            BadInput: The tensor is missing, has another shape, is not finite, or would make the map decrease.
        """
        location, scale, slope, intercept, positives, negatives = checked(tensors, NAME, (6,), "calibration").tolist()
        if scale <= 0.0 or slope < 0.0:
            raise BadInput("the calibration's probability would fall as the score rises")
        return cls(location, scale, slope, intercept, int(positives), int(negatives))


def fit_calibration(
    scores: Real[ndarray, " n"] | Real[Tensor, " n"], labels: Labels | Bool[Tensor, " n"] | Int[Tensor, " n"]
) -> Calibration:
    """Fit P(object | score) on gazes of photographs that trained nothing.

    Platt's uniform prior on each class's share of wrong labels is one observation of either label, so that perfectly
    separated scores have a finite optimum. He spreads the two over all scores of the class, as targets
    (N+ + 1) / (N+ + 2) and 1 / (N- + 2); a tail of negatives thousands of nats away then pulls the slope towards 0.
    Here labels stay as they are and the two observations are at the class's edge, the 5 % of its scores nearest the
    other class; scores farther out than four spreads count as four (a wrong label there would outweigh all others).

    Where scores would fall with the object's probability, the optimum under slope >= 0 is slope 0. With one class only,
    or scores that are all equal, nothing can be learnt from the score: the probability is (N+ + 1) / (N + 2).

    Raises:
        BadInput: A score, in nats, is not finite.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise BadInput(f"score {scores[~np.isfinite(scores)][0]} can't be calibrated on: scores must be finite")
    # Content decides, not the order of the photographs: sums of floats then come out the same however work was split.
    order = np.lexsort((labels, scores))
    scores, labels = scores[order], labels[order]
    positives, negatives = int(labels.sum()), int(len(labels) - labels.sum())
    location, scale = _median_and_spread(scores)
    if positives == 0 or negatives == 0 or scores[0] == scores[-1]:
        share = (positives + 1.0) / (positives + negatives + 2.0)
        return Calibration(location, scale, 0.0, _logit(share), positives, negatives)
    slope, intercept, targets = _fit_near_edge(scores / scale - location / scale, labels)
    if slope <= 0.0:
        return Calibration(location, scale, 0.0, _logit(float(targets.mean())), positives, negatives)
    return Calibration(location, scale, slope, intercept, positives, negatives)


def _median_and_spread(scores: ndarray) -> tuple[float, float]:
    """Median and interquartile range, at least 1e-9 of the farthest distance from the median; 1 if that is 0."""
    if len(scores) == 0:
        return 0.0, 1.0
    low, middle, high = np.quantile(scores, (0.25, 0.5, 0.75))
    farthest = np.abs(scores - middle).max()
    if high <= low and farthest > 0.0:
        return float(middle), float(max(farthest * np.std((scores - middle) / farthest), 1e-9 * farthest))
    spread = max(high - low, 1e-9 * farthest)
    return float(middle), float(spread) if spread > 0.0 else 1.0


def _fit_near_edge(standard: ndarray, labels: ndarray) -> tuple[float, float, ndarray]:
    """Slope and intercept over standardised scores, and the labels they were fitted on.

    Scores are held near the edge between the classes, and Platt's two observations are at either side of it.
    """
    objects, others = standard[labels == 1.0], standard[labels == 0.0]
    low, high = np.quantile(objects, 0.05), np.quantile(others, 0.95)
    middle, gap = (low + high) / 2.0, abs(high - low)
    above = 4.0 * max(gap, np.subtract(*np.quantile(objects, (0.75, 0.25))))
    below = 4.0 * max(gap, np.subtract(*np.quantile(others, (0.75, 0.25))))
    held = np.clip(standard, middle - below, middle + above) if above > 0.0 and below > 0.0 else standard
    points = np.concatenate([held, [low, low, high, high]]) - middle
    targets = np.concatenate([labels, [0, 1, 0, 1]]).astype(np.int64)
    unit = float(np.abs(points).max())  # the optimum is found in numbers of order one
    (slope,), intercept = _minimise(points[:, None] / unit, targets, 0.0)
    return slope / unit, intercept - slope * middle / unit, targets


def _logit(probability: float) -> float:
    return float(np.log(probability) - np.log1p(-probability))


@dataclass(frozen=True)
class Logistic:
    """logit P(object | features) = bias + weight . (features - mean) / scale."""

    mean: ndarray  # weighted means of the features [F]
    scale: ndarray  # their weighted standard deviations [F], 1 where a feature is constant
    weight: ndarray  # coefficients of the standardised features [F]
    bias: float  # logit at the mean

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
        return {RANKING + name: torch.from_numpy(np.array(part, dtype=np.float64)) for name, part in parts.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Logistic":
        """The regression among these tensors; others are ignored.

        Raises:
            BadInput: A tensor is missing, of a shape that doesn't fit or not finite, or a scale is not positive.
        """
        features = tensors[RANKING + "weight"].shape
        shapes = {"mean": features, "scale": features, "weight": features, "bias": (1,)}
        found = (checked(tensors, RANKING + name, shape, "ranking") for name, shape in shapes.items())
        mean, scale, weight, bias = (part.double().numpy() for part in found)
        if (scale <= 0.0).any():
            raise BadInput(f"tensor {RANKING}scale must be positive")
        return cls(mean, scale, weight, float(bias[0]))


def fit_logistic(features: Real[ndarray, "n features"], labels: Labels, l2: float = 1.0) -> Logistic:
    """Minimise sum_n [log(1 + exp f_n) - y_n f_n] + l2 / 2 |weight|^2 over weight and bias.

    Features are standardised first (mean and standard deviation), so one l2 suits nats, votes and angles alike; the
    bias is not penalised. With one class only the optimum lies at infinity: the weights are then 0 and the bias is the
    logit of (N+ + 1) / (N + 2).

    Raises:
        BadInput: A feature is not finite, or there are none.
    """
    features, labels = np.asarray(features, dtype=np.float64), np.asarray(labels).astype(np.int64)
    if not np.isfinite(features).all():
        row, column = np.argwhere(~np.isfinite(features))[0]
        raise BadInput(f"feature {column} of gaze {row} is {features[row, column]}: features must be finite")
    if not len(features):
        raise BadInput("no gaze to fit the ranking on")
    total, positive = len(labels), labels.sum()
    mean = features.sum(axis=0) / total
    centred = features - mean
    largest = np.maximum(np.abs(centred).max(axis=0), np.finfo(np.float64).tiny)
    scale = largest * np.sqrt(((centred / largest) ** 2).sum(axis=0) / total)
    # What is left of a constant after subtracting its mean is rounding, not a feature.
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-290), scale, 1.0)
    if positive in (0, total):
        return Logistic(mean, scale, np.zeros(features.shape[1]), _logit((positive + 1.0) / (total + 2.0)))
    return Logistic(mean, scale, *_minimise(centred / scale, labels, l2))


def sigmoid(logits: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
    """1 / (1 + exp(-x)) without overflow or underflow at any x; strictly inside (0, 1) below x = 36."""
    small = np.exp(-np.minimum(np.abs(logits), 300.0))
    return np.asarray(np.where(logits >= 0.0, 1.0, small) / (1.0 + small))


def _minimise(features: ndarray, labels: Int[ndarray, " n"], l2: float) -> tuple[Float[ndarray, " features"], float]:
    """Coefficients and bias at the optimum of `fit_logistic`'s objective, features taken as they are."""
    from sklearn.linear_model import LogisticRegression

    penalty = 1.0 / l2 if l2 > 0.0 else np.inf
    fit = LogisticRegression(C=penalty, solver="newton-cg", tol=1e-12, max_iter=1000).fit(features, labels)
    return fit.coef_[0], float(fit.intercept_[0])
