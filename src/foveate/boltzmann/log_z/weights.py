"""What importance weights say: their mean, how many they are worth, how sure their mean is. All in logs."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


def log_mean_exp(log_weights: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """log of the mean of exp(log_weights) over the last dimension.

    Weights of zero (-inf) count in the mean and cost nothing else: all of them zero gives -inf, never NaN, and
    gradients stay finite, where `torch.logsumexp` gives NaN.
    """
    if log_weights.shape[-1] == 0:
        return log_weights.new_full(log_weights.shape[:-1], -math.inf)
    largest = log_weights.detach().amax(-1, keepdim=True)
    shift = torch.where(torch.isfinite(largest), largest, torch.zeros_like(largest))
    mean = torch.exp(log_weights - shift).mean(-1)
    empty = mean == 0
    log_mean = torch.log(torch.where(empty, torch.ones_like(mean), mean)) + shift.squeeze(-1)
    return torch.where(empty, torch.full_like(log_mean, -math.inf), log_mean)


def effective_sample_size(log_weights: Float[Tensor, " n"]) -> float:
    """(sum w)^2 / sum w^2: the number of equal weights whose mean is as sure (Kong 1992). 0 when every weight is
    zero."""
    weights = _relative(log_weights)
    if not weights.any():
        return 0.0
    return float(weights.sum().square() / weights.square().sum())


def log_mean_stderr(log_weights: Float[Tensor, " n"]) -> float:
    """Standard error of `log_mean_exp` by the delta method: sd(w) / (sqrt(n) mean(w)).

    NaN for fewer than two weights and when all are zero: then nothing is known of it.
    """
    weights = _relative(log_weights)
    if len(weights) < 2 or not weights.any():
        return math.nan
    return float(weights.std() / weights.mean() / math.sqrt(len(weights)))


def _relative(log_weights: Tensor) -> Tensor:
    """The weights in float64, divided by the largest."""
    log_weights = log_weights.to(torch.float64)
    if not len(log_weights) or log_weights.max() == -math.inf:
        return torch.zeros_like(log_weights)
    return torch.exp(log_weights - log_weights.max())


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
    return Estimate(
        log_z=-log_mean if reverse else log_mean,
        stderr=log_mean_stderr(weights),
        ess=effective_sample_size(weights),
        log_weights=log_weights,
    )
