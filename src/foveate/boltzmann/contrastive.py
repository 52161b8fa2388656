"""Contrastive divergence and its persistent kin, as `(state, batch) -> (state, info)`.

The gradient of the log-likelihood is <.>_data - <.>_model; the methods differ in where the model's samples come from:
- `contrastive_divergence` (Hinton 2002): chains start at the batch and take k sweeps;
- `persistent` (Tieleman 2008): chains go on from where the last step left them;
- `fast_persistent` (Tieleman, Hinton 2009): the persistent chains are driven by slow + fast weights. The fast
  ones learn from the same gradient with their own, larger rate and decay by 19/20 a step, so that they push the chains
  away from where they have just been; what is learned is the slow weights alone.

A step reuses the tensors of the state it is given (as JAX's donated arguments): `clone` what you want to keep.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.ascent import Parameters, Statistics, StepSizes, ascend, centre_slope
from foveate.boltzmann.kernels import bernoulli_units, draw_key, mean_units
from foveate.boltzmann.rbm import BernoulliRBM, GaussianBernoulliRBM
from foveate.errors import BadInput
from foveate.keys import generator

Machine = GaussianBernoulliRBM | BernoulliRBM


class Rule(NamedTuple):
    """How a step learns.

    Attributes:
        rate: Of W, b and c.
        rate_log_sigma: Of log sigma (Gaussian units only).
        sweeps: Gibbs sweeps of the chains a step: k of CD-k.
        momentum: Share of the last change that is kept.
        weight_decay: Pull of W towards 0, per unit of rate.
        log_sigma_floor: log sigma never falls below it, so that a constant pixel buys no infinite likelihood.
        fast_rate: Rate of the fast weights (`fast_persistent`); 0 makes it `persistent`.
        fast_decay: What is left of the fast weights after a step.
        centre: How fast the offsets of the centred gradient follow the means, a step; 0 is the plain gradient.
        average: What the averaged weights keep of themselves a step; 0 means that they are the last weights.
    """

    rate: float = 0.01
    rate_log_sigma: float = 0.0
    sweeps: int = 1
    momentum: float = 0.0
    weight_decay: float = 0.0
    log_sigma_floor: float = -5.0
    fast_rate: float = 0.0
    fast_decay: float = 19 / 20
    centre: float = 0.01
    average: float = 0.999


class State(NamedTuple):
    """Everything that a step changes; `to_tensors` and `from_tensors` take it to a file and back.

    Attributes:
        parameters: What is learned.
        velocity: Their last change.
        fast: Fast weights, or None until `fast_persistent` is first used; their log_sigma is not used.
        average: Averaged parameters.
        mu: [visible] offset of v.
        offset_h: [hidden] offset of h.
        hidden: [chains, hidden] the persistent chains.
        gaussian: Whether the visible units are real.
        seed: Key of all random numbers.
        step: Steps taken.
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


Step = Callable[[State, Tensor, Rule], tuple[State, Info]]

LARGEST = 1e4
"""A parameter beyond this has exploded: no data standardised or binary calls for it."""


def init(machine: Machine, data: Float[Tensor, "batch visible"], chains: int, seed: int) -> State:
    """The state from which learning starts; the machine itself is left as it is.

    Args:
        machine: Gives the parameters to start from.
        data: Some data: chains start at it, the offsets at its means.
        chains: Number of persistent chains.
        seed: Key of all random numbers.
    """
    if data.ndim != 2 or data.shape[1] != machine.n_visible:
        raise BadInput(f"data of shape {list(data.shape)}: expected [N, {machine.n_visible}]")
    if len(data) == 0 or not torch.isfinite(data).all():
        raise BadInput(f"data of shape {list(data.shape)}: expected at least one row, and finite numbers only")
    gaussian = isinstance(machine, GaussianBernoulliRBM)
    log_sigma = machine.log_sigma if gaussian else torch.zeros_like(machine.b)
    parameters = Parameters(machine.W.data, machine.b.data, machine.c.data, log_sigma.data).clone()
    rows = torch.arange(chains, device=data.device) % len(data)
    hidden = bernoulli_units(_products_up(parameters, data[rows], gaussian), parameters.c, draw_key(seed, -1, 0))
    means = data.mean(0), machine.hidden_mean(data).mean(0)
    return State(parameters, parameters.zeros(), None, parameters.clone(), *means, hidden, gaussian, seed, 0)


def restart_chains(state: State, data: Float[Tensor, "batch visible"]) -> State:
    """Persistent chains begun anew from data, as many as there were."""
    p = state.parameters
    rows = torch.arange(len(state.hidden), device=data.device) % len(data)
    logits = _products_up(p, data[rows], state.gaussian)
    return state._replace(hidden=bernoulli_units(logits, p.c, draw_key(state.seed, -2 - state.step, 0)))


def to_tensors(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state as named tensors and what JSON holds, for a checkpoint; `from_tensors` is the way back."""
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
    return State(**parts, **vectors, **{name: meta[name] for name in ("gaussian", "seed", "step")})


def contrastive_divergence(
    state: State, batch: Float[Tensor, "batch visible"], rule: Rule
) -> tuple[State, Info]:
    """CD-k: the chains start at the batch's own hidden units."""
    p = state.parameters
    h_data = _products_up(p, batch, state.gaussian)
    mean = torch.empty_like(h_data)
    start = bernoulli_units(h_data, p.c, draw_key(state.seed, state.step, 0), mean)
    v, h_mean, h = _sweeps(p, start, rule.sweeps, state)
    return _learn(state, (batch, mean), (v, h_mean), _flips(start, h), state.hidden, rule)


def persistent(state: State, batch: Float[Tensor, "batch visible"], rule: Rule) -> tuple[State, Info]:
    """PCD: the chains go on from where they are."""
    p = state.parameters
    mean = mean_units(_products_up(p, batch, state.gaussian), p.c)
    v, h_mean, h = _sweeps(p, state.hidden, rule.sweeps, state)
    return _learn(state, (batch, mean), (v, h_mean), _flips(state.hidden, h), h, rule)


def fast_persistent(state: State, batch: Float[Tensor, "batch visible"], rule: Rule) -> tuple[State, Info]:
    """Fast PCD: as `persistent`, with chains driven by slow + fast weights."""
    state = state if state.fast else state._replace(fast=state.parameters.zeros())
    p, fast = state.parameters, state.fast
    mean = mean_units(_products_up(p, batch, state.gaussian), p.c)
    driven = Parameters(p.W + fast.W, p.b + fast.b, p.c + fast.c, p.log_sigma)
    v, h_mean, h = _sweeps(driven, state.hidden, rule.sweeps, state)
    return _learn(state, (batch, mean), (v, h_mean), _flips(state.hidden, h), h, rule)


METHODS: dict[str, Step] = {"cd": contrastive_divergence, "pcd": persistent, "fast_pcd": fast_persistent}


def _products_up(p: Parameters, v: Tensor, gaussian: bool) -> Tensor:
    """What reaches the hidden units from v, without their biases."""
    return (v * torch.exp(-2 * p.log_sigma)) @ p.W if gaussian else v @ p.W


def _sweeps(p: Parameters, h: Tensor, count: int, state: State) -> tuple[Tensor, Tensor, Tensor]:
    """`count` Gibbs sweeps from h: the last v, the mean and a draw of h given it."""
    v = mean = h
    for sweep in range(count):
        v = _visible_draw(p, h, state, 2 * sweep + 1)
        logits = _products_up(p, v, state.gaussian)
        mean = torch.empty_like(logits) if sweep == count - 1 else None
        h = bernoulli_units(logits, p.c, draw_key(state.seed, state.step, 2 * sweep + 2), mean)
    return v, mean, h


def _visible_draw(p: Parameters, h: Tensor, state: State, draw: int) -> Tensor:
    if not state.gaussian:
        return bernoulli_units(h @ p.W.T, p.b, draw_key(state.seed, state.step, draw))
    source = generator(state.seed, "visible", state.step, draw, device=h.device)
    noise = torch.randn(len(h), p.W.shape[0], generator=source, device=h.device)
    return torch.addmm(p.b, h, p.W.T).addcmul_(noise, p.log_sigma.exp())


def _flips(before: Tensor, after: Tensor) -> float:
    return float((before - after).square_().mean())


def _learn(
    state: State, data: tuple[Tensor, Tensor], model: tuple[Tensor, Tensor], motion: float, hidden: Tensor, rule: Rule
) -> tuple[State, Info]:
    """A step up from samples of (v, E[h | v]) under data and model."""
    statistics = _statistics(state, data, model, rule)
    p = state.parameters
    rate_log_sigma = rule.rate_log_sigma if state.gaussian else 0.0
    sizes = StepSizes(rule.rate, rate_log_sigma, rule.momentum, rule.weight_decay, rule.log_sigma_floor)
    if state.fast is not None:
        _learn_fast(state.fast, statistics, rule)
    change = ascend(p, state.velocity, statistics, sizes)
    weight = max(1 - rule.average, 1 / (state.step + 1))
    for kept, now in zip(state.average, p, strict=True):
        kept.lerp_(now, weight)
    at_floor = float((p.log_sigma <= rule.log_sigma_floor).float().mean()) if state.gaussian else 0.0
    info = Info(change, motion, float(data[1].mean()), float(model[1].mean()), at_floor, _failed(p, change))
    return state._replace(mu=statistics.mu, offset_h=statistics.offset_h, hidden=hidden, step=state.step + 1), info


def _statistics(state: State, data: tuple[Tensor, Tensor], model: tuple[Tensor, Tensor], rule: Rule) -> Statistics:
    """Differences of the means, with the offsets moved first.

    <(v - mu)(h - lambda)>_data - <...>_model = <v h>_data - <v h>_model - (<v>_data - <v>_model) lambda
    - mu (<h>_data - <h>_model), so that neither v nor h is copied to be centred.
    """
    (v_data, h_data), (v_model, h_model) = data, model
    v_mean, h_mean, h_model_mean = v_data.mean(0), h_data.mean(0), h_model.mean(0)
    dv, dh = v_mean - v_model.mean(0), h_mean - h_model_mean
    slope = v_data.T @ h_data
    torch.addmm(slope, v_model.T, h_model, beta=1 / len(v_data), alpha=-1 / len(v_model), out=slope)
    if rule.centre:
        mu = state.mu.lerp(v_mean, rule.centre)
        offset_h = state.offset_h.lerp((h_mean + h_model_mean) / 2, rule.centre)
        centre_slope(slope, dv, offset_h, mu, dh)
    else:
        mu, offset_h = torch.zeros_like(state.mu), torch.zeros_like(state.offset_h)
    dv_squared = v_data.square().mean(0) - v_model.square().mean(0) if state.gaussian else torch.zeros_like(mu)
    return Statistics(slope, dv, dv_squared, dh, mu, offset_h)


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
