"""Claims about transitions that can be captured as a graph, and are the compiled loops' on any device."""

import pytest
import torch
from elsewhere import capturing, elsewhere
from moving import full, keys, targets_for, three_images

from foveate.attention.posterior import hmc, hmc_graph, hmc_kernels
from foveate.attention.posterior.hmc import Keyed
from foveate.attention.posterior.target import reference
from foveate.scenes.pyramid import Pyramids


@pytest.fixture(scope="module")
def pyramids() -> Pyramids:
    return three_images()


def test_a_transition_looks_at_no_value_so_that_it_can_be_captured(pyramids):
    n = 3
    targets, position = targets_for(pyramids, n)
    with elsewhere() as there:
        plain, number = reference(targets, there), torch.zeros((), dtype=torch.int64).to(there)
        box = hmc.Box(*(side.to(there) for side in targets.box))
        scale, eps = torch.full((n, 4), 0.05, dtype=torch.float64).to(there), full(n, 0.4).to(there)
        state, randomness = hmc.init(position.to(there), plain), Keyed(keys(n).to(there), number)
        with capturing():
            hmc.step(randomness, state, plain, eps, scale, 2, 0.3, box)


def test_transitions_on_a_device_are_the_moves_of_the_compiled_chains(pyramids, device):
    n = 12
    targets, position = targets_for(pyramids, n)
    box = hmc.Box(*(side.to(device) for side in targets.box))
    scale, eps = torch.full((n, 4), 0.05, dtype=torch.float64), full(n, 0.4)
    start = hmc_kernels.init(position, targets)
    end, moves = hmc_kernels.transitions(keys(n), 5, 3, start, targets, eps, scale, 7, 0.3)
    plain = reference(targets, device)
    state = hmc.init(position.to(device), plain)
    there, same = hmc_graph.transitions(
        keys(n).to(device), 5, 3, state, plain, eps.to(device), scale.to(device), 7, 0.3, box
    )
    assert torch.allclose(moves.draws, same.draws.cpu(), atol=2e-4)
    assert torch.allclose(moves.info.acceptance, same.info.acceptance.cpu(), atol=5e-3)
    assert torch.equal(moves.info.accepted, same.info.accepted.cpu())
    assert torch.allclose(end.position, there.position.cpu(), atol=2e-4)
    assert torch.equal(state.position.cpu(), position), "the state that was given is as it was"
