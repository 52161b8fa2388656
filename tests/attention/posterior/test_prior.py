"""What a stated prior adds to the log-odds of an object, beside densities summed over a grid."""

import math

import numpy as np
import pytest
import torch

from foveate.attention.posterior.prior import log_ratio_to_searched
from foveate.attention.settings import GazePrior
from foveate.scenes.gaze import from_scale_angle

WIDTH, HEIGHT, SMALLEST = 300, 200, 8.0


def grid() -> tuple[torch.Tensor, int]:
    """Gazes at the middles of equal cells of what is searched, in (log s, angle, tx, ty)."""
    log_s = np.linspace(math.log(SMALLEST), math.log(WIDTH / 2), 41)
    angle = np.linspace(-math.pi, math.pi, 73)
    x, y = np.linspace(0, WIDTH, 25), np.linspace(0, HEIGHT, 21)
    middles = [torch.from_numpy((edges[1:] + edges[:-1]) / 2) for edges in (log_s, angle, x, y)]
    q = torch.cartesian_prod(*middles)
    return from_scale_angle(torch.exp(q[:, 0]), q[:, 1], q[:, 2], q[:, 3]), len(q)


@pytest.mark.parametrize(
    "prior",
    [
        GazePrior(),
        GazePrior(angle=(0.3, 0.2)),
        GazePrior(angle=(3.0, 0.5)),
        GazePrior(log_scale=(math.log(30.0), 0.3)),
        GazePrior(scale_range=(20.0, 60.0)),
        GazePrior(region=(50.0, 40.0, 200.0, 190.0)),
        GazePrior(log_scale=(math.log(30.0), 0.3), angle=(-1.0, 0.4), region=(0.0, 0.0, 150.0, 200.0)),
    ],
)
def test_a_prior_is_a_density_beside_the_uniform_one_of_the_search(prior):
    """Summed over all that is searched, p0 times the ratio is 1."""
    gazes, count = grid()
    ratio = torch.exp(log_ratio_to_searched(prior, gazes, WIDTH, HEIGHT, SMALLEST))
    assert float(ratio.sum()) / count == pytest.approx(1.0, abs=0.08)  # cells at the edges


def test_what_is_not_stated_adds_nothing_and_what_is_ruled_out_is_impossible():
    gazes, _ = grid()
    assert not log_ratio_to_searched(GazePrior(), gazes, WIDTH, HEIGHT, SMALLEST).any()
    left = log_ratio_to_searched(GazePrior(region=(0.0, 0.0, 150.0, 200.0)), gazes, WIDTH, HEIGHT, SMALLEST)
    assert torch.equal(torch.isfinite(left), gazes[:, 2] <= 150)
    assert left[torch.isfinite(left)].unique().tolist() == pytest.approx([math.log(2)])
    sharp = GazePrior(angle=(0.0, math.radians(2)))
    upright, turned = from_scale_angle(*torch.tensor([[20.0, 20.0], [0.0, 0.1], [50.0, 50.0], [50.0, 50.0]]).double())
    ratio = log_ratio_to_searched(sharp, torch.stack((upright, turned)), WIDTH, HEIGHT, SMALLEST)
    assert float(ratio[0] - ratio[1]) == pytest.approx(0.5 * (0.1 / math.radians(2)) ** 2)
