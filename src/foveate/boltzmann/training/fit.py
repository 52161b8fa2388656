"""One machine trained from beginning to end: epochs, schedule, guard, resuming."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.machine import Machine
from foveate.boltzmann.training.contrastive import METHODS, CDState, Diverged, gather, init, scatter
from foveate.boltzmann.training.parallel import ALONE, Processes
from foveate.boltzmann.training.settings import Method, Plan, Rule
from foveate.runtime.random import generator

Batches = Callable[[int], Float[Tensor, "rows visible"]]
Tick = Callable[[int, dict[str, float]], None]
Save = Callable[[CDState, int], None]
Kind = TypeVar("Kind", bound=Machine)  # training gives back what it was given


def fit(
    machine: Kind,
    data: Batches | Float[Tensor, "rows visible"],
    plan: Plan,
    seed: int,
    tick: Tick = lambda step, figures: None,
    after_epoch: Save = lambda state, epochs_done: None,
    resume: tuple[CDState, int] | None = None,
    name: str = "the machine",
    processes: Processes = ALONE,
) -> Kind:
    """Train `machine` in place and leave the averaged weights in it.

    Args:
        machine: Where to start from.
        data: [N, V], or a function that gives the data of an epoch.
        plan, seed: How; the key of the order of the data and of all sampling.
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
    good = state.average.like()
    for epoch in range(first, plan.epochs):
        rows = rows if epoch == first else rows_of(epoch)
        try:
            state = _epoch(state, rows, plan, epoch, tick, name, processes)
        except Diverged:
            put(machine, good)
            raise
        put(good, state.average)
        after_epoch(gather(state, processes), epoch + 1)
    put(machine, state.average)
    return machine


def _epoch(
    state: CDState, rows: Tensor, plan: Plan, epoch: int, tick: Tick, name: str, processes: Processes
) -> CDState:
    order = torch.randperm(len(rows), generator=generator(state.seed, "order", epoch)).to(rows.device)
    steps = plan.steps(len(rows))
    for number in range(steps):
        start = number * plan.batch_size
        rule = plan.rule_at((epoch + number / steps) / plan.epochs)
        state, info = METHODS[plan.method](state, rows[order[start : start + plan.batch_size]], rule, processes)
        if info.failed:
            raise Diverged(info.failed, state.step, name)
        tick(epoch * steps + number + 1, {"motion": info.motion, "on": info.hidden_data, "change": info.change})
    return state


def put(machine: Machine, parameters: Machine) -> None:
    """Copy the parameters of a machine of the same kind and size."""
    machine.load_state_dict(parameters.state_dict())


def train_rbm(
    machine: Kind,
    data: Tensor | np.ndarray,
    method: Method = "fast_pcd",
    epochs: int = 20,
    seed: int = 0,
    rule: Rule | None = None,
    processes: Processes = ALONE,
    **plan: Any,
) -> Kind:
    """Train one machine on a matrix, in one call.

    Args:
        machine: Of any kind, trained in place. Without weights, as it is made, all of its hidden units are alike and
            would stay so: it then starts from the data's moments and small random weights.
        data: [N, V], a numpy array or a tensor of any type of numbers.
        method, epochs: "cd", "pcd" or "fast_pcd", and how many passes over the data.
        seed: Key of all randomness.
        rule: The step's settings; the machine's `usual_rule` without it. Its log_sigma_floor is in units of the data's
            standard deviation, the root mean square over all columns.
        processes: Who learns together, as `parallel.join` gives them; this one alone by default.
        plan: Further fields of `Plan`.

    Raises:
        BadInput: The machine doesn't take the data, or a field of the plan is out of bounds.
        Diverged: A parameter is not finite or has exploded; the machine then holds the last good weights.
    """
    rows = machine.rows(data)
    whole = replace(Plan(rule or Rule(), method, epochs), **plan)
    if not any(value.any() for value in machine.parameters() if value.ndim > 1):
        start = machine.like()
        start.begin(rows, seed)
        for own, value in zip(machine.parameters(), start.parameters(), strict=True):
            if not own.any():  # what is not zero stays as its owner has set it
                own.copy_(value)
    if rule is None:
        whole = replace(whole, rule=machine.usual_rule(whole.epochs * whole.steps(len(rows))))
    return fit(machine, rows, replace(whole, rule=scaled(whole.rule, rows)), seed, processes=processes)


def scaled(rule: Rule, data: Float[Tensor, "rows visible"]) -> Rule:
    """The rule with a floor of log sigma that is relative to the data's own scale."""
    deviation = float(data.std(0, correction=0).square().mean().sqrt())
    return replace(rule, log_sigma_floor=rule.log_sigma_floor + math.log(deviation)) if deviation else rule
