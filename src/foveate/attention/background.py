"""What windows without the object look like, and the log-ratio that tells an object from its surroundings.

A density of objects alone can't rank gazes: two gazes explain different pixels of the same image, and a small window
on a smooth wall scores well. The full scene likelihood of a gaze, with the rest of the image explained by the
background whatever u is, is up to a constant of the image

    log p_object(x(u)) - log p_background(x(u)),

with p_object the patch model's density of the glimpse, log p_object(x) = -F(x) - log Z (F: the GRBM's free energy), and
p_background a Gaussian of full covariance, fitted to windows that hold no object. Its covariance is shrunk towards a
multiple of the identity by the amount that Ledoit & Wolf (2004, "A well-conditioned estimator for large-dimensional
covariance matrices") derive.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian of full covariance.

    Attributes:
        mean: [D].
        whiten: [D, D], lower triangular, the inverse of the covariance's Cholesky factor.
    """

    mean: Float[Tensor, "d"]
    whiten: Float[Tensor, "d d"]

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """Log density, nats: -1/2 |L^-1 (x - mean)|^2 + sum log diag L^-1 - D/2 log 2 pi."""
        white = (x - self.mean) @ self.whiten.T
        half_log_det = self.whiten.diagonal().double().log().sum()
        normaliser = half_log_det - 0.5 * len(self.mean) * torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64))
        return (normaliser - 0.5 * white.double().square().sum(1)).float()


def fit_gaussian(x: Float[Tensor, "n d"]) -> Gaussian:
    """Fits mean and Ledoit-Wolf covariance; the shrinkage keeps it invertible for any number of vectors.

    With S the sample covariance, m = tr S / D and d^2 = |S - m I|^2 / D,
    b^2 = min(d^2, sum_n |x_n x_n' - S|^2 / (N^2 D)), the estimate is (b^2 / d^2) m I + (1 - b^2 / d^2) S.
    """
    x = x.double()
    n, d = x.shape
    mean = x.mean(0)
    centred = x - mean
    covariance = centred.T @ centred / n
    level = covariance.trace() / d
    square = covariance.square().sum()
    distance = (square - d * level**2) / d
    noise = (centred.square().sum(1).square().sum() / n - square) / (n * d)
    share = (torch.minimum(noise, distance) / distance).nan_to_num(1.0).clamp(0, 1)
    shrunk = (1 - share) * covariance
    shrunk.diagonal().add_(share * level + 1e-6)
    factor = torch.linalg.cholesky(shrunk)
    whiten = torch.linalg.solve_triangular(factor, torch.eye(d, dtype=torch.float64), upper=False)
    return Gaussian(mean.float(), whiten.float())


def log_ratio(
    gdbn: GaussianDBN, object_log_z: float, background: Gaussian, glimpse: Float[Tensor, "n 3 24 24"]
) -> Float[Tensor, "n"]:
    """log p_object(x) - log p_background(x) of glimpses in [0, 1], nats, with p_object the GRBM's; on the CPU."""
    x = gdbn.standardise(glimpse)
    return -gdbn.grbm.free_energy(x).cpu() - object_log_z - background.log_prob(x.cpu())
