"""Training of the ShiftNet: stochastic gradient descent on pairs that are drawn anew at every step.

The loss is the mean squared error of the predicted change, in units of `shiftnet.UNIT`. Squared errors of pairs whose
change is large are larger by nature, and a network that minimises their plain mean hardly cares for the last step
onto the object, from which iteration then drifts away. So each pair's squared error e^2 is weighted by its own change
d (root mean square over the four outputs),

    loss = mean over pairs of  (1 + w^2) / (w^2 + d^2) * mean over outputs of e^2,

which is the mean squared error itself for w -> infinity, and the relative one for w -> 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from foveate.attention.shiftnet import UNIT, ShiftNet
from foveate.errors import NotFinite
from foveate.runtime.progress import Progress, Quiet
from foveate.runtime.random import generator
from foveate.scenes.pyramid import Pyramids
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints
from foveate.training.descent import descend, finite
from foveate.training.labels import Objects
from foveate.training.pairs import Pairs, draw_pairs, feed_back
from foveate.training.settings import ShiftNetSettings

Canonical = Callable[[Float[Tensor, "n 3 24 24"]], Float[Tensor, "n 3 24 24"]]


class TrainState(NamedTuple):
    """Everything that the next step depends on.

    Attributes:
        net: The weights that are trained.
        average: Their exponential moving average.
        velocity: The momentum of each weight, by name.
        fed_back: Gazes where predictions led.
        step: Steps done.
    """

    net: ShiftNet
    average: ShiftNet
    velocity: dict[str, Tensor]
    fed_back: Objects
    step: int


class TrainInfo(NamedTuple):
    """What one step found: the loss, and the norm of its gradient before clipping."""

    loss: float
    gradient_norm: float


def init(seed: int, closer: float = 1.0, device: str | torch.device = "cpu") -> TrainState:
    """A network with random weights."""
    net, average = _network(closer), _network(closer)
    net.reset(generator(seed, "shiftnet"))
    net, average = net.to(device), average.to(device)
    average.load_state_dict(net.state_dict())
    velocity = {name: torch.zeros_like(value) for name, value in net.named_parameters()}
    return TrainState(net, average.requires_grad_(False), velocity, _nothing(), 0)


def train_step(state: TrainState, pairs: Pairs, settings: ShiftNetSettings) -> tuple[TrainState, TrainInfo]:
    """One step of gradient descent; the networks are changed in place."""
    predicted = state.net(pairs.context, pairs.v)
    loss = pair_loss(predicted, pairs.delta, settings)
    if not torch.isfinite(loss):
        raise NotFinite(f"the ShiftNet's loss is {loss.item()} at step {state.step}: the learning rate is too high")
    parameters = dict(state.net.named_parameters())
    weights: list[Tensor] = list(parameters.values())
    gradients = torch.autograd.grad(loss, weights)
    average: list[Tensor] = list(state.average.parameters())
    velocity = [state.velocity[name] for name in parameters]
    norm = descend(weights, gradients, velocity, average, state.step, settings.steps, settings.descent)
    fed_back = feed_back(pairs, predicted.detach())
    return state._replace(fed_back=fed_back, step=state.step + 1), TrainInfo(loss.item(), norm)


def pair_loss(
    predicted: Float[Tensor, "n 4"], delta: Float[Tensor, "n 4"], settings: ShiftNetSettings
) -> Float[Tensor, ""]:
    """The weighted mean squared (or Huber) error; see the module's formula."""
    unit = torch.tensor(UNIT).to(predicted)
    error, size = (predicted - delta) / unit, (delta / unit).square().mean(1)
    squared = (
        error.square() if settings.loss == "mse" else 2 * F.huber_loss(error, torch.zeros_like(error), reduction="none")
    )
    square = settings.near_weight**2
    return ((1 + square) / (square + size) * squared.mean(1)).mean()


def train_shiftnet(
    pyramids: Pyramids,
    objects: Objects,
    canonical: Canonical,
    settings: ShiftNetSettings,
    seed: int,
    progress: Progress | None = None,
    checkpoints: Checkpoints | NoCheckpoints | None = None,
    log: Callable[[dict[str, Any]], None] = lambda record: None,
    validate: Callable[[ShiftNet], dict[str, Any]] | None = None,
    start: ShiftNet | None = None,
    name: str = "shiftnet",
    device: str | torch.device = "cpu",
) -> ShiftNet:
    """Trains a network from scratch, or from `start`; goes on from a checkpoint where there is one.

    Args:
        pyramids: The scenes.
        objects: Where the objects are.
        canonical: Glimpse in [0, 1] -> v as inference computes it.
        settings: How.
        seed: Of the weights and of the pairs.
        progress: Shows how far it is, and may stop it.
        checkpoints: Where the state is kept.
        log: Takes one record every `report_every` steps.
        validate: Averaged network -> figures to log, a few times in all.
        start: A network whose weights training starts from.
        name: Of the phase, its checkpoint and its records.
        device: Where the network is trained, and `canonical` gives v. Contexts are drawn on the CPU.

    Returns:
        The averaged network.
    """
    progress, checkpoints = progress or Quiet(), checkpoints or NoCheckpoints()
    closer = settings.pairs.closer
    state, losses = _restore(checkpoints, name, closer, device) or (_begin(seed, closer, start, device), [])
    validate_every = settings.report_every * max(settings.steps // (8 * settings.report_every), 1)
    with progress.phase("ShiftNet" if closer == 1.0 else "ShiftNet, closer", settings.steps) as tick:
        while state.step < settings.steps:
            fed_back = state.fed_back
            pairs = draw_pairs(
                pyramids, objects, canonical, settings.pairs, fed_back, settings.batch, seed, state.step, device
            )
            state, info = train_step(state, pairs, settings)
            losses.append(info.loss)
            last = state.step == settings.steps
            if state.step % settings.report_every == 0 or last:
                record = {"phase": name, "step": state.step, "loss": sum(losses) / len(losses)}
                losses.clear()
                if validate is not None and (state.step % validate_every == 0 or last):
                    record |= validate(state.average)
                log(record)
            if state.step % settings.checkpoint_every == 0 or last:
                _save(checkpoints, name, state, losses)
            tick(state.step, loss=info.loss)
    return finite(state.average, "the ShiftNet").eval()


def _network(closer: float) -> ShiftNet:
    return ShiftNet(closer).channels_last()


def _nothing() -> Objects:
    return Objects(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, dtype=torch.float64))


def _begin(seed: int, closer: float, start: ShiftNet | None, device: str | torch.device) -> TrainState:
    state = init(seed, closer, device)
    if start is not None:
        for net in (state.net, state.average):
            net.load_state_dict(start.state_dict())
    return state


def _save(checkpoints: Checkpoints | NoCheckpoints, name: str, state: TrainState, losses: list[float]) -> None:
    """Keeps the state, and the losses since the last record, so that the log too is that of an uninterrupted run."""
    tensors = {f"net.{key}": value for key, value in state.net.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in state.average.state_dict().items()}
    tensors |= {f"velocity.{key}": value for key, value in state.velocity.items()}
    tensors |= {"fed_back.image": state.fed_back.image, "fed_back.gaze": state.fed_back.gaze}
    checkpoints.save(name, tensors, {"step": state.step, "losses": losses})


def _restore(
    checkpoints: Checkpoints | NoCheckpoints, name: str, closer: float, device: str | torch.device
) -> tuple[TrainState, list[float]] | None:
    found = checkpoints.load(name)
    if found is None:
        return None
    tensors, meta = found
    state = init(0, closer, device)
    for prefix, net in (("net.", state.net), ("average.", state.average)):
        net.load_state_dict({key: tensors[prefix + key] for key in net.state_dict()})
    for key, value in state.velocity.items():
        value.copy_(tensors[f"velocity.{key}"])
    fed_back = Objects(tensors["fed_back.image"], tensors["fed_back.gaze"])
    return state._replace(fed_back=fed_back, step=int(meta["step"])), list(meta["losses"])
