"""A Gaussian deep belief network trained greedily: the first layer on patches, the second on the first's hidden units.

(Hinton, Osindero, Teh 2006; no fine-tuning of the whole.) The second layer sees fresh draws of h1 given v, one a patch
and epoch: it then climbs E_q[log p*(h1)], its part of the variational bound.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.machine import Machine
from foveate.boltzmann.training.contrastive import CDState, from_tensors, to_tensors
from foveate.boltzmann.training.fit import Kind, fit, put
from foveate.boltzmann.training.selection import Selection
from foveate.boltzmann.training.settings import STANDARD, GDBNSettings, Plan
from foveate.boltzmann.training.starts import start_from_combs, start_small
from foveate.boltzmann.training.thermometers import start_from_prior
from foveate.runtime.progress import Progress, Quiet, Tick
from foveate.runtime.random import generator, key
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints

Patches = Callable[[int], Float[Tensor, "rows visible"]]
LOOKS = 3  # epochs of the second layer whose held-out bound is estimated, beside the start; more tell little more


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
            return start_from_combs(data, settings.n_hidden1, seed, settings.first.rule.log_sigma_floor)

    blank = partial(GaussianBernoulliRBM, validation.shape[1], settings.n_hidden1)
    floor = settings.first.rule.log_sigma_floor
    layer = _Layer("grbm", settings.first, key(seed, "grbm"), floor, settings.save_every)
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
    looks = LOOKS, settings.look_temperatures
    layer = _Layer("rbm", settings.second, key(seed, "rbm"), -float("inf"), settings.save_every, *looks)
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
            resume = from_tensors(machine, there, kept[1]), kept[1]["epochs"]
        looks = self.looks, self.look_temperatures
        selection = Selection(validation, self.plan.epochs, *looks, self.seed, kept, progress)
        sample = rows(0)[: max(len(validation), 256)]
        steps, now = self.plan.epochs * self.plan.steps(len(rows(0))), blank().to(device)
        if not kept:
            found = selection.look(machine, 0)
            log({"phase": self.phase, "epoch": 0, **health(machine, sample, validation, self.floor), **found})

        with progress.phase({"grbm": "first layer", "rbm": "second layer"}[self.phase], total=steps) as bar:

            def after_epoch(state: CDState, epochs: int) -> None:
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


def health(
    machine: Machine,
    data: Float[Tensor, "batch visible"],
    validation: Float[Tensor, "held_out visible"],
    log_sigma_floor: float,
) -> dict[str, float]:
    """Figures that show a sick machine.

    Args:
        machine: The machine.
        data: What it was trained on, or some of it.
        validation: What it wasn't.
        log_sigma_floor: The floor it was trained with.

    Returns:
        always_on, always_off: shares of hidden units whose mean over `data` is above 0.999 or below 0.001.
        used: mean entropy of a hidden unit's mean, in bits.
        what the machine itself has to say.
        free_energy_gap: mean free energy on `validation` less that on `data`: nats lost off the training data.
    """
    mean = machine.hidden_mean(data).mean(0).double().clamp(1e-12, 1 - 1e-12)
    entropy = -(mean * mean.log2() + (1 - mean) * (1 - mean).log2())
    figures = {
        "always_on": float((mean > 0.999).double().mean()),
        "always_off": float((mean < 0.001).double().mean()),
        "used": float(entropy.mean()),
    }
    gap = machine.free_energy(validation).double().mean() - machine.free_energy(data).double().mean()
    return {**figures, **machine.figures(log_sigma_floor), "free_energy_gap": float(gap)}
