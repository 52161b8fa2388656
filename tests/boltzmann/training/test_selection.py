"""Claims about the choice among a second layer's epochs."""

import pytest
import torch

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.log_z.exact import log_z_exact
from foveate.boltzmann.training.selection import Selection, held_out_gain
from foveate.runtime.random import generator

H1 = (torch.rand(30, 7, generator=generator(0, "h1")) < 0.4).float()


def machine(size: float, seed: int = 0) -> BernoulliRBM:
    rbm = BernoulliRBM(7, 5)
    for value in rbm.parameters():
        value.data.normal_(0, size, generator=generator(seed, "machine"))
    return rbm


def test_the_gain_is_the_second_layers_part_of_the_bound():
    rbm = machine(1.0)
    exact = float(-rbm.free_energy(H1).double().mean()) - log_z_exact(rbm)
    assert abs(held_out_gain(rbm, H1, 3000, 0) - exact) < 0.05


def test_the_best_of_the_epochs_looked_at_is_kept_though_others_come_after_it():
    good, worse, now = machine(0.0), machine(4.0), machine(4.0)
    good.b.data.copy_(torch.logit(H1.mean(0).clamp(0.05, 0.95)))
    selection = Selection(H1, 6, 3, 200, 0)
    assert selection.look(worse, 0)["held_out_gain"] < selection.look(good, 2)["held_out_gain"]
    assert selection.look(good, 3) == {}, "three looks at six epochs are every other epoch"
    selection.look(worse, 6)
    good.b.data.zero_()  # what was remembered is a copy
    selection.keep(now)
    assert torch.equal(now.b, torch.logit(H1.mean(0).clamp(0.05, 0.95))) and not now.W.any()


def test_it_goes_on_from_a_checkpoint():
    selection = Selection(H1, 4, 2, 50, 0)
    selection.look(machine(0.1), 0)
    tensors, meta = selection.state()
    again = Selection(H1, 4, 2, 50, 0, (tensors, meta))
    again.look(machine(6.0), 4)
    now = machine(2.0)
    again.keep(now)
    assert again.gain == selection.gain and torch.equal(now.W, machine(0.1).W)


@pytest.mark.parametrize(("epochs", "looks"), [(5, 0), (0, 3)])
def test_without_looks_the_last_epoch_stays(epochs, looks):
    selection, now = Selection(H1, epochs, looks, 50, 0), machine(1.0)
    assert all(selection.look(machine(0.1), epoch) == {} for epoch in range(epochs + 1))
    selection.keep(now)
    assert selection.state() == ({}, {}) and torch.equal(now.W, machine(1.0).W)
