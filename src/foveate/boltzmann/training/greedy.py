"""A Gaussian deep belief network trained greedily: the first layer on patches, the second on the first's hidden units.

(Hinton, Osindero, Teh 2006; no fine-tuning of the whole.) The second layer sees fresh draws of h1 given v, one a patch
and epoch: it then climbs E_q[log p*(h1)], its part of the variational bound. Of either layer an epoch is kept only
where it explains held-out patches better than the start does (`selection`).
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.dbn import FirstLayer, GaussianDBN, PatchScale, first_layer_of
from foveate.boltzmann.machine import Machine
from foveate.boltzmann.training.bands import start_from_bands
from foveate.boltzmann.training.contrastive import CDState, from_tensors, to_tensors
from foveate.boltzmann.training.fit import Batches, Kind, fit, put
from foveate.boltzmann.training.selection import Selection
from foveate.boltzmann.training.settings import STANDARD, GDBNSettings, Plan
from foveate.boltzmann.training.starts import start_from_combs, start_small
from foveate.boltzmann.training.thermometers import start_from_prior
from foveate.boltzmann.training.whitening import Layout
from foveate.runtime.progress import Progress, Quiet, Tick
from foveate.runtime.random import generator, key
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints

FOLDS = 5  # of the patches that a start by bands is made from
LOOKS = 3  # epochs of the second layer whose held-out bound is estimated, beside the start; more add little
# Of the first layer, which contrastive divergence makes better, then worse, as its sigmas fall; and times as many
# temperatures, since it mixes worse.
FIRST_LOOKS, LONGER = 5, 4


def train_gdbn(
    patches: Batches,
    validation: Float[Tensor, "held_out visible"],
    settings: GDBNSettings = STANDARD,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoints: Checkpoints | NoCheckpoints | None = None,
    log: Callable[[dict[str, Any]], None] = lambda record: None,
    mean: Float[Tensor, "3"] | None = None,
    std: Float[Tensor, "3"] | None = None,
    folds: Callable[[], Sequence[Float[Tensor, "_ visible"]]] | None = None,
    layout: Layout | None = None,
) -> GaussianDBN:
    """Train a GDBN layer by layer; resumed from `checkpoints`, it ends with the same bits.

    Args:
        patches: Gives the standardised [N, D] patches of an epoch, keyed on its number alone.
        validation: Patches never trained on, for the figures and the choice of the second layer's epoch; on the device
            where everything is to be computed.
        settings, seed: How; the key of all randomness.
        progress, checkpoints: Show and keep the phases "grbm" and "rbm"; a tick raises `Interrupted`.
        log: Gets one record an epoch: phase, epoch, figures.
        mean, std: [3] by which the patches were standardised, kept in the model.
        folds: Gives the patches that a start by bands is made from, those of an object all in one fold, on the CPU;
            without it the rows of the first epoch are dealt out.
        layout: How the numbers of a patch lie, and whether mirror images are as likely; None where they are no pixels.

    Raises:
        Diverged: A parameter is not finite or has exploded.
    """
    progress, checkpoints = progress or Quiet(), checkpoints or NoCheckpoints()

    def first() -> FirstLayer:
        with progress.phase("first layer's start", total=settings.start_epochs + 1) as tick:
            if settings.start == "bands":
                found = folds() if folds else [patches(0)[fold::FOLDS].cpu() for fold in range(FOLDS)]
                return start_from_bands(found, settings.n_hidden1, settings.bands, settings.gates, layout)
            data = _gather(patches, settings.start_epochs, tick).cpu()
            if settings.start == "small":
                return start_small(data, settings.n_hidden1, seed)
            return start_from_combs(data, settings.n_hidden1, seed, settings.first.rule.log_sigma_floor)

    def hidden(epoch: int) -> Tensor:
        return grbm.sample_hidden(patches(epoch), generator(seed, "h1", epoch))

    def second() -> BernoulliRBM:
        with progress.phase("second layer's start", total=settings.start_epochs + 1) as tick:
            means = _gather(lambda epoch: grbm.hidden_mean(patches(epoch)), settings.start_epochs, tick)
            below = copy.deepcopy(grbm).cpu()
            return start_from_prior(below, means.cpu(), settings.n_hidden2, key(seed, "second layer"))

    def second_of(tensors: Mapping[str, Tensor]) -> BernoulliRBM:
        rbm = BernoulliRBM(grbm.n_hidden, settings.n_hidden2)
        rbm.load_state_dict(dict(tensors))
        return rbm

    layer = _Layer("grbm", "first layer", settings, seed, progress, checkpoints, log)
    floor = settings.first.rule.log_sigma_floor
    looking = Looking(FIRST_LOOKS, LONGER * settings.look_temperatures)
    grbm = layer.train(first, first_layer_of, settings.first, patches, validation, looking, floor)
    layer = _Layer("rbm", "second layer", settings, seed, progress, checkpoints, log)
    held_out = grbm.sample_hidden(validation, generator(seed, "h1", "validation"))
    looking = Looking(LOOKS, settings.look_temperatures)
    rbm = layer.train(second, second_of, settings.second, hidden, held_out, looking)
    return GaussianDBN.of(grbm, rbm, PatchScale(mean, std)).to(validation.device)


def _gather(rows: Batches, epochs: int, tick: Tick) -> Tensor:
    parts = []
    for epoch in range(epochs):
        parts.append(rows(epoch))
        tick(epoch + 1)
    return torch.cat(parts)


class Looking(NamedTuple):
    """Epochs whose held-out bound is estimated, beside the start (`selection`), and the annealing that estimates it."""

    looks: int
    temperatures: int


class _Layer(NamedTuple):
    """One layer's training with its checkpoints, bars and records."""

    phase: str
    title: str
    settings: GDBNSettings
    seed: int
    progress: Progress
    checkpoints: Checkpoints | NoCheckpoints
    log: Callable[[dict[str, Any]], None]

    def train(
        self, start: Callable[[], Kind], of: Callable[[Mapping[str, Tensor]], Kind], plan: Plan, rows: Batches,
        validation: Tensor, looking: Looking, floor: float = -math.inf,
    ) -> Kind:  # fmt: skip
        """The machine that `start` makes, trained; or as the checkpoints have it, which `of` its tensors makes anew."""
        device, kept, seed = validation.device, self.checkpoints.load(self.phase), key(self.seed, self.phase)
        if kept and self.checkpoints.done(self.phase):
            return of(kept[0]).to(device)
        resume = None
        if kept:
            there = {name: tensor.to(device) for name, tensor in kept[0].items()}
            mine = {n.removeprefix("parameters."): t for n, t in kept[0].items() if n.startswith("parameters.")}
            machine = of(mine).to(device)
            resume = from_tensors(machine, there, kept[1]), kept[1]["epochs"]
        else:
            machine = start().to(device)
        selection = Selection(validation, plan.epochs, *looking, seed, kept, self.progress)
        sample, steps, now = rows(0)[: max(len(validation), 256)], plan.steps(len(rows(0))), machine.like()

        def record(machine: Machine, epoch: int) -> None:
            found = selection.look(machine, epoch)
            self.log({"phase": self.phase, "epoch": epoch, **health(machine, sample, validation, floor), **found})

        def after_epoch(state: CDState, epochs: int) -> None:
            put(now, state.average)
            record(now, epochs)
            if epochs % self.settings.save_every == 0:  # after the record, which a resumed run would else drop
                tensors, meta = to_tensors(state)
                best, gain = selection.state()
                self.checkpoints.save(self.phase, tensors | best, {**meta, **gain, "epochs": epochs})

        if not kept:
            record(machine, 0)
        with self.progress.phase(self.title, total=plan.epochs * steps) as bar:
            show: Any = bar
            fit(machine, rows, plan, seed, lambda step, figures: show(step, **figures), after_epoch, resume, self.phase)
        selection.keep(machine)
        self.checkpoints.finish(self.phase, dict(machine.state_dict()))
        return machine


def health(
    machine: Machine,
    data: Float[Tensor, "batch visible"],
    validation: Float[Tensor, "held_out visible"],
    log_sigma_floor: float,
) -> dict[str, float]:
    """Figures that show a sick machine, from some of the data that it was trained on and data that it wasn't.

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
