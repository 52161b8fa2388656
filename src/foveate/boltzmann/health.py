"""Whether a Boltzmann machine is well: figures, and the stop when it isn't."""

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.rbm import BernoulliRBM, GaussianBernoulliRBM
from foveate.errors import NotFinite


class Diverged(NotFinite):
    """Learning left the finite numbers and was stopped.

    Attributes:
        quantity: What went first: log_sigma, b, c or W.
        step: The step at which it went.
    """

    def __init__(self, quantity: str, step: int, layer: str):
        super().__init__(
            f"learning of {layer} diverged at step {step}: {quantity} went first; the last good weights were kept "
            f"(a smaller rate helps)"
        )
        self.quantity, self.step = quantity, step


def health(
    machine: GaussianBernoulliRBM | BernoulliRBM,
    data: Float[Tensor, "batch visible"],
    validation: Float[Tensor, "held_out visible"] | None = None,
    log_sigma_floor: float = -float("inf"),
) -> dict[str, float]:
    """Figures that show a sick machine.

    Args:
        machine: The machine.
        data: What it was trained on, or some of it.
        validation: What it wasn't.
        log_sigma_floor: The floor it was trained with.

    Returns:
        always_on, always_off: shares of hidden units whose mean over `data` is above 0.999 or below 0.001.
        used: mean entropy of a hidden unit's mean, in bits.
        sigma_at_floor: share of the standard deviations at their floor (Gaussian units).
        sigma_smallest, sigma_median (Gaussian units).
        free_energy_gap: mean free energy on `validation` less that on `data`: nats lost off the training data.
    """
    mean = machine.hidden_mean(data).mean(0).double().clamp(1e-12, 1 - 1e-12)
    entropy = -(mean * mean.log2() + (1 - mean) * (1 - mean).log2())
    figures = {
        "always_on": float((mean > 0.999).double().mean()),
        "always_off": float((mean < 0.001).double().mean()),
        "used": float(entropy.mean()),
    }
    if isinstance(machine, GaussianBernoulliRBM):
        figures["sigma_at_floor"] = float((machine.log_sigma <= log_sigma_floor).double().mean())
        figures["sigma_smallest"] = float(machine.sigma.min())
        figures["sigma_median"] = float(machine.sigma.median())
    if validation is not None:
        figures["free_energy_gap"] = float(
            machine.free_energy(validation).double().mean() - machine.free_energy(data).double().mean()
        )
    return figures


def diversity(samples: Float[Tensor, "count visible"], data: Float[Tensor, "batch visible"]) -> float:
    """Mean distance between two samples over that between two data; near 0 the samples are all the same."""
    return float(mean_distance(samples) / mean_distance(data))


def mean_distance(points: Float[Tensor, "count visible"]) -> Tensor:
    """Mean Euclidean distance between two different rows."""
    if len(points) < 2:
        return torch.tensor(float("nan"))
    return torch.pdist(points.double()).mean()
