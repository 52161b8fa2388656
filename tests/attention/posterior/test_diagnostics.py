"""R-hat and effective sample sizes: what others compute, what is known, and silence about chains that stand still."""

import math

import numpy as np
import pytest
import torch

from foveate.attention.found import DISAGREEING, FEW, NOT_MOVING
from foveate.attention.posterior.diagnostics import bulk_ess, moving, rhat
from foveate.attention.posterior.summary import circular_std, mean_gaze, summarise
from foveate.scenes.gaze import angle, from_scale_angle


def autoregressive(phi: float, seed: int, chains: int = 4, draws: int = 200, shift: float = 0.0) -> torch.Tensor:
    """x_t = phi x_(t-1) + N(0, 1), stationary; chain k is moved by k * shift."""
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal((chains, draws))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0] / np.sqrt(1 - phi * phi)
    for t in range(1, draws):
        x[:, t] = phi * x[:, t - 1] + noise[:, t]
    return torch.from_numpy(x + shift * np.arange(chains)[:, None])


# What arviz 0.x (az.rhat with method "rank", az.ess with method "bulk") says of the same chains.
ARVIZ = [
    (autoregressive(0, 1), 1.0100997205665552, 834.085900151714),
    (autoregressive(0.9, 2), 1.0686385746310012, 75.29546740956927),
    (autoregressive(-0.5, 3), 0.9975005000543699, 2322.471989593555),
    (autoregressive(0.3, 4, shift=0.5), 1.136666179203945, 22.044040783801755),
    (autoregressive(0.6, 5, 3, 101), 1.0623511004552446, 39.39704278481486),
    (torch.exp(3 * autoregressive(0.5, 6)), 1.0054261462283376, 292.6488216358162),
]


@pytest.mark.parametrize(("draws", "theirs", "their_ess"), ARVIZ)
def test_agrees_with_arviz(draws: torch.Tensor, theirs: float, their_ess: float):
    assert float(rhat(draws)) == pytest.approx(theirs, rel=1e-6)
    assert float(bulk_ess(draws)) == pytest.approx(their_ess, rel=1e-3)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_ess_of_autoregressive_chains_is_draws_times_one_minus_phi_over_one_plus_phi(phi: float):
    # 40 sets of chains; the standard error of their mean is near 2 %, so 10 % is five of them.
    draws = torch.stack([autoregressive(phi, 100 + i, draws=500) for i in range(40)])
    exact = 2000 * (1 - phi) / (1 + phi)
    assert float(bulk_ess(draws).mean()) == pytest.approx(exact, rel=0.1)


def test_a_batch_is_its_members():
    chains = torch.stack([autoregressive(0.5, k) for k in range(6)]).view(2, 3, 4, 200)
    assert torch.equal(rhat(chains)[1, 2], rhat(chains[1, 2]))
    assert torch.allclose(bulk_ess(chains)[0, 1], bulk_ess(chains[0, 1]), rtol=1e-12)


def test_folding_finds_chains_of_one_place_and_different_spread():
    draws = autoregressive(0, 7)
    draws[0] *= 5
    assert float(rhat(draws)) > 1.1


def still(value: float = 3.0) -> torch.Tensor:
    return torch.full((4, 50), value, dtype=torch.float64)


def with_change(draws: torch.Tensor, chain: int, values: torch.Tensor | float) -> torch.Tensor:
    draws = draws.clone()
    draws[chain] = values
    return draws


STILL = {
    "constant": still(),
    "constant zero": still(0.0),
    "constant and 1e-30": still(0.0) + 1e-30 * torch.randn(4, 50, dtype=torch.float64),
    "constant and rounding": still() * (1 + 1e-15 * torch.randn(4, 50, dtype=torch.float64)),
    "one of four chains constant": with_change(autoregressive(0, 8), 2, 0.3),
    "a NaN": with_change(autoregressive(0, 9), 1, torch.nan),
    "an infinity": with_change(autoregressive(0, 10), 1, torch.inf),
    "two draws": autoregressive(0, 11)[:, :2],
    "no draws": autoregressive(0, 11)[:, :1],
}


@pytest.mark.parametrize("draws", STILL.values(), ids=STILL.keys())
def test_nothing_is_claimed_of_chains_that_stand_still_or_are_not_numbers(draws: torch.Tensor):
    assert math.isnan(float(rhat(draws)))
    assert math.isnan(float(bulk_ess(draws)))


def test_what_moves_and_what_does_not():
    names = [name for name, draws in STILL.items() if bool(moving(draws))]
    assert names == ["two draws"]


def test_alternating_chains_claim_at_most_draws_times_log10_draws():
    draws = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4, 25)
    assert 200 <= float(bulk_ess(draws)) <= 200 * math.log10(200) + 1e-9


def gazes_around(degrees: float, spread: float, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, 4, 100, generator=random, dtype=torch.float64)
    turn = torch.deg2rad(degrees + spread * noise[0])
    return from_scale_angle(20 * torch.exp(0.1 * noise[1]), turn, 50 + 2 * noise[2], 60 + 3 * noise[3])[None]


def summary(draws: torch.Tensor):
    gazes, chains = draws.shape[:2]
    ones, none = torch.ones(gazes, chains), torch.zeros(gazes, chains, dtype=torch.int64)
    return summarise(draws, ones, none, 100, ones[..., None], ones[..., None])


def test_angles_on_both_sides_of_180_degrees_are_close():
    turn = torch.deg2rad(torch.tensor([179.0, -179.0], dtype=torch.float64))
    draws = from_scale_angle(torch.full_like(turn, 20), turn, torch.full_like(turn, 5), torch.full_like(turn, 6))
    assert abs(float(angle(mean_gaze(draws)))) == pytest.approx(math.pi)
    assert float(torch.rad2deg(circular_std(angle(draws)))) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("degrees", [0.0, 90.0, 179.5, -179.5, 180.0])
def test_the_summary_does_not_know_where_the_cut_of_the_angle_is(degrees: float):
    found, plain = summary(gazes_around(degrees, 3.0)), summary(gazes_around(40.0, 3.0))
    turned = float(torch.rad2deg(angle(found.mean))[0]) - float(torch.rad2deg(angle(plain.mean))[0]) - (degrees - 40)
    assert (turned + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)
    assert float(found.spread[0, 1]) == pytest.approx(float(plain.spread[0, 1]), rel=1e-9)
    assert torch.allclose(found.rhat, plain.rhat, rtol=1e-6) and found.flags == ((),)


def test_spreads_are_in_their_stated_units():
    found = summary(gazes_around(30.0, 3.0, seed=1))
    # 400 independent draws: the standard error of a standard deviation is 3.5 %, so 15 % is four of them.
    assert math.degrees(found.spread[0, 1]) == pytest.approx(3.0, rel=0.15)
    assert float(found.spread[0, 0]) == pytest.approx(0.1, rel=0.15)
    assert found.std[0, 2:].tolist() == found.spread[0, 2:].tolist() == pytest.approx([2.0, 3.0], rel=0.15)


def test_a_gaze_that_does_not_move_has_no_spread_and_says_so():
    moved, stuck = gazes_around(0.0, 3.0), gazes_around(0.0, 3.0)
    stuck[:, 1] = stuck[:, 1, :1]
    found = summary(torch.cat((moved, stuck)))
    assert found.flags == ((), (NOT_MOVING,))
    assert torch.isnan(found.std[1]).all() and torch.isnan(found.spread[1]).all() and torch.isfinite(found.std[0]).all()


def test_chains_in_different_places_disagree():
    draws = gazes_around(0.0, 3.0)
    draws[:, 0, :, 2] += 40
    assert set(summary(draws).flags[0]) == {DISAGREEING, FEW}
