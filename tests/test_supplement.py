"""What the paper's supplement states binds exactly: each number here is its own, written out and not imported.

(Tang, Srivastava, Salakhutdinov 2014.) The network's table of weights is held by tests/attention/test_shiftnet.py, the
formulas of energies and bounds by sums over all states in tests/boltzmann.
"""

import inspect

import pytest
import torch

from foveate.attention.shiftnet import ShiftNet
from foveate.boltzmann import BernoulliRBM, GaussianBernoulliRBM, Rule
from foveate.boltzmann.training.contrastive import METHODS, contrastive_divergence, fast_persistent, init, persistent
from foveate.boltzmann.training.settings import STANDARD
from foveate.cli.evaluate import bound
from foveate.evaluation.bound import evaluate_bound
from foveate.scenes.glimpse import CONTEXT_EXTENT, CONTEXT_SIZE, PATCH_SIZE
from foveate.training.networks import Recipe
from foveate.training.settings import PRESETS, ShiftNetSettings
from foveate.training.shiftnet import pair_loss


def test_a_bound_s_log_z_is_annealed_by_100_chains_through_50_000_distributions():
    for function in (bound, evaluate_bound):
        told = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
        assert (told["chains"], told["temperatures"]) == (100, 50_000)


def test_fast_weights_keep_nineteen_twentieths_a_step():
    """With a gradient of zero they decay alone, and what is learned stays."""
    v = torch.zeros(8, 3)
    machine = BernoulliRBM(3, 2)
    machine.b.fill_(-1e4)  # neither data nor chains have a unit on, whatever the fast weights say
    state, _ = fast_persistent(init(machine, v, 8, 0), v, Rule(rate=0.1, fast_rate=0.1, centre=0.0))
    for value in state.fast.parameters():
        value.fill_(1.0)
    before = state.fast.W.clone()
    state, _ = fast_persistent(state, v, Rule(rate=0.1, fast_rate=0.1, centre=0.0))
    assert torch.equal(state.fast.W, before * torch.tensor(0.95)) and 0.95 == 19 / 20
    assert not state.machine.W.any()


def test_the_first_layer_learns_by_contrastive_divergence_and_the_second_by_fast_pcd():
    assert (STANDARD.first.method, STANDARD.second.method) == ("cd", "fast_pcd")
    assert METHODS == {"cd": contrastive_divergence, "pcd": persistent, "fast_pcd": fast_persistent}
    assert STANDARD.first.rule.rate_log_sigma > 0, "every standard deviation is learned"
    assert STANDARD.second.rule.fast_rate > 0


def test_a_visible_unit_s_standard_deviation_is_its_own():
    assert GaussianBernoulliRBM(5, 2).log_sigma.shape == (5,)


def test_the_network_sees_a_context_three_times_as_wide_at_the_patch_s_pixel_pitch():
    assert (PATCH_SIZE, CONTEXT_SIZE, CONTEXT_EXTENT) == (24, 72, 3.0)
    net = ShiftNet()
    counts = [p.numel() for name, p in net.named_parameters() if name.endswith("weight")]
    assert sorted(counts) == sorted([2352, 1200, 7_929_856, 4096])


def test_the_network_learns_by_sgd_on_minibatches_of_128():
    assert ShiftNetSettings().batch == PRESETS["standard"].shiftnet.batch == 128
    optimiser = Recipe.sgd(10, rate=0.1, warm_up=1, decay=0.9).optimiser([torch.nn.Parameter(torch.zeros(1))])
    assert type(optimiser) is torch.optim.SGD


def test_the_network_s_error_is_the_mean_square_s():
    """Weighted by the pair's own change; for a large `near_weight` it is the mean squared error itself."""
    predicted, delta = torch.randn(2, 64, 4, generator=torch.Generator().manual_seed(0))
    unit = torch.tensor([0.3, 0.3, 0.5, 0.5])
    plain = ((predicted - delta) / unit).square().mean()
    loss = pair_loss(predicted, delta, ShiftNetSettings(near_weight=1e4))
    assert float(loss) == pytest.approx(float(plain), rel=1e-4)
