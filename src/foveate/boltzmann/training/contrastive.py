"""Contrastive divergence and its persistent kin, as `(state, batch) -> (state, info)`.

The gradient of the log-likelihood is <.>_data - <.>_model; the methods differ in where the model's samples come from:
- `contrastive_divergence` (Hinton 2002): chains start at the batch and take k sweeps;
- `persistent` (Tieleman 2008): chains go on from where the last step left them;
- `fast_persistent` (Tieleman, Hinton 2009): the persistent chains are driven by slow + fast weights. The fast
  ones learn from the same gradient with their own, larger rate and decay by 19/20 a step, so that they push the chains
  away from where they have just been; what is learned is the slow weights alone.

A step reuses the tensors of the state it is given (as JAX's donated arguments): `clone` what you want to keep. Several
processes take it together (`parallel`): each is given the whole batch and works on its share of rows and chains.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.draws import bernoulli_units, gaussian_units, mean_units
from foveate.boltzmann.rbm import BernoulliRBM, GaussianBernoulliRBM
from foveate.boltzmann.training.gradient import Parameters, Statistics, StepSizes, ascend
from foveate.boltzmann.training.moments import Samples, moments, statistics
from foveate.boltzmann.training.parallel import ALONE, Processes
from foveate.boltzmann.training.settings import Rule
from foveate.errors import BadInput
from foveate.runtime.random import draw_key

Machine = GaussianBernoulliRBM | BernoulliRBM


class State(NamedTuple):
    """Everything that a step changes; `to_tensors` and `from_tensors` take it to a file and back.

    Attributes:
        parameters: What is learned.
        velocity: Their last change.
        fast: Fast weights, or None until `fast_persistent` is first used; their log_sigma is not used.
        average: Averaged parameters.
        mu: [visible] offset of v.
        offset_h: [hidden] offset of h.
        hidden: [chains, hidden] the persistent chains, of which this process has its share.
        gaussian: Whether the visible units are real.
        seed: Key of all random numbers.
        step: Steps taken.
        n_chains: Persistent chains over all processes.
    """

    parameters: Parameters
    velocity: Parameters
    fast: Parameters | None
    average: Parameters
    mu: Float[Tensor, " visible"]
    offset_h: Float[Tensor, " hidden"]
    hidden: Float[Tensor, "chains hidden"]
    gaussian: bool
    seed: int
    step: int
    n_chains: int


class Info(NamedTuple):
    """What a step says of itself.

    Attributes:
        change: Root mean square change of W.
        motion: Share of the chains' hidden units that flipped.
        hidden_data: Mean of the hidden units on the batch.
        hidden_model: The same on the chains.
        at_floor: Share of the log sigma at the floor.
        failed: The first quantity that is no longer finite or has exploded ("log_sigma", "b", "c", "W"), or "".
    """

    change: float
    motion: float
    hidden_data: float
    hidden_model: float
    at_floor: float
    failed: str


Step = Callable[..., tuple[State, Info]]  # of (state, batch, rule, processes)

LARGEST = 1e4
"""A parameter beyond this has exploded: no data standardised or binary calls for it."""


def check_data(machine: Machine, data: Tensor) -> None:
    """Refuse data that a machine can't learn from.

    Raises:
        BadInput: They are of another shape, none, not all finite, or, for binary units, not between 0 and 1.
    """
    if data.ndim != 2 or data.shape[1] != machine.n_visible:
        raise BadInput(f"data of shape {list(data.shape)}: expected [N, {machine.n_visible}]")
    if len(data) == 0 or not torch.isfinite(data).all():
        raise BadInput(f"data of shape {list(data.shape)}: expected at least one row, and finite numbers only")
    if isinstance(machine, BernoulliRBM) and not 0 <= float(data.min()) <= float(data.max()) <= 1:
        raise BadInput(f"data from {float(data.min()):g} to {float(data.max()):g}: binary units take 0 to 1")


def init(
    machine: Machine, data: Float[Tensor, "batch visible"], chains: int, seed: int, processes: Processes = ALONE
) -> State:
    """The state from which learning starts; the machine itself is left as it is.

    Args:
        machine: Gives the parameters to start from.
        data: Some data: chains start at it, the offsets at its means.
        chains: Number of persistent chains, over all processes.
        seed: Key of all random numbers.
        processes: Who learns together; the machine is the first one's.
    """
    check_data(machine, data)
    gaussian = isinstance(machine, GaussianBernoulliRBM)
    log_sigma = machine.log_sigma if gaussian else torch.zeros_like(machine.b)
    parameters = Parameters(machine.W.data, machine.b.data, machine.c.data, log_sigma.data).clone()
    processes.agree(parameters)
    means = data.mean(0), mean_units(_products_up(parameters, data, gaussian), parameters.c).mean(0)
    nothing = parameters.c.new_empty(0, len(parameters.c))
    average = parameters.clone()
    state = State(parameters, parameters.zeros(), None, average, *means, nothing, gaussian, seed, 0, chains)
    return state._replace(hidden=_begin_chains(state, data, -1, processes))


def restart_chains(state: State, data: Float[Tensor, "batch visible"], processes: Processes = ALONE) -> State:
    """Persistent chains begun anew from data, as many as there were."""
    return state._replace(hidden=_begin_chains(state, data, -2 - state.step, processes))


def _begin_chains(state: State, data: Tensor, step: int, processes: Processes) -> Tensor:
    """This process's chains, each begun at the row of its number."""
    mine, p = processes.share(state.n_chains), state.parameters
    rows = torch.arange(mine.start, mine.stop, device=data.device) % len(data)
    logits = _products_up(p, data[rows], state.gaussian)
    return bernoulli_units(logits, p.c, draw_key(state.seed, step, 0), first=mine.start)


def gather(state: State, processes: Processes) -> State:
    """The state with every process's chains, as a checkpoint keeps it."""
    return state._replace(hidden=processes.whole(state.hidden, state.n_chains))


def scatter(state: State, processes: Processes) -> State:
    """The way back: the state with this process's share of the chains."""
    mine = processes.share(state.n_chains)
    return state._replace(hidden=state.hidden[mine].clone())  # aligned as chains are that were drawn: the same bits


def to_tensors(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A whole state as named tensors and what JSON holds, for a checkpoint; `from_tensors` is the way back."""
    tensors = {"mu": state.mu, "offset_h": state.offset_h, "hidden": state.hidden}
    for part in ("parameters", "velocity", "fast", "average"):
        if getattr(state, part) is not None:
            tensors |= {f"{part}.{name}": value for name, value in getattr(state, part)._asdict().items()}
    return tensors, {"gaussian": state.gaussian, "seed": state.seed, "step": state.step}


def from_tensors(tensors: dict[str, Tensor], meta: dict[str, Any]) -> State:
    """The state that `to_tensors` took apart."""
    parts: dict[str, Any] = {"fast": None}
    for part in ("parameters", "velocity", "fast", "average"):
        if f"{part}.W" in tensors:
            parts[part] = Parameters(*(tensors[f"{part}.{name}"] for name in Parameters._fields))
    vectors = {name: tensors[name] for name in ("mu", "offset_h", "hidden")}
    numbers = {name: meta[name] for name in ("gaussian", "seed", "step")}
    return State(**parts, **vectors, **numbers, n_chains=len(vectors["hidden"]))


def contrastive_divergence(
    state: State, batch: Float[Tensor, "batch visible"], rule: Rule, processes: Processes = ALONE
) -> tuple[State, Info]:
    """CD-k: the chains start at the batch's own hidden units."""
    p, mine = state.parameters, processes.share(len(batch))
    rows = batch[mine]
    h_data = _products_up(p, rows, state.gaussian)
    mean = torch.empty_like(h_data)
    start = bernoulli_units(h_data, p.c, draw_key(state.seed, state.step, 0), mean, mine.start)
    v, h_mean, h = _sweeps(p, start, rule.sweeps, state, mine.start)
    samples = Samples(rows, mean, v, h_mean, start, h, len(batch), len(batch))
    return _learn(state, samples, state.hidden, rule, processes)


def persistent(
    state: State, batch: Float[Tensor, "batch visible"], rule: Rule, processes: Processes = ALONE
) -> tuple[State, Info]:
    """PCD: the chains go on from where they are."""
    return _persist(state, state.parameters, batch, rule, processes)


def fast_persistent(
    state: State, batch: Float[Tensor, "batch visible"], rule: Rule, processes: Processes = ALONE
) -> tuple[State, Info]:
    """Fast PCD: as `persistent`, with chains driven by slow + fast weights."""
    p, fast = state.parameters, state.fast or state.parameters.zeros()
    state = state._replace(fast=fast)
    driven = Parameters(p.W + fast.W, p.b + fast.b, p.c + fast.c, p.log_sigma)
    return _persist(state, driven, batch, rule, processes)


METHODS: dict[str, Step] = {"cd": contrastive_divergence, "pcd": persistent, "fast_pcd": fast_persistent}


def _persist(state: State, driving: Parameters, batch: Tensor, rule: Rule, processes: Processes) -> tuple[State, Info]:
    p, rows = state.parameters, batch[processes.share(len(batch))]
    mean = mean_units(_products_up(p, rows, state.gaussian), p.c)
    first = processes.share(state.n_chains).start
    v, h_mean, h = _sweeps(driving, state.hidden, rule.sweeps, state, first)
    samples = Samples(rows, mean, v, h_mean, state.hidden, h, len(batch), state.n_chains)
    return _learn(state, samples, h, rule, processes)


def _products_up(p: Parameters, v: Tensor, gaussian: bool) -> Tensor:
    """What reaches the hidden units from v, without their biases."""
    return (v * torch.exp(-2 * p.log_sigma)) @ p.W if gaussian else v @ p.W


def _sweeps(p: Parameters, h: Tensor, count: int, state: State, first: int) -> tuple[Tensor, Tensor, Tensor]:
    """`count` Gibbs sweeps of chains numbered from `first`: the last v, the mean and a draw of h given it."""
    v = mean = h
    for sweep in range(count):
        down, up = (draw_key(state.seed, state.step, 2 * sweep + draw) for draw in (1, 2))
        v = h @ p.W.T
        if state.gaussian:
            v = gaussian_units(v, p.b, p.log_sigma.exp(), down, first)
        else:
            v = bernoulli_units(v, p.b, down, first=first)
        logits = _products_up(p, v, state.gaussian)
        wanted = torch.empty_like(logits) if sweep == count - 1 else None
        h = bernoulli_units(logits, p.c, up, wanted, first)
        mean = h if wanted is None else wanted
    return v, mean, h


def _learn(state: State, samples: Samples, hidden: Tensor, rule: Rule, processes: Processes) -> tuple[State, Info]:
    """A step up from samples of (v, E[h | v]) under data and model."""
    m = moments(samples, state.gaussian, processes)
    found = statistics(m, state.mu, state.offset_h, rule.centre)
    p = state.parameters
    rate_log_sigma = rule.rate_log_sigma if state.gaussian else 0.0
    weight = max(1 - rule.average, 1 / (state.step + 1))
    sizes = StepSizes(rule.rate, rate_log_sigma, rule.momentum, rule.weight_decay, rule.log_sigma_floor, average=weight)
    if state.fast is not None:
        _learn_fast(state.fast, found, rule)
    change = ascend(p, state.velocity, state.average, found, sizes)
    at_floor = float((p.log_sigma <= rule.log_sigma_floor).float().mean()) if state.gaussian else 0.0
    on = float(m.h_data.mean()), float(m.h_model.mean())
    info = Info(change, float(m.motion), *on, at_floor, _failed(p, change))
    return state._replace(mu=found.mu, offset_h=found.offset_h, hidden=hidden, step=state.step + 1), info


def _learn_fast(fast: Parameters, s: Statistics, rule: Rule) -> None:
    """The fast weights follow the gradient of the same (centred) energy, and fade."""
    fast.W.mul_(rule.fast_decay).add_(s.W, alpha=rule.fast_rate)
    fast.b.mul_(rule.fast_decay).add_(s.v - s.W @ s.offset_h, alpha=rule.fast_rate)
    fast.c.mul_(rule.fast_decay).add_(s.h - s.W.T @ s.mu, alpha=rule.fast_rate)


def _failed(p: Parameters, change: float) -> str:
    """The first quantity that is out of bounds, those that fail first in practice asked first."""
    for name in ("log_sigma", "b", "c"):
        if not float(getattr(p, name).abs().max()) < LARGEST:
            return name
    return "" if change < LARGEST else "W"
