"""A Gaussian deep belief network trained greedily: the first layer on patches, the second on the first's hidden units.

(Hinton, Osindero, Teh 2006; no fine-tuning of the whole.) The second layer sees fresh draws of h1 given v, one a patch
and epoch: it then climbs E_q[log p*(h1)], its part of the variational bound.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.health import health
from foveate.boltzmann.rbm import BernoulliRBM, GaussianBernoulliRBM
from foveate.boltzmann.training.contrastive import Rule, State, from_tensors, to_tensors
from foveate.boltzmann.training.fit import Machine, Plan, fit, put
from foveate.boltzmann.training.selection import Selection
from foveate.boltzmann.training.starts import start_from_combs, start_small
from foveate.boltzmann.training.thermometers import start_from_prior
from foveate.errors import BadInput
from foveate.runtime.progress import Progress, Quiet, Tick
from foveate.runtime.random import generator, key
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints

Patches = Callable[[int], Float[Tensor, "rows visible"]]


@dataclass(frozen=True)
class GDBNSettings:
    """How a GDBN is trained; the defaults are the preset "standard"."""

    n_hidden1: int = 2000  # binary units of the first layer
    n_hidden2: int = 2000  # of the second; a start by combs needs nearly as many as the first has
    start: str = "combs"  # first layer's start: "combs" along principal directions, or "small" random weights
    start_epochs: int = 16  # epochs' patches that make the start: directions, combs, levels
    log_sigma_floor: float = -4.0  # of the first layer, in units of the data's deviation
    batch_size: int = 128
    chains: int = 128  # persistent chains

    epochs1: int = 0  # of contrastive divergence after the start; a start by combs is better left alone
    rate1: float = 1e-3  # of W, b and c
    rate_log_sigma: float = 1e-3
    sweeps1: int = 1  # k of CD-k
    persistent_from1: float = 1.0  # share of the epochs after which CD goes on as PCD
    momentum1: float = 0.9
    weight_decay1: float = 0.0
    average1: float = 0.99  # what the averaged weights keep, a step

    method2: str = "fast_pcd"  # cd, pcd or fast_pcd
    epochs2: int = 60
    rate2: float = 1e-2
    fast_rate2: float = 1e-2
    sweeps2: int = 1
    momentum2: float = 0.0
    weight_decay2: float = 0.0
    average2: float = 0.99
    looks2: int = 3  # epochs at which the held-out bound is estimated, beside the start; the best one is kept
    look_temperatures2: int = 500  # of each estimate

    save_every: int = 10  # epochs between checkpoints

    def __post_init__(self) -> None:
        if self.start not in ("combs", "small"):
            raise BadInput(f"start = {self.start!r}: expected combs or small")
        if self.start_epochs < 1 or self.save_every < 1:
            raise BadInput("start_epochs and save_every: expected 1 or more")
        if self.looks2 < 0 or self.look_temperatures2 < 1:
            raise BadInput("looks2: expected 0 or more; look_temperatures2: 1 or more")

    def plan1(self) -> Plan:
        """The first layer's plan."""
        rule = Rule(
            rate=self.rate1, rate_log_sigma=self.rate_log_sigma, sweeps=self.sweeps1, momentum=self.momentum1,
            weight_decay=self.weight_decay1, log_sigma_floor=self.log_sigma_floor, average=self.average1,
        )  # fmt: skip
        return Plan(rule, "cd", self.epochs1, self.batch_size, self.chains, persistent_from=self.persistent_from1)

    def plan2(self) -> Plan:
        """The second layer's plan."""
        rule = Rule(
            rate=self.rate2, sweeps=self.sweeps2, momentum=self.momentum2, weight_decay=self.weight_decay2,
            fast_rate=self.fast_rate2, average=self.average2,
        )  # fmt: skip
        return Plan(rule, self.method2, self.epochs2, self.batch_size, self.chains)


Kind = TypeVar("Kind", bound=Machine)  # a layer's training gives back what it was given

STANDARD = GDBNSettings()
QUICK = GDBNSettings(n_hidden1=500, n_hidden2=500, epochs2=20, start_epochs=4)


def train_gdbn(
    patches: Patches,
    validation: Float[Tensor, "held_out visible"],
    settings: GDBNSettings = STANDARD,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoints: Checkpoints | NoCheckpoints | None = None,
    log: Callable[[dict[str, Any]], None] = lambda record: None,
    mean: Float[Tensor, "3"] | None = None,
    std: Float[Tensor, "3"] | None = None,
    start: GaussianBernoulliRBM | None = None,
) -> GaussianDBN:
    """Train a GDBN layer by layer; resumed from `checkpoints`, it ends with the same bits.

    Args:
        patches: Gives the standardised [N, D] patches of an epoch, keyed on its number alone.
        validation: Patches never trained on, for the figures and the choice of the second layer's epoch; on the device
            where everything is to be computed.
        settings: How.
        seed: Key of all randomness.
        progress: Shows phases "grbm" and "rbm"; a tick raises `Interrupted`.
        checkpoints: Keeps the state of each phase.
        log: Gets one record an epoch: phase, epoch, figures.
        mean, std: [3] by which the patches were standardised, kept in the model.
        start: A first layer to start from, in place of what `settings.start` would make.

    Raises:
        Diverged: A parameter is not finite or has exploded.
    """
    progress, checkpoints = progress or Quiet(), checkpoints or NoCheckpoints()
    grbm = _first_layer(patches, validation, settings, seed, progress, checkpoints, log, start)
    rbm = _second_layer(grbm, patches, validation, settings, seed, progress, checkpoints, log)
    model = GaussianDBN(grbm.n_visible, grbm.n_hidden, rbm.n_hidden).to(validation.device)
    model.grbm.load_state_dict(grbm.state_dict())
    model.rbm.load_state_dict(rbm.state_dict())
    for name, value in (("mean", mean), ("std", std)):
        if value is not None:
            getattr(model.patch, name).copy_(value)
    return model


def _first_layer(patches, validation, settings, seed, progress, checkpoints, log, given) -> GaussianBernoulliRBM:
    def start() -> GaussianBernoulliRBM:
        if given is not None:
            return given
        with progress.phase("first layer's start", total=settings.start_epochs + 1) as tick:
            data = _gather(patches, settings.start_epochs, tick).cpu()
            if settings.start == "small":
                return start_small(data, settings.n_hidden1, seed)
            return start_from_combs(data, settings.n_hidden1, seed, settings.log_sigma_floor)

    blank = partial(GaussianBernoulliRBM, validation.shape[1], settings.n_hidden1)
    floor = settings.log_sigma_floor
    layer = _Layer("grbm", settings.plan1(), key(seed, "grbm"), floor, settings.save_every)
    return layer.train(start, blank, patches, validation, progress, checkpoints, log)


def _second_layer(grbm, patches, validation, settings, seed, progress, checkpoints, log) -> BernoulliRBM:
    def hidden(epoch: int) -> Tensor:
        return grbm.sample_hidden(patches(epoch), generator(seed, "h1", epoch))

    blank = partial(BernoulliRBM, grbm.n_hidden, settings.n_hidden2)

    def start() -> BernoulliRBM:
        with progress.phase("second layer's start", total=settings.start_epochs + 1) as tick:
            means = _gather(lambda epoch: grbm.hidden_mean(patches(epoch)), settings.start_epochs, tick)
            below = copy.deepcopy(grbm).cpu()
            return start_from_prior(below, means.cpu(), settings.n_hidden2, key(seed, "second layer"))

    held_out = grbm.sample_hidden(validation, generator(seed, "h1", "validation"))
    looks = settings.looks2, settings.look_temperatures2
    layer = _Layer("rbm", settings.plan2(), key(seed, "rbm"), -float("inf"), settings.save_every, *looks)
    return layer.train(start, blank, hidden, held_out, progress, checkpoints, log)


def _gather(rows: Patches, epochs: int, tick: Tick) -> Tensor:
    parts = []
    for epoch in range(epochs):
        parts.append(rows(epoch))
        tick(epoch + 1)
    return torch.cat(parts)


@dataclass(frozen=True)
class _Layer:
    """One layer's training with its checkpoints, bars and records."""

    phase: str
    plan: Plan
    seed: int
    floor: float
    save_every: int
    looks: int = 0
    look_temperatures: int = 1

    def train(
        self, start: Callable[[], Kind], blank: Callable[[], Kind], rows, validation, progress, checkpoints, log
    ) -> Kind:
        device, kept = validation.device, checkpoints.load(self.phase)
        if kept and checkpoints.done(self.phase):
            return _from_state_dict(blank().to(device), kept[0])
        machine, resume = (blank() if kept else start()).to(device), None
        if kept:
            there = {name: tensor.to(device) for name, tensor in kept[0].items()}
            resume = from_tensors(there, kept[1]), kept[1]["epochs"]
        looks = self.looks, self.look_temperatures
        selection = Selection(validation, self.plan.epochs, *looks, self.seed, kept, progress)
        sample = rows(0)[: max(len(validation), 256)]
        steps, now = self.plan.epochs * self.plan.steps(len(rows(0))), blank().to(device)
        if not kept:
            found = selection.look(machine, 0)
            log({"phase": self.phase, "epoch": 0, **health(machine, sample, validation, self.floor), **found})

        with progress.phase({"grbm": "first layer", "rbm": "second layer"}[self.phase], total=steps) as bar:

            def after_epoch(state: State, epochs: int) -> None:
                put(now, state.average)
                found = selection.look(now, epochs)
                log({"phase": self.phase, "epoch": epochs, **health(now, sample, validation, self.floor), **found})
                if epochs % self.save_every == 0:  # after the record, which a resumed run would else drop
                    tensors, meta = to_tensors(state)
                    best, gain = selection.state()
                    checkpoints.save(self.phase, tensors | best, {**meta, **gain, "epochs": epochs})

            fit(machine, rows, self.plan, self.seed, lambda step, figures: bar(step, **figures), after_epoch,
                resume, self.phase)  # fmt: skip
        selection.keep(machine)
        checkpoints.finish(self.phase, dict(machine.state_dict()))
        return machine


def _from_state_dict(machine: Kind, tensors: dict[str, Tensor]) -> Kind:
    machine.load_state_dict(tensors)
    return machine
