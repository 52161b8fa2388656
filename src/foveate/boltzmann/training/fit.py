"""One machine trained from beginning to end: epochs, schedule, guard, resuming."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.health import Diverged
from foveate.boltzmann.rbm import GaussianBernoulliRBM
from foveate.boltzmann.training.contrastive import (
    METHODS,
    Info,
    Machine,
    State,
    check_data,
    gather,
    init,
    restart_chains,
    scatter,
)
from foveate.boltzmann.training.gradient import Parameters
from foveate.boltzmann.training.parallel import ALONE, Processes
from foveate.boltzmann.training.settings import Method, Plan, Rule
from foveate.boltzmann.training.starts import start_binary, start_small
from foveate.runtime.random import generator

Batches = Callable[[int], Float[Tensor, "rows visible"]]
Tick = Callable[[int, dict[str, float]], None]
Save = Callable[[State, int], None]


def fit(
    machine: Machine,
    data: Batches | Float[Tensor, "rows visible"],
    plan: Plan,
    seed: int,
    tick: Tick = lambda step, figures: None,
    after_epoch: Save = lambda state, epochs_done: None,
    resume: tuple[State, int] | None = None,
    name: str = "the machine",
    processes: Processes = ALONE,
) -> Machine:
    """Train `machine` in place and leave the averaged weights in it.

    Args:
        machine: Where to start from.
        data: [N, V], or a function that gives the data of an epoch.
        plan: How.
        seed: Key of the order of the data and of all sampling.
        tick: Called after every step with the number of steps done and figures; may raise to stop.
        after_epoch: Called after every epoch with the whole state and the number of epochs done.
        resume: What `after_epoch` was given when the earlier run stopped.
        name: What messages call the machine.
        processes: Who learns together (`parallel.join`): all are given the same arguments and end with the same bits.

    Raises:
        Diverged: A parameter is not finite or has exploded; the machine then holds the last good weights.
    """
    rows_of = data if callable(data) else lambda epoch: data
    first = resume[1] if resume else 0
    rows = rows_of(first)
    state = scatter(resume[0], processes) if resume else init(machine, rows, plan.chains, seed, processes)
    good = state.average.clone()
    for epoch in range(first, plan.epochs):
        rows = rows if epoch == first else rows_of(epoch)
        if epoch and plan.method_at(epoch) != plan.method_at(epoch - 1):
            state = restart_chains(state, rows, processes)
        try:
            state = _epoch(state, rows, plan, epoch, tick, name, processes)
        except Diverged:
            put(machine, good)
            raise
        for kept, now in zip(good, state.average, strict=True):
            kept.copy_(now)
        after_epoch(gather(state, processes), epoch + 1)
    put(machine, state.average)
    return machine


def _epoch(state: State, rows: Tensor, plan: Plan, epoch: int, tick: Tick, name: str, processes: Processes) -> State:
    step = METHODS[plan.method_at(epoch)]
    order = torch.randperm(len(rows), generator=generator(state.seed, "order", epoch)).to(rows.device)
    steps = plan.steps(len(rows))
    for number in range(steps):
        start = number * plan.batch_size
        rule = plan.rule_at((epoch + number / steps) / plan.epochs)
        state, info = step(state, rows[order[start : start + plan.batch_size]], rule, processes)
        if info.failed:
            raise Diverged(info.failed, state.step, name)
        tick(epoch * steps + number + 1, _figures(info))
    return state


def _figures(info: Info) -> dict[str, float]:
    return {"motion": info.motion, "on": info.hidden_data, "change": info.change}


def put(machine: Machine, parameters: Parameters) -> None:
    """Copy parameters into a machine."""
    for name, value in parameters._asdict().items():
        if hasattr(machine, name):
            getattr(machine, name).data.copy_(value)


def train_rbm(
    machine: Machine,
    data: Float[Tensor, "rows visible"],
    method: Method = "fast_pcd",
    epochs: int = 20,
    seed: int = 0,
    rule: Rule | None = None,
    processes: Processes = ALONE,
    **plan: Any,
) -> Machine:
    """Train one machine on a matrix, in one call.

    Args:
        machine: A `BernoulliRBM` or `GaussianBernoulliRBM`, trained in place. With W = 0, as it is made, all of its
            hidden units are alike and would stay so: it then starts from the data's moments and small random weights.
        data: [N, V] zeros and ones, or numbers.
        method: "cd", "pcd" or "fast_pcd".
        epochs: Passes over the data.
        seed: Key of all randomness.
        rule: The step's settings; `usual_rule` without it.
        processes: Who learns together, as `parallel.join` tells; this one alone by default.
        plan: Further fields of `Plan`.
    """
    check_data(machine, data)
    whole = replace(Plan(rule or Rule(), method, epochs), **plan)
    if not machine.W.any():
        _begin(machine, data, seed)
    if rule is None:
        whole = replace(whole, rule=usual_rule(machine, whole.epochs * whole.steps(len(data))))
    return fit(machine, data, whole, seed, processes=processes)


def usual_rule(machine: Machine, steps: int) -> Rule:
    """Settings that serve where nothing is known: the averaged weights are those of the last twentieth of all steps.

    Args:
        machine: Its kind decides.
        steps: How many there will be.
    """
    average = min(max(1 - 20 / max(steps, 1), 0.0), 0.999)
    if isinstance(machine, GaussianBernoulliRBM):
        return Rule(rate=0.1, rate_log_sigma=0.01, fast_rate=0.1, average=average)
    return Rule(rate=0.2, fast_rate=0.2, average=average)


def _begin(machine: Machine, data: Tensor, seed: int) -> None:
    """Give a new machine a start; what is not zero stays as its owner has set it."""
    start = start_small if isinstance(machine, GaussianBernoulliRBM) else start_binary
    for name, value in start(data, machine.n_hidden, seed).named_parameters():
        if not getattr(machine, name).any():
            getattr(machine, name).data.copy_(value)
