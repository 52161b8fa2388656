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
    """Fits mean and Ledoit-Wolf covariance (scikit-learn's), which any number of vectors makes invertible."""
    from sklearn.covariance import ledoit_wolf

    x = x.double()
    covariance = torch.from_numpy(ledoit_wolf(x.numpy())[0])
    covariance.diagonal().add_(1e-6)
    factor = torch.linalg.cholesky(covariance)
    whiten = torch.linalg.solve_triangular(factor, torch.eye(len(factor), dtype=torch.float64), upper=False)
    return Gaussian(x.mean(0).float(), whiten.float())


def log_ratio(
    gdbn: GaussianDBN, object_log_z: float, background: Gaussian, glimpse: Float[Tensor, "n 3 24 24"]
) -> Float[Tensor, "n"]:
    """log p_object(x) - log p_background(x) of glimpses in [0, 1], nats, with p_object the GRBM's; on the CPU."""
    x = gdbn.standardise(glimpse)
    return -gdbn.grbm.free_energy(x).cpu() - object_log_z - background.log_prob(x.cpu())
