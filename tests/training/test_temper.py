"""Claims about what errors count where the truth was inferred."""

import numpy as np
import torch

from foveate.attention.shiftnet import move
from foveate.training.temper import FEWEST, Hits, as_far_as_the_truth, deviation

TAU = torch.tensor([0.05, 0.2, 0.1, 0.1], dtype=torch.float64)


def hits(count: int, scatter: float, seed: int = 0) -> Hits:
    """Gazes of all sizes and angles, and truths from which they are off by `scatter` in every coordinate."""
    rng = torch.Generator().manual_seed(seed)
    turn, size = 6.28 * torch.rand(count, generator=rng), 5 + 50 * torch.rand(count, generator=rng)
    at = 200 * torch.rand(count, 2, generator=rng)
    truth = torch.column_stack((size * turn.cos(), size * turn.sin(), at)).double()
    off = scatter * torch.randn(count, 4, generator=rng).double()
    return Hits(torch.arange(count), move(truth, off), truth, np.zeros((count, 1)))


def test_errors_from_inferred_gazes_count_as_far_as_those_are_off_themselves():
    """Gazes off by d from inferred ones, off by tau from the truth, are off by the root of d^2 + tau^2."""
    found = hits(20_000, 0.03)
    widened = as_far_as_the_truth(found, TAU.expand(20_000, 4))
    for part, tau in (([0], 0.05), ([1], 0.2), ([2, 3], 0.1)):
        got, before = (deviation(each.errors[:, part].ravel()) for each in (widened, found))
        np.testing.assert_allclose(got, np.hypot(before, tau), rtol=0.03)
    assert torch.equal(widened.found, found.found)


def test_errors_from_annotated_gazes_are_what_they_are():
    found, unsure = hits(40, 0.03), torch.zeros(40, 4).double()
    unsure[:20] = TAU
    widened = as_far_as_the_truth(found, unsure)
    assert torch.equal(widened.truth[20:], found.truth[20:]) and not torch.allclose(
        widened.truth[:20], found.truth[:20]
    )
    assert as_far_as_the_truth(found, None) is found
    unsure[FEWEST - 1 :] = 0
    assert as_far_as_the_truth(found, unsure) is found, "too few say how far they are off"
