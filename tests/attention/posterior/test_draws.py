"""Draws leave as files from which posteriors can be judged again."""

import numpy as np
import pytest
from founds import chains

from foveate.attention.posterior.arviz import to_arviz
from foveate.attention.posterior.draws import write_draws

U = np.array([20.0, 2.0, 100.0, 50.0])


def by_chains(seed: int = 0, count: int = 4, length: int = 50):
    draws = U + np.random.default_rng(seed).normal(0, 0.5, (count, length, 4))
    return chains(U.tolist(), draws=draws)


def by_weights(seed: int = 1, length: int = 128):
    rng = np.random.default_rng(seed)
    weight = rng.random(length)
    draws = U + rng.normal(0, 0.5, (1, length, 4))
    return chains(U.tolist(), draws=draws, weight=weight / weight.sum())


def test_npz_holds_every_draw_with_its_chain_weight_and_gaze(tmp_path):
    one, two, path = by_chains(), by_weights(), tmp_path / "draws.npz"
    write_draws(str(path), [("a/b.jpg", 1, one), ("a/b.jpg", 2, None), ("a/b.jpg", 3, two)])
    with np.load(path) as data:
        assert data["image"].tolist() == ["a/b.jpg", "a/b.jpg"] and data["number"].tolist() == [1, 3]
        of = data["gaze"] == 0
        assert np.array_equal(data["u"][of].reshape(4, 50, 4), one.draws)
        assert data["chain"][of].tolist() == np.repeat(np.arange(4), 50).tolist()
        assert np.allclose(data["weight"][of], 1 / 200)
        assert np.array_equal(data["weight"][~of], two.weight) and not data["chain"][~of].any()
        assert data["ess"].shape == (2, 4) and data["pareto_k"].shape == (2,)


def test_a_file_of_no_gazes_is_one_all_the_same(tmp_path):
    path = tmp_path / "draws.npz"
    write_draws(str(path), [])
    with np.load(path) as data:
        assert data["u"].shape == (0, 4) and len(data["image"]) == 0


@pytest.mark.filterwarnings("ignore")  # ArviZ announces its own future
def test_netcdf_is_what_arviz_reads_with_each_chain_by_itself(tmp_path):
    arviz = pytest.importorskip("arviz", reason="ArviZ is not installed")
    pytest.importorskip("h5netcdf", reason="nothing that writes NetCDF is installed")
    path, one = tmp_path / "draws.nc", by_chains()
    write_draws(str(path), [("a.jpg", 1, one), ("b.jpg", 1, by_weights())])
    data = arviz.from_netcdf(path).posterior
    assert data["gaze"].values.tolist() == ["a.jpg 1", "b.jpg 1"]
    tx = data["tx"].values
    assert np.array_equal(tx[:, :50, 0], one.draws[..., 2]) and np.isnan(tx[1:, :, 1]).all()
    assert np.isfinite(tx[0, :, 1]).all()


@pytest.mark.filterwarnings("ignore")
def test_weighed_draws_become_one_chain_of_even_ones():
    pytest.importorskip("arviz", reason="ArviZ is not installed")
    posterior = by_weights()
    data = to_arviz(posterior).posterior
    assert dict(data["tx"].sizes) == {"chain": 1, "draw": 128, "gaze": 1}
    mean = float(posterior.weight @ posterior.draws[0, :, 2])
    assert float(data["tx"].mean()) == pytest.approx(mean, abs=0.06)  # four standard errors of the resampling
