"""Claims about the loop that trains every network."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from foveate.errors import BadInput, FoveateError, NotFinite
from foveate.runtime.progress import Quiet
from foveate.runtime.random import generator
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints
from foveate.training.networks import Books, Recipe, init, train_network, train_step

SGD = Recipe.sgd(20, rate=0.1, warm_up=5, decay=0.6)._replace(clip=0.5)
ADAMW = Recipe(partial(torch.optim.AdamW, lr=1.0, weight_decay=0.02), 12, 4e-3, 3, 5.0, 0.9)


def test_the_learning_rate_warms_up_and_ends_at_zero():
    recipe = Recipe.sgd(1000, rate=0.1, warm_up=100, decay=0.999)
    assert recipe.rate_at(0) < 0.002 and math.isclose(recipe.rate_at(100), 0.1, rel_tol=0.03)
    assert recipe.rate_at(1000) < 1e-9


def test_steps_are_those_of_the_formula():
    """Of a quadratic, in float64 by hand: gradients clipped, momentum, the average's weights; steps of both kinds."""
    net, recipe = nn.Linear(3, 1, bias=False).double(), SGD
    w, goal = torch.tensor([[[0.5, -1.4, 0.6]], [[0.3, -2.0, 0.7]]], dtype=torch.float64)
    net.load_state_dict({"weight": w})
    state = init(net, recipe)
    velocity, average, norms = torch.zeros_like(w), w.clone(), []
    for p in range(20):
        state = train_step(state, (net.weight - goal).square().sum(), recipe, "test")
        g = 2 * (w - goal)
        norms.append(float(g.norm()))
        velocity = 0.9 * velocity + g * min(1.0, 0.5 / norms[-1])
        w = w - recipe.rate_at(p) * velocity
        k = min(0.6, (1 + p) / (10 + p))
        average = k * average + (1 - k) * w
        assert torch.allclose(net.weight, w, rtol=1e-5, atol=1e-6), p
        assert torch.allclose(state.average.module.weight, average, rtol=1e-5, atol=1e-6), p
    assert state.step == 20 and min(norms) < 0.5 < max(norms)


class Normed(nn.Module):
    """With running statistics, and a count of batches that is no floating-point number."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(4), nn.Linear(4, 1)
        with torch.no_grad():
            for value in self.out.parameters():
                value.normal_(generator=generator(0, "start"))

    def forward(self, x):
        return self.out(self.norm(x))[:, 0]


def trained(recipe, checkpoints, log, stop=None):
    """Targets depend on what earlier steps predicted, which the memory carries."""
    memory = {"last": torch.zeros(8)}

    def draw(step):
        return torch.randn(8, 4, generator=generator(0, "batch", step))

    def loss(net, x):
        predicted = net(x)
        target, memory["last"] = x.sum(1) + 0.1 * memory["last"], predicted.detach()
        return (predicted - target).square().mean()

    class Stop(Quiet):
        def show(self, tick):
            if tick.done == stop:
                raise FoveateError("stop")

    books = Books("net", "the net", Stop(), checkpoints, log, report_every=3, checkpoint_every=4)
    return train_network(Normed(), draw, loss, recipe, books, memory, lambda net: {"bias": float(net.out.bias)})


@pytest.mark.parametrize("recipe", [ADAMW, SGD._replace(steps=12)])
def test_stopped_anywhere_it_goes_on_to_the_same_weights_and_log(recipe, tmp_path):
    log = []
    whole = trained(recipe, Checkpoints(tmp_path / "whole"), log.append)
    assert [record["step"] for record in log] == [3, 6, 9, 12] and all("bias" in record for record in log)
    for stop in (2, 5, 8, 11):
        kept, again = Checkpoints(tmp_path / f"{stop}"), []
        with pytest.raises(FoveateError, match="stop"):
            trained(recipe, kept, again.append, stop)
        from_checkpoint = []
        resumed = trained(recipe, kept, from_checkpoint.append)
        assert from_checkpoint == [record for record in log if record["step"] > stop // 4 * 4]
        for name, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), name
    assert not whole.training and not any(value.requires_grad for value in whole.parameters())


def test_running_statistics_are_averaged_as_the_weights_are_and_counts_are_taken_over():
    net = Normed()
    state = init(net, ADAMW)
    state = train_step(state, net(torch.randn(8, 4, generator=generator(0, "x"))).square().mean(), ADAMW, "test")
    ours, its = state.average.module.norm, net.norm
    assert torch.allclose(ours.running_mean, 0.9 * its.running_mean) and int(ours.num_batches_tracked) == 1


def test_what_diverges_ends_in_one_line():
    for rate in (1e30, math.nan):
        recipe = Recipe.sgd(12, rate, warm_up=1, decay=0.999)
        with pytest.raises(NotFinite, match=r"the net: the .* learning rate is too high"):
            trained(recipe, NoCheckpoints(), lambda record: None)


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.save("net", {"velocity.0": torch.zeros(3)}, {"step": 4, "losses": []})
    with pytest.raises(BadInput, match="earlier version"):
        trained(ADAMW, kept, lambda record: None)
