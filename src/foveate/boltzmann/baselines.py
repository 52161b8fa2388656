"""What simple densities reach on the same patches: a bound is good or bad beside these.

Gaussians of ever better covariances (scikit-learn's where it has them), and the two simplest that are none:

- `held_out`: the covariance of `training/whitening.py`, whose variances are those of photographs held out;
- `student_t`: the multivariate t of that covariance, of the largest likelihood on patches held out;
- `mixture`: a Gaussian mixture in its coordinates, each component of its own mean and variances (Zoran, Weiss 2011,
  have one of small patches), of as many components as a fifth of the photographs, held out, likes best.
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from foveate.boltzmann.training.whitening import Layout, Moments
from foveate.errors import BadInput

FACTORS = 200  # Of factor analysis, where there are as many dimensions and patches
COMPONENTS = (1, 2, 5, 10, 25, 50, 100, 200, 400, 600, 800, 1000, 1300, 1600)  # Of PPCA; a held-out fold takes one

MIXED = (1, 2, 4, 8, 16, 32)  # Of the mixture
_MOST_ROWS = 8000  # From which a mixture is fitted
_SMALLEST_VARIANCE = 1e-6


def log_densities(
    folds: Sequence[Float[Tensor, "_ fitted"]], patches: Float[Tensor, "m visible"], layout: Layout | None = None
) -> dict[str, Float64[Tensor, " m"]]:
    """Log density of each patch, in nats, under densities fitted on others.

    Args:
        folds: Patches to fit on, two folds or more; those of one photograph in one fold.
        patches: Patches to measure on.
        layout: How pixels lie, and whether mirror images are as likely; None where they are no pictures.

    Returns:
        `diagonal`, `factor_analysis`, `ppca`, `ledoit_wolf`, `held_out`, `student_t`, `mixture`.

    Raises:
        BadInput: Fewer than five patches to fit on, or other dimensions.
    """
    fit = torch.cat([fold.detach().cpu().float() for fold in folds])
    if len(fit) < 5 or fit.shape[1] != patches.shape[1]:
        shape, dim = list(fit.shape), patches.shape[1]
        raise BadInput(f"baselines: patches to fit on have shape {shape}, expected [5 or more, {dim}]")
    from sklearn.covariance import LedoitWolf
    from sklearn.decomposition import FactorAnalysis

    x, y = fit.double().numpy(), patches.detach().cpu().double().numpy()
    factors = max(1, min(FACTORS, x.shape[1] // 2, len(x) // 2))
    shrunk = LedoitWolf().fit(x)
    values, vectors = np.linalg.eigh(shrunk.covariance_)
    found = {
        "diagonal": _gaussian((y - x.mean(0)) ** 2, np.maximum(x.var(0), _SMALLEST_VARIANCE)),
        "factor_analysis": FactorAnalysis(factors, random_state=0).fit(x).score_samples(y),
        "ppca": _ppca(x[: -len(folds[-1])], x[-len(folds[-1]) :], y),
        "ledoit_wolf": _gaussian(((y - shrunk.location_) @ vectors) ** 2, np.maximum(values, _SMALLEST_VARIANCE)),
        **_whitened([fold.detach().cpu().float() for fold in folds], patches.detach().cpu().float(), layout),
    }
    return {name: torch.from_numpy(np.asarray(nats, np.float64)) for name, nats in found.items()}


def _gaussian(squares: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Log density of independent Gaussians, from squared distances [m, d] and variances [d]."""
    return -0.5 * (squares / variance + np.log(2 * math.pi * variance)).sum(1)


def _ppca(x: np.ndarray, held: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Probabilistic PCA of all patches to fit on, with the number of components that those held out like best."""
    candidates = [n for n in COMPONENTS if n <= min(len(x) - 1, x.shape[1] - 1)] or [0]
    nats = [each.mean() for each in _ppca_nats(x, held, candidates)]
    return _ppca_nats(np.concatenate([x, held]), y, [candidates[int(np.argmax(nats))]])[0]


def _ppca_nats(x: np.ndarray, y: np.ndarray, components: list[int]) -> list[np.ndarray]:
    """Log densities at each number of components (Tipping and Bishop 1999): the covariance's largest eigenvalues are
    kept, the others are replaced by their mean; one decomposition serves all."""
    values, vectors = np.linalg.eigh(np.cov(x.T, ddof=1).reshape(x.shape[1], -1))
    values, vectors = np.maximum(values[::-1], _SMALLEST_VARIANCE), vectors[:, ::-1]
    squares = ((y - x.mean(0)) @ vectors) ** 2
    return [
        _gaussian(squares, np.concatenate([values[:n], np.full(len(values) - n, values[n:].mean())]))
        for n in components
    ]


def _whitened(
    folds: Sequence[Float[Tensor, "_ visible"]], patches: Float[Tensor, "m visible"], layout: Layout | None
) -> dict[str, np.ndarray]:
    """The densities in whitened coordinates; fitted to those of each fold by the whitening of the others."""
    moments = Moments(folds, layout)
    held = [moments.whitening(fold)(rows).double().numpy() for fold, rows in enumerate(folds)]
    whitening = moments.whitening()
    x, log_det = whitening(patches).double().numpy(), whitening.log_det
    dim, energy = x.shape[1], np.concatenate([(rows**2).sum(1) for rows in held])
    return {
        "held_out": log_det - 0.5 * ((x**2).sum(1) + dim * math.log(2 * math.pi)),
        "student_t": log_det + _student(energy, (x**2).sum(1), dim),
        "mixture": log_det + _mixture(held, x),
    }


def _student(fitted: np.ndarray, energy: np.ndarray, dim: int) -> np.ndarray:
    """Log density of the t whose degrees of freedom and width fit squared lengths best, at others."""
    from scipy.optimize import minimize
    from scipy.special import gammaln

    def nats(at: np.ndarray, r: np.ndarray) -> np.ndarray:
        freedom, width = np.exp(at)
        constant = gammaln(0.5 * (freedom + dim)) - gammaln(0.5 * freedom)
        constant -= 0.5 * dim * np.log(freedom * math.pi * width)
        return constant - 0.5 * (freedom + dim) * np.log1p(r / (freedom * width))

    start = np.array([1.0, math.log(max(float(np.median(fitted)) / dim, _SMALLEST_VARIANCE))])
    best = minimize(lambda at: -nats(np.clip(at, -30, 30), fitted).mean(), start, method="Nelder-Mead").x
    return nats(np.clip(best, -30, 30), energy)


def _mixture(held: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Log density of a mixture of Gaussians with diagonal covariances."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows = np.concatenate(held)
    some = -(-len(rows) // _MOST_ROWS)

    def fitted(rows: np.ndarray, components: int) -> GaussianMixture:
        # From scales, which pictures differ in most, and not from places, where k-means would begin.
        groups = np.array_split(np.argsort((rows**2).sum(1)), components)
        start = {
            "means_init": np.stack([rows[group].mean(0) for group in groups]),
            "precisions_init": np.stack([1 / (rows[group].var(0) + 1e-3) for group in groups]),
            "weights_init": np.full(components, 1 / components),
        }
        model = GaussianMixture(components, covariance_type="diag", reg_covar=1e-3, max_iter=50, **start)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(rows[::some])

    first = np.concatenate(held[:-1])
    candidates = [n for n in MIXED if 10 * n <= len(first)] or [1]
    best = max(candidates, key=lambda n: fitted(first, n).score(held[-1])) if len(candidates) > 1 else candidates[0]
    return fitted(rows, best).score_samples(x)
