"""A posterior over gazes with two modes: two similar objects, and a model with one appearance.

    python examples/posterior_with_two_modes.py [PICTURE.png]

The patch model is the simplest possible: an RBM with W = 0, whose mean is the object. The image shows the object
twice, so the posterior has two modes. Draws of Hamiltonian Monte Carlo are compared with the density summed on a grid.
"""

import math
import sys

import numpy as np
import torch
from matplotlib.figure import Figure

from foveate.attention.posterior.conditionals import PatchConditionals
from foveate.attention.posterior.sample import sample
from foveate.attention.settings import GazePrior, PosteriorSettings
from foveate.boltzmann.dbn import PatchScale
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.demo.digits import handwriting
from foveate.demo.strokes import draw
from foveate.scenes.gaze import apply, from_scale_angle
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

SIDE, SCALE, PLACES, HEIGHT = 24, 30.0, (60.0, 96.0), 50.0
REGION = (44.0, 42.0, 112.0, 58.0)
TEMPERATURE = 200.0
"""Divides the log-likelihood, since pixels are not independent. Without it a mode would be 0.01 pixels wide."""
SETTINGS = PosteriorSettings(
    chains=8, warm_up=150, draws=600, dispersion=0.3, temperature=TEMPERATURE,
    prior=GazePrior(log_scale=(math.log(SCALE), 0.05), angle=(0.0, 0.05), region=REGION),
)  # fmt: skip


def gaze(x: torch.Tensor, y: torch.Tensor, log_s: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Gazes [..., 4] from centres, log half-sides and angles."""
    return from_scale_angle(log_s.exp(), angle, x, y)


def paint(places: tuple[float, ...]) -> np.ndarray:
    """The same digit at several positions, on grey."""
    picture = np.full((100, 156, 3), 0.2)
    for x in places:
        draw(picture, handwriting()[0][13], np.array([SCALE, 0.0, x, HEIGHT]), np.array([0.95, 0.75, 0.3]))
    return picture


def expects(picture: np.ndarray, u: torch.Tensor) -> PatchConditionals:
    """A patch model with one appearance: the glimpse of the gaze u [1, 4] in the image."""
    seen = glimpses(Pyramids.from_images([picture]), np.zeros(1, np.int64), u, SIDE)
    machine = GaussianBernoulliRBM(3 * SIDE * SIDE, 1)
    model = PatchConditionals(machine, PatchScale(torch.full((3,), 0.4), torch.full((3,), 0.2)))
    machine.b.copy_(model.scale.standardise(seen)[0])
    return model


def summed(pyramids: Pyramids, model: PatchConditionals, x: torch.Tensor) -> torch.Tensor:
    """The posterior density of the centre's x, with the other coordinates summed out on a grid."""
    y, away = torch.linspace(REGION[1], REGION[3], 13), torch.linspace(-0.15, 0.15, 7)
    parts = torch.meshgrid(x, y, math.log(SCALE) + away, away, indexing="ij")
    u = gaze(*parts).double().reshape(-1, 4)
    seen = model.scale.standardise(glimpses(pyramids, np.zeros(len(u), np.int64), u, SIDE))
    misfit = (seen - model.machine.b).square().sum(1).double() / (4 * TEMPERATURE)  # variance 2 sigma^2
    prior = ((parts[2] - math.log(SCALE)).square() + parts[3].square()).reshape(-1) / (2 * 0.05**2)
    mass = torch.softmax(-misfit - prior, 0).reshape(len(x), -1).sum(1)
    return mass / (mass.sum() * (x[1] - x[0]))


def main(out: str = "posterior_with_two_modes.png") -> None:
    """Samples, sums, plots."""
    picture = np.clip(paint(PLACES) + np.random.default_rng(0).normal(0, 0.03, (100, 156, 3)), 0, 1)
    pyramids = Pyramids.from_images([picture])
    model = expects(paint(PLACES[:1]), torch.tensor([[SCALE, 0.0, PLACES[0], HEIGHT]], dtype=torch.float64))
    start = torch.tensor([[SCALE, 0.0, sum(PLACES) / 2, HEIGHT]], dtype=torch.float64)
    posterior = sample(pyramids, np.zeros(1, np.int64), start, ["two modes"], model, SETTINGS)
    draws = posterior.draws[0].flatten(0, 1)
    x = torch.linspace(REGION[0], REGION[2], 91)
    density = summed(pyramids, model, x)
    share = float((draws[:, 2] > sum(PLACES) / 2).double().mean())
    print(f"R-hat of tx {posterior.rhat[0, 2]:.3f}; {share:.2f} of the draws at the second digit")

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(picture, extent=(0, picture.shape[1], picture.shape[0], 0))
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    for square in apply(draws[::16], corners).numpy():
        left.plot(*square.T, color="#7ea9ff", alpha=0.25, linewidth=1)
    left.scatter(*draws[:, 2:].T.numpy(), s=3, color="#ffd60a", alpha=0.3, linewidths=0)
    left.set(title="draws of the gaze: centres, and some of the windows", xticks=[], yticks=[])
    right.hist(draws[:, 2].numpy(), bins=50, density=True, color="#bcd0f5", label=f"{len(draws):,} draws")
    right.plot(x, density, color="#1f5fd6", label="summed on a grid")
    right.set(title="posterior of the centre", xlabel="tx, pixels", yticks=[])
    right.legend(frameon=False)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
