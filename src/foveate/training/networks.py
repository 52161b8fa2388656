"""The loop that trains every network: a minibatch a step, an optimiser, and an average of the weights, the result.

With g the gradient, shrunk to a norm of at most `clip`, and p the step's number from 0, stochastic gradient descent is

    velocity <- momentum velocity + g,    weights <- weights - rate(p) velocity     (`torch.optim.SGD`),
    average <- k average + (1 - k) weights,    k = min(decay, (1 + p) / (10 + p))   (`AveragedModel`),

where rate(p) rises linearly for `warm_up` steps and falls to zero along a cosine. A recipe may name another optimiser.

What a step depends on is its number, the weights, the optimiser's state and a `memory`, tensors that drawing and loss
carry from step to step. All of it is in the checkpoint, so a resumed training ends with the bits of an uninterrupted
one, and with its log.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.swa_utils import AveragedModel

from foveate.errors import BadInput, NotFinite
from foveate.runtime.progress import Progress, Quiet
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints

Network = TypeVar("Network", bound=nn.Module)
Batch = TypeVar("Batch")
Memory = dict[str, Tensor]
Tensors = list[Tensor] | tuple[Tensor, ...]
MOMENTUM = 0.9
CLIP = 2.0  # largest norm of a gradient: the product of the ShiftNet's two streams is not tame without


class Recipe(NamedTuple):
    """How a network is optimised."""

    # makes one for parameters; its learning rate is set anew before each step
    optimiser: Callable[[Iterable[nn.Parameter]], Optimizer]
    steps: int  # minibatches
    rate: float  # learning rate after the warm-up
    warm_up: int  # steps in which it rises to that
    clip: float  # largest norm of a gradient
    decay: float  # what the averaged weights keep of themselves at a step, once there have been many

    @classmethod
    def sgd(cls, steps: int, rate: float, warm_up: int, decay: float) -> "Recipe":
        """Stochastic gradient descent with momentum."""
        return cls(partial(SGD, lr=rate, momentum=MOMENTUM, foreach=True), steps, rate, warm_up, CLIP, decay)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: a linear warm-up times a cosine to zero."""
        warm = min(1.0, (step + 1) / self.warm_up)
        return self.rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


class Books(NamedTuple):
    """Where the course of a training is kept, and how often."""

    name: str  # of its checkpoint and its records
    title: str  # of its progress and in messages
    progress: Progress = Quiet()  # shows how far it is, and may stop it
    checkpoints: Checkpoints | NoCheckpoints = NoCheckpoints()  # keep the state
    log: Callable[[dict[str, Any]], None] = lambda record: None  # takes a record every `report_every` steps
    report_every: int = 100  # steps between records
    checkpoint_every: int = 200  # steps between checkpoints


class TrainState(NamedTuple):
    """A network in training: its weights, their average, the optimiser with its state, and how many steps are done."""

    net: nn.Module
    average: AveragedModel
    optimiser: Optimizer
    step: int


def init(net: nn.Module, recipe: Recipe) -> TrainState:
    """Before the first step; the network is changed in place by those that follow, and begins the average."""
    average = AveragedModel(net, multi_avg_fn=_averaging(recipe.decay), use_buffers=True)
    average.n_averaged.fill_(1)  # so that the first weights count: 0 would have the first step overwrite them
    return TrainState(net.train(), average.requires_grad_(False).eval(), recipe.optimiser(net.parameters()), 0)


def train_step(state: TrainState, loss: Tensor, recipe: Recipe, title: str) -> TrainState:
    """One step down the gradient of `loss`; raises `NotFinite` where that is no finite number."""
    if not torch.isfinite(loss):
        raise NotFinite(f"{title}: the loss is {loss.item()} at step {state.step}: the learning rate is too high")
    parameters = list(state.net.parameters())
    loss.backward()
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if norm > recipe.clip:
        nn.utils.clip_grads_with_norm_(parameters, recipe.clip, norm)
    for group in state.optimiser.param_groups:
        group["lr"] = recipe.rate_at(state.step)
    state.optimiser.step()
    state.optimiser.zero_grad()
    state.average.update_parameters(state.net)
    return state._replace(step=state.step + 1)


def train_network(
    net: Network,
    draw: Callable[[int], Batch],
    loss: Callable[[Network, Batch], Tensor],
    recipe: Recipe,
    books: Books,
    memory: Memory | None = None,
    validate: Callable[[Network], dict[str, Any]] | None = None,
) -> Network:
    """Trains a network in place, and returns the averaged one; goes on from a checkpoint where there is one.

    Args:
        draw: The minibatch of a step, keyed on the step's number and on `memory`.
        memory: Tensors that `draw` and `loss` carry from step to step, by replacing what lies under a name.
        validate: Averaged network -> figures to log, a few times in all.

    Raises:
        NotFinite: The loss or the weights are no finite numbers.
    """
    memory = {} if memory is None else memory
    state, losses = _restored(init(net, recipe), memory, books)
    averaged = cast(Network, state.average.module)
    validate_every = books.report_every * max(recipe.steps // (8 * books.report_every), 1)
    with books.progress.phase(books.title, recipe.steps) as tick:
        while state.step < recipe.steps:
            value = loss(net, draw(state.step))
            state = train_step(state, value, recipe, books.title)
            losses.append(value.item())
            last = state.step == recipe.steps
            if state.step % books.report_every == 0 or last:
                record = {"phase": books.name, "step": state.step, "loss": sum(losses) / len(losses)}
                losses.clear()
                if validate is not None and (state.step % validate_every == 0 or last):
                    record |= validate(averaged)
                books.log(record)
            if state.step % books.checkpoint_every == 0 or last:
                _save(state, memory, losses, books)
            tick(state.step, loss=value.item())
    if not all(torch.isfinite(value).all() for value in averaged.parameters()):
        raise NotFinite(f"{books.title}: the weights are no longer finite: the learning rate is too high")
    return averaged


def _averaging(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """average <- k average + (1 - k) value, with k of the module's docstring; counts are taken over as they are."""

    @torch.no_grad()
    def blend(averages: Tensors, values: Tensors, seen: Tensor | int) -> None:
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - min(decay, int(seen) / (9 + int(seen))))
        else:
            torch._foreach_copy_(averages, values)

    return blend


def _save(state: TrainState, memory: Memory, losses: list[float], books: Books) -> None:
    """Keeps the state, and the losses since the last record, so that the log too is that of an uninterrupted run."""
    tensors = {f"net.{key}": value for key, value in state.net.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in state.average.module.state_dict().items()}
    for number, values in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{key}": value for key, value in values.items()}
    tensors |= {f"memory.{key}": value for key, value in memory.items()}
    books.checkpoints.save(books.name, tensors, {"step": state.step, "losses": losses})


def _restored(state: TrainState, memory: Memory, books: Books) -> tuple[TrainState, list[float]]:
    """The state of the checkpoint, and its losses; as given where there is none. `memory` is filled in place."""
    found = books.checkpoints.load(books.name)
    if found is None:
        return state, []
    tensors, meta = found
    if not any(name.startswith("optimiser.") for name in tensors):
        raise BadInput(f"{books.title} was started by an earlier version: start again with --overwrite")
    memory.update(_under("memory.", tensors))
    state.net.load_state_dict(_under("net.", tensors))
    state.average.module.load_state_dict(_under("average.", tensors))
    step, kept = int(meta["step"]), state.optimiser.state_dict()
    state.average.n_averaged.fill_(1 + step)
    for name, value in _under("optimiser.", tensors).items():
        number, _, key = name.partition(".")
        kept["state"].setdefault(int(number), {})[key] = value
    state.optimiser.load_state_dict(kept)
    return state._replace(step=step), list(meta["losses"])


def _under(prefix: str, tensors: Memory) -> Memory:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
