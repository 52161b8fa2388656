"""Posteriors for ArviZ."""

import sys

import numpy as np
import pytest
import torch

from foveate.attention.posterior.arviz import to_arviz
from foveate.attention.posterior.diagnostics import bulk_ess, rhat
from foveate.attention.posterior.summary import coordinates
from foveate.errors import BadInput


def draws(gazes=2, chains=4, length=300, seed=0, degrees=30.0):
    """Autocorrelated chains around gazes that are turned by `degrees`; the second gaze's chains disagree."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(gazes, chains, length, 4))
    for k in range(1, length):
        noise[:, :, k] = 0.7 * noise[:, :, k - 1] + noise[:, :, k]
    noise[1:] += rng.normal(0, 3, (gazes - 1, chains, 1, 4))
    angle, s = np.radians(degrees + noise[..., 0]), 30 * np.exp(0.02 * noise[..., 1])
    return torch.from_numpy(
        np.stack([s * np.cos(angle), s * np.sin(angle), 100 + noise[..., 2], 80 + noise[..., 3]], axis=-1)
    )


@pytest.mark.filterwarnings("ignore")  # ArviZ announces its own future
@pytest.mark.parametrize("degrees", [30.0, 180.0])
def test_arvizs_own_diagnostics_agree_with_ours(degrees):
    """Exactly but for the sum of autocorrelations, which ArviZ extends by one term: it shows where chains disagree."""
    arviz = pytest.importorskip("arviz", reason="ArviZ is not installed")
    chains = draws(degrees=degrees)
    data = to_arviz(chains, ["one", "two"])
    found = coordinates(chains)
    theirs_rhat, theirs_ess = arviz.rhat(data), arviz.ess(data, method="bulk")
    for k, name in enumerate(("log_scale", "angle", "tx", "ty")):
        np.testing.assert_allclose(theirs_rhat[name], rhat(found)[:, k], rtol=2e-3)
        np.testing.assert_allclose(theirs_ess[name][0], bulk_ess(found)[0, k], rtol=0.02)
        np.testing.assert_allclose(theirs_ess[name][1], bulk_ess(found)[1, k], rtol=0.1)
    assert list(data.posterior["gaze"].values) == ["one", "two"]
    assert dict(data.posterior["a"].sizes) == {"chain": 4, "draw": 300, "gaze": 2}


@pytest.mark.filterwarnings("ignore")
def test_angles_do_not_jump_at_180_degrees():
    pytest.importorskip("arviz", reason="ArviZ is not installed")
    angle = to_arviz(draws(1, degrees=180.0)[0]).posterior["angle"].values
    assert np.ptp(angle) < 20 and abs(abs(angle.mean()) - 180) < 1


def test_draws_of_another_shape_and_a_missing_arviz_are_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(BadInput, match=r"foveate\[diagnostics\]"):
        to_arviz(draws())
    monkeypatch.setitem(sys.modules, "arviz", object())
    with pytest.raises(BadInput, match="shape"):
        to_arviz(np.zeros((3, 4)))
    with pytest.raises(BadInput, match="3 names"):
        to_arviz(draws(), ["a", "b", "c"])
