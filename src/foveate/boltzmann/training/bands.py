"""Where a first layer with precision units starts: whitened pixels, combs along large directions, scales of bands.

- Coordinates are whitened (`whitening.py`), and everything is fitted to patches whose photographs the whitening has not
  seen, fold by fold.
- Mean units are combs (`combs.py`) along the directions of largest variance: as many directions, at one standard
  deviation theta of the rest of a pixel, as the units reach. What mu(h) leaves of each is theta^2 (reverse
  water-filling: the fewest states for a squared error).
- The other directions, in order of variance, are dealt into bands of equal numbers. With r = |x_b|^2 and n directions
  the density of a band is

      log p(x_b) = -r / (2 sigma_b^2) + sum_k softplus(c_bk - lambda_bk r / 2) - log Z_b,
      Z_b = sum_s exp(c_b.s) (2 pi / (1 / sigma_b^2 + lambda_b.s))^(n / 2),

  whose sigma, lambda and c are those of the largest likelihood by its exact gradient (L-BFGS, from thermometers: scales
  at quantiles of r, equally likely).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from foveate.boltzmann.precision import PrecisionRBM
from foveate.boltzmann.training.combs import CLOSEST, Comb, fit_comb, quantiles
from foveate.boltzmann.training.whitening import Layout, Moments
from foveate.boltzmann.units import BINARY

_MOST_TEETH = 200  # Of a comb


class Band(NamedTuple):
    """The density of a band."""

    sigma: float  # of every direction, where no precision unit is on
    gains: Float[Tensor, " K"]  # lambda
    biases: Float[Tensor, " K"]  # c, falling: the first unit is on most often
    nats: float  # mean log density of what it was fitted to


def start_from_bands(
    folds: Sequence[Float[Tensor, "_ visible"]], n_mean: int, bands: int, n_gates: int, layout: Layout | None = None
) -> PrecisionRBM:
    """A first layer of mean and precision units that has the data's density along every direction and in every band.

    Args:
        folds: Patches [N, D] of each fold, on the CPU; all that shows one object is in one fold.
        n_mean: Mean units at most.
        bands: Bands of the directions without mean units, fewer where there are too few of these.
        n_gates: Precision units of each band.
        layout: How pixels lie; None where the data are no pictures.
    """
    moments = Moments(folds, layout)
    held = torch.cat([moments.whitening(fold)(rows) for fold, rows in enumerate(folds)])
    whitening = moments.whitening()
    deviation, combs = lay_means(held, whitening.variances.sqrt().numpy(), n_mean)
    rest = len(held[0]) - len(combs)
    bands = max(min(bands, rest), 1)
    band = torch.full((len(held[0]),), -1)
    band[len(combs) :] = torch.arange(rest) * bands // max(rest, 1)
    machine = PrecisionRBM(len(band), max(sum(len(comb.weights) for comb in combs), 1), band, bands, n_gates)
    first = 0
    for i, comb in enumerate(combs):
        sigma, mine = float(deviation[i]), slice(first, first + len(comb.weights))
        machine.log_sigma[i], machine.b[i] = math.log(sigma), sigma * float(comb.teeth[0])
        machine.W[i, mine] = torch.from_numpy(sigma * comb.weights).float()
        machine.c[mine] = torch.from_numpy(comb.biases).float()
        first = mine.stop
    for one in range(bands):
        mine = band == one
        found = fit_band(held[:, mine].double().square().sum(1), int(mine.sum()), n_gates)
        machine.log_sigma[mine] = math.log(found.sigma)
        machine.precisions[one], machine.precision_c[one] = found.gains.float(), found.biases.float()
    machine.mean.copy_(whitening.mean)
    machine.whiten.copy_(whitening.matrix)
    return machine


def lay_means(
    x: Float[Tensor, "rows visible"], deviation: Float[np.ndarray, " visible"], units: int
) -> tuple[Float[np.ndarray, " some"], list[Comb]]:
    """Combs of at most so many units along the first directions of whitened x, and sigma of each; `deviation` [D], of
    a pixel along each direction, falls."""
    tried = min(len(deviation), max(units // 2, 1))
    points = quantiles(x[:, :tried].double().numpy())
    reach = points[-1] - points[0]

    def counts(theta: float) -> np.ndarray:
        wide = deviation[:tried] > theta
        return np.where(wide, np.minimum(reach * deviation[:tried] / theta / CLOSEST, _MOST_TEETH), 0).astype(int)

    low, high = float(deviation[-1]) or 1e-300, 2 * float(deviation[0])
    for _ in range(60):  # by halves
        middle = math.sqrt(low * high)
        low, high = (middle, high) if counts(middle).sum() > units else (low, middle)
    theta = 1.0001 * high  # the smallest that the units allow, and a little: not where rounding decides
    chosen = counts(theta)
    many = int((chosen > 0).sum())
    sigma = theta / deviation[:many]
    return sigma, [fit_comb(points[:, i] / sigma[i], int(chosen[i])) for i in range(many)]


def fit_band(energy: Float[Tensor, " rows"], directions: int, n_gates: int) -> Band:
    """The density of largest likelihood of a band of n directions, from |x_b|^2 of whitened patches in float64."""
    usual = float(energy.mean()) / directions
    r = energy / (directions * usual)  # near 1
    at = torch.quantile(r, torch.linspace(0, 1, 2 * n_gates + 3, dtype=r.dtype)[1::2]).flip(0).clamp(min=1e-6)
    level = 1 / at  # precisions, rising
    rise = torch.cat([level[:1], level.diff().clamp(min=1e-3 * float(level[0]))]).log().requires_grad_()
    # Each level as likely: c_k = n / 2 log(P_k / P_(k-1)). In units of n, so that all slopes are alike.
    bias = (0.5 * level.log().diff()).requires_grad_()
    states = BINARY.states(torch.arange(2**n_gates), n_gates)

    def loss() -> Tensor:
        precision = rise.exp()
        log_z = torch.logsumexp(directions * (states @ bias - 0.5 * (precision[0] + states @ precision[1:]).log()), 0)
        gates = softplus(directions * (bias - 0.5 * precision[1:] * r[:, None]), threshold=700).sum(1)
        return (log_z + (0.5 * directions * precision[0] * r - gates).mean()) / directions

    optimiser = torch.optim.LBFGS(
        [rise, bias], max_iter=200, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=1e-8
    )

    def evaluated() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(evaluated)
    nats = -directions * (float(loss().detach()) + 0.5 * math.log(2 * math.pi * usual))
    precision, biases = rise.detach().exp() / usual, directions * bias.detach()
    order = torch.argsort(biases / precision[1:], descending=True)  # thresholds of r: the first is on most often
    return Band(float(precision[0].rsqrt()), precision[1:][order], biases[order], nats)
