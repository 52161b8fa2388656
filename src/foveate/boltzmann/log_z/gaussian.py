"""log Z of a Gaussian-binary RBM, and with it its exact log density.

With y_i = v_i / sigma_i the machine's couplings are A = diag(1 / sigma) W, and only the directions of y that A
reaches have anything to do with the hidden units. In coordinates z = U^T y of its singular vectors (A = U S V^T, r =
min(D, H) of them)

    Z = prod_i sigma_i  (2 pi)^((D - r) / 2)  integral sum_h exp(-|z - delta|^2 / 2 + c'.h + z.S V^T h) dz,

so that annealing runs in r dimensions instead of D, and its base can have the data's variance along each of them: far
closer to the machine than independent pixels. z is measured from the data's mean, which keeps all numbers small.
Annealing interpolates the natural parameters of z (precision, and mean times precision), never means and deviations.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.ais import Estimate, estimate, make_schedule
from foveate.boltzmann.log_z.chains import State, anneal
from foveate.boltzmann.log_z.keeping import kept
from foveate.boltzmann.log_z.path import AnnealingPath, gaussian_path, smoothed_log_odds
from foveate.boltzmann.rbm import GaussianBernoulliRBM
from foveate.runtime.progress import Progress, Quiet
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints


def grbm_path(grbm: GaussianBernoulliRBM, v: Float[Tensor, "n visible"], smoothing: float = 1.0) -> AnnealingPath:
    """The path to a GRBM from independent units that have the data's moments.

    Args:
        grbm: The machine.
        v: Data, which need only be roughly where the machine's mass is.
        smoothing: Imaginary observations of either state of each hidden unit. (Variances are smoothed with the
            machine's own, 1 in these coordinates, and never less.)
    """
    weights, b, c, log_sigma, v = (
        value.detach().to("cpu", torch.float64) for value in (grbm.W, grbm.b, grbm.c, grbm.log_sigma, v)
    )
    per_sigma = torch.exp(-log_sigma)
    origin = v.mean(0)
    left, singular, right = torch.linalg.svd(weights * per_sigma[:, None], full_matrices=False)
    z = ((v - origin) * per_sigma) @ left
    delta = ((b - origin) * per_sigma) @ left
    bias = c + (origin * per_sigma.square()) @ weights
    couplings = singular[:, None] * right
    log_odds = smoothed_log_odds(torch.sigmoid(z @ couplings + bias), smoothing)
    free = len(b) - len(singular)
    return gaussian_path(
        couplings=couplings,
        linear=delta,
        c=bias,
        base_mean=torch.zeros_like(delta),
        base_variance=torch.clamp((z.square().sum(0) + 1) / (len(v) + 1), min=1.0),
        c_base=torch.where((weights == 0).all(0), c, log_odds),
        log_z_outside=float(log_sigma.sum() + 0.5 * free * math.log(2 * math.pi) - 0.5 * delta.square().sum()),
    )


def grbm_log_z(
    grbm: GaussianBernoulliRBM,
    v: Float[Tensor, "n visible"],
    chains: int = 100,
    temperatures: int = 50_000,
    schedule: str = "adaptive",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoints: Checkpoints | NoCheckpoints | None = None,
) -> Estimate:
    """log Z of a GRBM by annealed importance sampling; log p(v) is then -grbm.free_energy(v) - log_z, in nats.

    Args:
        grbm: The machine.
        v: Data, whose moments the base has.
        chains: Number of chains.
        temperatures: Steps from the base to the machine.
        schedule: "adaptive", "linear" or "sigmoid".
        seed: Of all random numbers.
        progress: Shown and asked whether to stop.
        checkpoints: Where states are kept, to go on after a kill with the same numbers to the last bit.

    Raises:
        BadInput: No such schedule, no chains, or fewer than one temperature.
        Interrupted: The process was asked to stop.
    """
    progress, checkpoints = progress or Quiet(), checkpoints or NoCheckpoints()
    path = grbm_path(grbm, v)
    name = "first-layer"
    if not checkpoints.done(name):
        betas = make_schedule(path, schedule, temperatures, seed)
        with (
            progress.phase("annealing of the first layer", temperatures) as tick,
            kept(checkpoints, name, State) as (state, keep),
        ):
            moving = path.to(grbm.W.device)
            result = anneal(moving, betas, range(chains), seed, name, None, state, lambda done: tick(done), keep)
        checkpoints.finish(name, {"log_weights": result.log_weights})
        return estimate(path, result.log_weights)
    tensors, _ = checkpoints.load(name) or ({}, {})
    return estimate(path, tensors["log_weights"])
