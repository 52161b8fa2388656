"""What simple densities reach on the same patches: a bound is good or bad beside these (scikit-learn's estimators)."""

import math

import numpy as np
from jaxtyping import Float
from torch import Tensor

from foveate.errors import BadInput

FACTORS = 200
"""Of factor analysis, where there are as many dimensions and patches."""

COMPONENTS = (1, 2, 5, 10, 25, 50, 100, 200, 400, 600, 800)
"""Of probabilistic PCA, from which the best on a held-out fifth of the patches that it is fitted on is taken."""

_SMALLEST_VARIANCE = 1e-6


def mean_nats(fit: Float[Tensor, "n fitted"], patches: Float[Tensor, "m visible"]) -> dict[str, float]:
    """Mean log density, in nats, of Gaussians fitted on some patches and measured on others.

    Args:
        fit: Patches to fit on.
        patches: Patches to measure on.

    Returns:
        `diagonal`, `factor_analysis`, `ppca`, `ledoit_wolf`.

    Raises:
        BadInput: Fewer than five patches to fit on, or other dimensions, or scikit-learn isn't there.
    """
    if len(fit) < 5 or fit.shape[1] != patches.shape[1]:
        shape, dim = list(fit.shape), patches.shape[1]
        raise BadInput(f"baselines: patches to fit on have shape {shape}, expected [5 or more, {dim}]")
    try:
        from sklearn.covariance import LedoitWolf
        from sklearn.decomposition import FactorAnalysis
    except ImportError as error:
        raise BadInput("baselines need scikit-learn (pip install 'foveate[demo]')") from error
    x, y = fit.detach().cpu().double().numpy(), patches.detach().cpu().double().numpy()
    factors = max(1, min(FACTORS, x.shape[1] // 2, len(x) // 2))
    return {
        "diagonal": _diagonal(x, y),
        "factor_analysis": float(FactorAnalysis(factors, random_state=0).fit(x).score(y)),
        "ppca": _ppca(x, y),
        "ledoit_wolf": float(LedoitWolf().fit(x).score(y)),
    }


def _diagonal(x: np.ndarray, y: np.ndarray) -> float:
    """Independent Gaussians with the maximum likelihood mean and variance."""
    variance = np.maximum(x.var(0), _SMALLEST_VARIANCE)
    squares = (y - x.mean(0)) ** 2 / variance
    return float(-0.5 * (squares + np.log(2 * math.pi * variance)).sum(1).mean())


def _ppca(x: np.ndarray, y: np.ndarray) -> float:
    """Probabilistic PCA with the number of components that a held-out fifth of its patches likes best."""
    held = np.arange(len(x)) % 5 == 4
    most = min(len(x[~held]) - 1, x.shape[1] - 1)
    candidates = [n for n in COMPONENTS if n <= most] or [0]
    nats = _ppca_nats(x[~held], x[held], candidates)
    return _ppca_nats(x, y, [candidates[int(np.argmax(nats))]])[0]


def _ppca_nats(x: np.ndarray, y: np.ndarray, components: list[int]) -> list[float]:
    """Mean log density at each number of components (Tipping and Bishop 1999): the covariance's largest eigenvalues are
    kept, the others are replaced by their mean; one decomposition serves all."""
    values, vectors = np.linalg.eigh(np.cov(x.T, ddof=1).reshape(x.shape[1], -1))
    values, vectors = np.maximum(values[::-1], _SMALLEST_VARIANCE), vectors[:, ::-1]
    squares = (((y - x.mean(0)) @ vectors) ** 2).mean(0)
    found = []
    for n in components:
        variance = np.concatenate([values[:n], np.full(len(values) - n, values[n:].mean())])
        found.append(float(-0.5 * (squares / variance + np.log(2 * math.pi * variance)).sum()))
    return found
