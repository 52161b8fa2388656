"""Has a Markov chain converged, and how many independent draws is it worth?

Rank-normalised split R-hat and bulk effective sample size as in Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021),
"Rank-normalization, folding, and localization: an improved R-hat for assessing convergence of MCMC". Both are nan where
they would mean nothing: a draw is not finite, a chain does not move, or there are fewer than four draws a chain. A
chain that does not move has an R-hat of 1 and more effective draws than draws if one only follows the formulas.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LEAST_DRAWS = 4
_STILL = 1e-9  # a range below this, relative to the size of the numbers or to one, is rounding and not movement


def moving(draws: Float[Tensor, "*batch chain draw"]) -> Bool[Tensor, "*batch"]:
    """Whether all draws are finite and every chain moves by more than rounding."""
    finite = torch.isfinite(draws).all(-1).all(-1)
    clean = torch.where(finite[..., None, None], draws, torch.zeros_like(draws))
    extent = clean.amax(-1) - clean.amin(-1)
    size = clean.abs().amax((-2, -1)).clamp(min=1)
    return finite & (extent > _STILL * size.unsqueeze(-1)).all(-1)


def rhat(draws: Float[Tensor, "*batch chain draw"]) -> Float[Tensor, "*batch"]:
    """Rank-normalised split R-hat: the larger of that of the draws and of their distances from the median.

    R-hat^2 = ((n - 1)/n W + B/n) / W, with W the mean of the split chains' variances and B/n the variance of their
    means. The second one finds chains of the same place and different spread.
    """

    def of(split: Tensor) -> Tensor:
        middle = split.flatten(-2).quantile(0.5, -1)[..., None, None]
        return torch.maximum(_plain_rhat(_normal_scores(split)), _plain_rhat(_normal_scores((split - middle).abs())))

    return _where_moving(draws, of)


def bulk_ess(draws: Float[Tensor, "*batch chain draw"]) -> Float[Tensor, "*batch"]:
    """How many independent draws estimate the centre of the distribution as well as these do."""
    return _where_moving(draws, lambda split: _ess(_normal_scores(split)))


def _where_moving(draws: Tensor, figure: Callable[[Tensor], Tensor]) -> Tensor:
    """A figure of the split chains; nan where it would mean nothing."""
    if draws.shape[-1] < LEAST_DRAWS:
        return torch.full(draws.shape[:-2], torch.nan, dtype=torch.float64)
    return torch.where(moving(draws), figure(_split(draws.double())), torch.nan)


def _split(draws: Tensor) -> Tensor:
    """Each chain as two halves, the middle draw of an odd number left out."""
    half = draws.shape[-1] // 2
    return torch.cat((draws[..., :half], draws[..., draws.shape[-1] - half :]), dim=-2)


def _normal_scores(draws: Tensor) -> Tensor:
    """Phi^-1((r - 3/8) / (S + 1/4)) of the ranks r among all S draws, ties sharing their mean rank (Blom 1958)."""
    flat = draws.flatten(-2).contiguous()
    ordered = flat.sort(-1).values
    below = torch.searchsorted(ordered, flat, side="left")
    rank = (below + torch.searchsorted(ordered, flat, side="right") + 1) / 2
    return torch.special.ndtri((rank.double() - 0.375) / (flat.shape[-1] + 0.25)).view_as(draws)


def _plain_rhat(z: Tensor) -> Tensor:
    n = z.shape[-1]
    within, between = z.var(-1).mean(-1), z.mean(-1).var(-1)
    return torch.sqrt((n - 1) / n + between / within)


def _ess(z: Tensor) -> Tensor:
    """Draws over autocorrelation time, cut off by Geyer's initial monotone sequence (Vehtari et al., eq. 10-13)."""
    chains, n = z.shape[-2:]
    away = z - z.mean(-1, keepdim=True)
    spectrum = torch.fft.rfft(away, 2 * n)
    covariance = torch.fft.irfft(spectrum.abs().square(), 2 * n)[..., :n].mean(-2) / n
    within = covariance[..., 0] * n / (n - 1)
    total = within * (n - 1) / n + z.mean(-1).var(-1)
    correlation = 1 - (within.unsqueeze(-1) - covariance) / total.unsqueeze(-1)
    correlation[..., 0] = 1
    # The last lags, of few products, are left out.
    pairs = correlation[..., : 2 * max(1, (n - 3) // 2)].unflatten(-1, (-1, 2)).sum(-1)
    counted = (pairs > 0).cummin(-1).values
    monotone = torch.where(counted, pairs.cummin(-1).values, torch.zeros_like(pairs)).sum(-1)
    # The first correlation left out, of even lag, is taken along once where it is positive.
    lag = (2 * counted.sum(-1, keepdim=True)).clamp(max=n - 1)
    time = 2 * monotone - 1 + correlation.gather(-1, lag).squeeze(-1).clamp(min=0)
    draws = chains * n
    # Antithetic chains are worth more than their number of draws, but a noisy estimate must not claim any number.
    return draws / time.clamp(min=1 / torch.log10(torch.tensor(float(draws), dtype=z.dtype)))
