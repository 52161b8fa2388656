"""Training of the ShiftNet: stochastic gradient descent on pairs that are drawn anew at every step.

The loss is the mean squared error of the predicted change, in units of `shiftnet.UNIT`. Squared errors of pairs whose
change is large are larger by nature, and a network that minimises their plain mean hardly cares for the last step
onto the object, from which iteration then drifts away. So each pair's squared error e^2 is weighted by its own change
d (root mean square over the four outputs),

    loss = mean over pairs of  (1 + w^2) / (w^2 + d^2) * mean over outputs of e^2,

which is the mean squared error itself for w -> infinity, and the relative one for w -> 0.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.shiftnet import UNIT, Canonical, ShiftNet
from foveate.runtime.progress import Progress, Quiet
from foveate.runtime.random import generator
from foveate.scenes.pyramid import Pyramids
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints
from foveate.training.labels import Objects
from foveate.training.networks import Books, Recipe, train_network
from foveate.training.pairs import FedBack, Pairs, draw_pairs, feed_back
from foveate.training.settings import ShiftNetSettings

Validate = Callable[[ShiftNet], dict[str, Any]]


def pair_loss(
    predicted: Float[Tensor, "n 4"], delta: Float[Tensor, "n 4"], settings: ShiftNetSettings
) -> Float[Tensor, ""]:
    """The weighted mean squared error; see the module's formula."""
    unit = torch.tensor(UNIT).to(predicted)
    error, size = (predicted - delta) / unit, (delta / unit).square().mean(1)
    square = settings.near_weight**2
    return ((1 + square) / (square + size) * error.square().mean(1)).mean()


def train_shiftnet(
    pyramids: Pyramids,
    objects: Objects,
    canonical: Canonical,
    settings: ShiftNetSettings,
    seed: int,
    progress: Progress | None = None,
    checkpoints: Checkpoints | NoCheckpoints | None = None,
    log: Callable[[dict[str, Any]], None] = lambda record: None,
    validate: Validate | None = None,
    start: ShiftNet | None = None,
    device: str | torch.device = "cpu",
    mean: Float[Tensor, "3 24 24"] | None = None,
) -> ShiftNet:
    """Trains a network from scratch, or from `start`, and returns the averaged one; goes on from a checkpoint.

    `pairs.closer` of the settings says which of the two networks it is. See `networks.train_network`; contexts are
    drawn on the CPU, and `canonical` (glimpse in [0, 1] -> v) computes on `device`; `mean` is as in `pairs.draw_pairs`.
    """
    memory = {"object": torch.zeros(0, dtype=torch.int64), "gaze": torch.zeros(0, 4, dtype=torch.float64)}

    def draw(step: int) -> Pairs:
        fed_back = FedBack(memory["object"], memory["gaze"])
        return draw_pairs(
            pyramids, objects, canonical, settings.pairs, fed_back, settings.batch, seed, step, device, mean
        )

    def loss(net: ShiftNet, pairs: Pairs) -> Float[Tensor, ""]:
        predicted = net(pairs.context, pairs.v)
        memory["object"], memory["gaze"] = feed_back(pairs, predicted.detach())
        return pair_loss(predicted, pairs.delta, settings)

    net, coarse = ShiftNet(settings.pairs.closer).channels_last(), settings.pairs.closer == 1.0
    if start is None:
        net.reset(generator(seed, "shiftnet"))
    else:
        net.load_state_dict(start.state_dict())
    name, title = ("shiftnet", "ShiftNet") if coarse else ("fine", "ShiftNet, closer")
    often = settings.report_every, settings.checkpoint_every
    books = Books(name, title, progress or Quiet(), checkpoints or NoCheckpoints(), log, *often)
    recipe = Recipe.sgd(settings.steps, settings.rate, settings.warm_up, settings.decay)
    return train_network(net.to(device), draw, loss, recipe, books, memory, validate)
