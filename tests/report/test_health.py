"""Health: a sick model is called sick, a sound one isn't."""

import re

import pytest
import torch

from foveate.boltzmann.dbn import GaussianDBN
from foveate.report.model import (
    chain_finding,
    distinct,
    diversity_finding,
    examine,
    overfitting_finding,
    run_chains,
    unit_findings,
)


@pytest.fixture
def sound() -> tuple[GaussianDBN, torch.Tensor]:
    """A model of 30 pixels whose hidden units answer to the data, and 200 data."""
    rng = torch.Generator().manual_seed(1)
    gdbn = GaussianDBN(30, 20, 10)
    gdbn.grbm.W.copy_(torch.randn(30, 20, generator=rng))
    gdbn.rbm.W.copy_(0.1 * torch.randn(20, 10, generator=rng))
    h1 = (torch.rand(200, 20, generator=rng) < 0.5).float()
    gdbn.grbm.c.copy_(-(gdbn.grbm.W**2).sum(dim=0) / 2 - gdbn.grbm.W.T @ (gdbn.grbm.W.sum(dim=1) / 2) / 2)
    return gdbn, gdbn.grbm.sample_visible(h1, rng)


def by_name(findings, name):
    return next(finding for finding in findings if finding.name.startswith(name))


def percents(finding):
    """The shares that a finding states."""
    return [float(share) for share in re.findall(r"([\d.]+)\u202f%", finding.text)]


def test_units_that_never_change_are_found(sound):
    gdbn, v = sound
    assert by_name(unit_findings(gdbn, v), "Hidden units of the first").good
    gdbn.grbm.c[:10] = 1e4
    finding = by_name(unit_findings(gdbn, v), "Hidden units of the first")
    assert not finding.good and finding.text.startswith("50.0")
    gdbn.grbm.c[:10] = -1e4
    assert by_name(unit_findings(gdbn, v), "Hidden units of the first").text.split(", ")[1].startswith("50.0")


def test_chains_that_do_not_move_are_found(sound):
    gdbn, _ = sound
    assert chain_finding(*run_chains(gdbn, seed=0)).good
    gdbn.rbm.W.zero_()
    gdbn.rbm.W[:10] = 30.0  # each chain falls into one of two states and stays
    gdbn.rbm.b.fill_(-150.0)
    gdbn.rbm.c.fill_(-150.0)
    stuck = chain_finding(*run_chains(gdbn, seed=0))
    own, others = percents(stuck)
    assert not stuck.good and own < 0.05 * others


def test_samples_that_all_look_alike_are_found():
    rng = torch.Generator().manual_seed(0)
    data = torch.randn(200, 30, generator=rng)
    told = re.search(r"is ([\d.]+) of", diversity_finding(torch.randn(64, 30, generator=rng), data).text)
    assert told is not None and float(told[1]) == pytest.approx(1.0, abs=0.05)
    assert not diversity_finding(0.01 * torch.randn(64, 30, generator=rng), data).good
    assert not diversity_finding(3 * torch.randn(64, 30, generator=rng), data).good


def test_patches_learned_by_heart_are_found(sound):
    gdbn, v = sound
    assert overfitting_finding(gdbn, v[:100], v[100:]).good
    strange = 4 * torch.randn(100, 30, generator=torch.Generator().manual_seed(3))
    finding = overfitting_finding(gdbn, v[:100], strange)
    gap = gdbn.grbm.free_energy(strange).mean() - gdbn.grbm.free_energy(v[:100]).mean()
    assert not finding.good and f"{float(gap):+.0f}" in finding.text


def test_many_pixels_at_the_floor_of_sigma_are_found(sound):
    gdbn, v = sound
    gdbn.grbm.log_sigma.copy_(torch.linspace(-1, 0, 30))
    assert by_name(examine(gdbn, run_chains(gdbn, 0), v), "Standard").good
    gdbn.grbm.log_sigma[:15] = -2.0
    finding = by_name(examine(gdbn, run_chains(gdbn, 0), v), "Standard")
    assert not finding.good and percents(finding)[-1] == pytest.approx(50)


def test_filters_that_repeat_a_stronger_one_are_not_shown():
    rng = torch.Generator().manual_seed(0)
    different = torch.randn(300, 5, generator=rng)
    weights = torch.cat(
        [different, -0.5 * different + 0.01 * torch.randn(300, 5, generator=rng), torch.zeros(300, 2)], dim=1
    )
    weights[:, 3] *= 9
    chosen = distinct(weights)
    assert sorted(chosen) == [0, 1, 2, 3, 4] and chosen[0] == 3
    assert distinct(weights, most=2) == chosen[:2] and distinct(torch.zeros(6, 3)) == [0]


def test_one_deviation_for_all_pixels_is_no_floor_unless_it_is_the_lowest_allowed(sound):
    gdbn, v = sound
    chains = run_chains(gdbn, seed=0)
    gdbn.grbm.log_sigma.fill_(-2.2)
    assert by_name(examine(gdbn, chains, v), "Standard deviations").good
    gdbn.grbm.log_sigma.fill_(-4.0)
    assert not by_name(examine(gdbn, chains, v), "Standard deviations").good
