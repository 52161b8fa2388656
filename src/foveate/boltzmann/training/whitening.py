"""A whitened space of patches, from a covariance with a prior of what is likely of pictures, tried on others.

In the coordinates

    x_i = u_i . (v - m) / sqrt(l_i),    log p(v) = log p(x) + log |det dx/dv| = log p(x) - 1/2 sum_i log l_i,

with u_i the eigenvectors of a covariance C, a standard normal x is the Gaussian of that covariance. With about as many
photographs as dimensions, C is what decides about it (`Moments.whitening`):

- where mirror images are as likely as patches, C is the mean of itself and its mirror image;
- its eigenvectors are those of (1 - a) C + a T, T its stationary part: of each two channels, the average over all pairs
  of places that lie the same way from each other; a gives other photographs the highest density (no pictures: a = 0);
- l_i is the variance along the i-th eigenvector of other photographs, which are dealt into folds. (On its own patches a
  covariance makes large variances larger and small ones smaller: Stein 1956; by folds, Abadir, Distaso, Zikes 2014.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.errors import BadInput

SHARES = (0.03, 0.1, 0.2, 0.4)  # a of the module's formula, of which the best is taken
_SMALLEST = 1e-9  # Of variances, beside their mean: what never varies buys no infinite likelihood


@dataclass(frozen=True)
class Layout:
    """How the numbers of a patch lie, channel first, and whether its mirror image is as likely."""

    channels: int
    height: int
    width: int
    mirror: bool = False

    @property
    def mirrored(self) -> np.ndarray:
        """[D] the place of each number in the mirror image."""
        numbers = np.arange(self.channels * self.height * self.width)
        return numbers.reshape(self.channels, self.height, self.width)[:, :, ::-1].ravel()

    def stationary(self, covariance: Float[np.ndarray, "D D"]) -> Float[np.ndarray, "D D"]:
        """The average over all pairs of places that lie the same way from each other, for each two channels."""
        rows, columns = (np.subtract.outer(np.arange(n), np.arange(n)) + n - 1 for n in (self.height, self.width))
        lag = (rows[:, None, :, None] * (2 * self.width - 1) + columns[None, :, None, :]).reshape(-1)
        pairs, places = np.bincount(lag), self.height * self.width
        out = np.empty_like(covariance)
        for a in range(0, len(covariance), places):
            for b in range(0, len(covariance), places):
                here = slice(a, a + places), slice(b, b + places)
                out[here] = (np.bincount(lag, covariance[here].ravel()) / pairs)[lag].reshape(places, places)
        return out


class Whitening(NamedTuple):
    """An affine map to coordinates of mean 0 and covariance 1."""

    mean: Float[Tensor, " visible"]  # m
    matrix: Float[Tensor, "visible visible"]  # [D, D], row i is u_i / sqrt(l_i), the largest l_i first
    variances: Float[Tensor, " visible"]  # l

    @property
    def log_det(self) -> float:
        """log |det dx/dv|, nats to be added to a log density of x."""
        return -0.5 * float(self.variances.log().sum())

    def __call__(self, v: Float[Tensor, "rows visible"]) -> Float[Tensor, "rows visible"]:
        """x of v."""
        return (v - self.mean) @ self.matrix.T


class Moments:
    """First and second moments of patches, fold by fold, and the whitenings that follow.

    Args:
        folds: Patches [N, D] of each fold; all that shows one object is in one fold, which no other is like.
        layout: How pixels lie; None where the data are no pictures.

    Raises:
        BadInput: Fewer than two folds.
    """

    def __init__(self, folds: Sequence[Float[Tensor, "_ visible"]], layout: Layout | None = None):
        if len(folds) < 2 or not all(len(fold) for fold in folds):
            raise BadInput(f"folds of {[len(fold) for fold in folds]} patches: whitening needs two or more, none empty")
        self.layout = layout
        self._count = [len(fold) for fold in folds]
        self._sums = [fold.double().sum(0).numpy() for fold in folds]
        self._squares = [(fold.T @ fold).double().numpy() for fold in folds]

    def whitening(self, fold: int | None = None) -> Whitening:
        """That of all patches, or of all but a fold's, with the same variances, and axes that point the same way."""
        mean, vectors = self._axes(self.share, fold)
        along = np.einsum("ij,ij->j", vectors, self._axes(self.share, None)[1])
        vectors = np.where(along < 0, -vectors, vectors)
        matrix = torch.from_numpy((vectors / np.sqrt(self._variances)).T.copy()).float()
        return Whitening(torch.from_numpy(mean).float(), matrix, torch.from_numpy(self._variances))

    @cached_property
    def share(self) -> float:
        """a of the module's formula, by the first fold."""
        if self.layout is None:
            return 0.0
        return min(SHARES, key=lambda share: float(np.log(self._floored(self._along(share, 0))).sum()))

    @cached_property
    def _variances(self) -> Float[np.ndarray, " D"]:
        folds = range(len(self._count))
        share = np.array(self._count) / sum(self._count)
        return self._floored(np.sum([share[fold] * self._along(self.share, fold) for fold in folds], 0))

    def _floored(self, variances: np.ndarray) -> np.ndarray:
        return np.maximum(variances, max(_SMALLEST * float(variances.mean()), np.finfo(float).tiny))

    def _along(self, share: float, fold: int) -> Float[np.ndarray, " D"]:
        """A fold's variances along the axes of the rest."""
        mean, vectors = self._axes(share, fold)
        own = self._covariance([fold], mean).astype(np.float32)
        return np.einsum("ij,ij->j", vectors, own @ vectors, dtype=np.float64)

    def _axes(self, share: float, without: int | None) -> tuple[np.ndarray, np.ndarray]:
        """The mean of all folds but one, and the eigenvectors, largest eigenvalue first."""
        known = self.__dict__.setdefault("_known", {})
        if (share, without) not in known:
            rest = [fold for fold in range(len(self._count)) if fold != without]
            mean = np.sum([self._sums[fold] for fold in rest], 0) / sum(self._count[fold] for fold in rest)
            if self.layout is not None and self.layout.mirror:
                mean = 0.5 * (mean + mean[self.layout.mirrored])
            covariance = self._covariance(rest, mean)
            if self.layout is not None:
                covariance = (1 - share) * covariance + share * self.layout.stationary(covariance)
            scaled = torch.from_numpy(covariance / max(float(np.trace(covariance)), np.finfo(float).tiny)).float()
            known[share, without] = mean, torch.linalg.eigh(scaled).eigenvectors.flip(1).numpy()
        return known[share, without]

    def _covariance(self, folds: Sequence[int], mean: np.ndarray) -> np.ndarray:
        """The second moment of some folds about `mean`."""
        count = sum(self._count[fold] for fold in folds)
        total, squares = (sum(of[fold] for fold in folds) / count for of in (self._sums, self._squares))
        found = squares - np.outer(total, mean) - np.outer(mean, total) + np.outer(mean, mean)
        if self.layout is not None and self.layout.mirror:
            mirrored = self.layout.mirrored
            found = 0.5 * (found + found[np.ix_(mirrored, mirrored)])
        return found
