"""What importance weights say: their mean, how many they are worth, how sure their mean is. All in logs."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


def log_mean_exp(log_weights: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """log of the mean of exp(log_weights) over the last dimension; weights of zero (-inf) count in the mean."""
    return torch.logsumexp(log_weights, -1) - math.log(max(log_weights.shape[-1], 1))


def effective_sample_size(log_weights: Float[Tensor, " n"]) -> float:
    """(sum w)^2 / sum w^2: the number of equal weights whose mean is as sure (Kong 1992); 0 if every weight is zero."""
    weights = _relative(log_weights)
    return float(weights.sum().square() / weights.square().sum()) if weights.any() else 0.0


def log_mean_stderr(log_weights: Float[Tensor, " n"]) -> float:
    """Standard error of `log_mean_exp` by the delta method, sd(w) / (sqrt(n) mean(w)); NaN where nothing is known."""
    weights = _relative(log_weights)
    if len(weights) < 2 or not weights.any():
        return math.nan
    return float(weights.std() / weights.mean() / math.sqrt(len(weights)))


def _relative(log_weights: Tensor) -> Tensor:
    """The weights in float64, divided by the largest, unless that is zero."""
    exact = log_weights.double()
    if not len(exact):
        return exact
    return torch.exp(exact - exact.max().clamp(min=torch.finfo(exact.dtype).min))


@dataclass(frozen=True)
class Estimate:
    """log Z as a set of chains estimates it."""

    log_z: float  # in nats
    stderr: float  # standard error of log_z from the spread of the weights; NaN when there are fewer than two
    ess: float  # effective sample size of the weights, at most their number
    log_weights: Float[Tensor, " n"]  # each chain's own estimate of log Z


def estimate(log_weights: Float[Tensor, " n"], reverse: bool = False) -> Estimate:
    """log Z from each chain's own estimate of it: forward chains' Z are averaged, reverse chains' 1 / Z."""
    weights = -log_weights if reverse else log_weights
    log_mean = float(log_mean_exp(weights))
    log_z = -log_mean if reverse else log_mean
    return Estimate(log_z, log_mean_stderr(weights), effective_sample_size(weights), log_weights)
