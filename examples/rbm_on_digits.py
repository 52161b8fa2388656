"""An RBM on handwritten digits, and log Z in three ways: exact sum, forward annealing, reverse annealing.

    python examples/rbm_on_digits.py [PICTURE.png]

An RBM of 64 visible and 16 hidden units has 2^16 states of its hidden layer, few enough for an exact sum. The figure
shows data, samples of the RBM, and how both ends of the bracket converge to the exact value as annealing gets longer.
"""

import sys

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from foveate import BernoulliRBM
from foveate.boltzmann.log_z.bracket import bracket_log_z
from foveate.boltzmann.log_z.exact import exact_samples, log_z_exact
from foveate.boltzmann.training.fit import train_rbm

EPOCHS = 60
TEMPERATURES = (10, 30, 100, 300, 1000)


def train(v: torch.Tensor) -> BernoulliRBM:
    """An RBM of 16 hidden units, by persistent contrastive divergence."""
    return train_rbm(BernoulliRBM(v.shape[1], 16), v, method="pcd", epochs=EPOCHS, seed=0, batch_size=50)


def tiles(v: torch.Tensor, across: int = 8) -> np.ndarray:
    """Vectors of 64 as one image of 8 x 8 digits, with a border around each."""
    digits = torch.nn.functional.pad(v[: across * across].reshape(-1, 8, 8), (1, 1, 1, 1))
    return digits.reshape(across, across, 10, 10).transpose(1, 2).reshape(10 * across, 10 * across).numpy()


def main(out: str = "rbm_on_digits.png") -> None:
    """Trains, evaluates, plots."""
    images = torch.tensor(load_digits().images, dtype=torch.float32).reshape(-1, 64)
    v = (images > 7).float()
    data, held_out = v[:1400], v[1400:]
    rbm = train(data)
    exact = log_z_exact(rbm)
    brackets = [bracket_log_z(rbm, data, chains=50, temperatures=count) for count in TEMPERATURES]
    nats = float(-rbm.free_energy(held_out).mean()) - exact
    print(f"log Z is {exact:.2f}; {nats:.2f} nats per held-out digit")
    for count, bracket in zip(TEMPERATURES, brackets, strict=True):
        print(f"{count:5d} temperatures: {bracket.lower:.2f} to {bracket.upper:.2f}")

    figure = Figure(figsize=(12, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
    for axes, rows, title in ((left, data, "data"), (middle, exact_samples(rbm, range(64), 0), "exact samples")):
        axes.imshow(1 - tiles(rows), cmap="gray")
        axes.set(title=title, xticks=[], yticks=[])
    right.axhline(exact, color="black", linewidth=1, label=f"sum over $2^{{16}}$ states: {exact:.2f}")
    for name, colour in (("forward", "#2563eb"), ("reverse", "#b27500")):
        ends = [getattr(bracket, name) for bracket in brackets]
        found, errors = [end.log_z for end in ends], [2 * end.stderr for end in ends]
        label = f"{name} annealing, ± 2 standard errors"
        right.errorbar(TEMPERATURES, found, errors, color=colour, capsize=4, marker="o", label=label)
    right.set(xscale="log", xlabel="temperatures", ylabel="log Z, nats", title=f"{nats:.1f} nats per held-out digit")
    right.legend(frameon=False)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
