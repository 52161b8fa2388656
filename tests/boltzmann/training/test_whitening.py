"""Claims about the whitened space: its Gaussian, its symmetries, and what it learns from photographs held out."""

import math

import numpy as np
import pytest
import torch

from foveate.boltzmann.training.whitening import Layout, Moments
from foveate.errors import BadInput


def correlated(rows, seed=0, dim=6):
    """Correlated vectors: mixed by a fixed matrix."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(dim, dim))
    return torch.from_numpy(rng.normal(size=(rows, dim)) @ mix + 0.3).float()


def folds_of(v, folds=4):
    return [v[fold::folds] for fold in range(folds)]


def gaussian(whitening, v):
    x = whitening(v).double()
    return float((-0.5 * (x**2).sum(1)).mean()) - 0.5 * v.shape[1] * math.log(2 * math.pi) + whitening.log_det


def test_the_map_has_the_determinant_it_says_and_makes_new_data_white():
    whitening = Moments(folds_of(correlated(4000))).whitening()
    assert math.isclose(whitening.log_det, float(torch.linalg.slogdet(whitening.matrix.double())[1]), abs_tol=1e-3)
    covariance = torch.cov(whitening(correlated(4000, seed=1)).T)
    assert (covariance - torch.eye(6)).abs().max() < 0.15


def test_with_as_many_patches_as_dimensions_variances_held_out_beat_ledoit_and_wolf_s():
    """Eigenvalues falling as 1 / i, like those of pictures, of which a multiple of the identity knows nothing."""
    sklearn = pytest.importorskip("sklearn.covariance")
    scale = torch.arange(1, 41).double().reciprocal().sqrt()
    turn = torch.linalg.qr(torch.randn(40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    fit, test = (
        (torch.randn(n, 40, generator=torch.Generator().manual_seed(n), dtype=torch.float64) * scale @ turn).float()
        for n in (60, 2000)
    )
    best = -0.5 * 40 * (1 + math.log(2 * math.pi)) - float(scale.log().sum())
    ours, theirs = gaussian(Moments(folds_of(fit)).whitening(), test), sklearn.LedoitWolf().fit(fit).score(test)
    assert theirs < ours < best + 0.2


def test_coordinates_of_a_fold_have_variance_one_by_the_whitening_of_the_others():
    v = correlated(60, dim=40)
    moments, parts = Moments(folds_of(v)), folds_of(v)
    x = torch.cat([moments.whitening(fold)(part) for fold, part in enumerate(parts)])
    assert torch.allclose(x.square().mean(0), torch.ones(40), atol=1e-3)
    assert moments.whitening()(v).square().mean() < 0.9  # those that it has seen look narrower


def pictures(rows, seed=0):
    """[rows, 48] two channels of 4 x 6 with neighbours alike, the second half of the picture brighter."""
    noise = torch.randn(rows, 2, 6, 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1) * 3
    return (smooth + torch.linspace(0, 1, 6)).flatten(1)


def test_a_patch_and_its_mirror_image_are_as_likely_where_that_is_so():
    v, layout = pictures(400), Layout(2, 4, 6, mirror=True)
    whitening = Moments(folds_of(v), layout).whitening()
    mirrored = v.unflatten(1, (2, 4, 6)).flip(-1).flatten(1)
    assert torch.equal(v[:, torch.from_numpy(layout.mirrored.copy())], mirrored)
    one, other = (whitening(some).double().square().sum(1) for some in (v, mirrored))
    assert torch.allclose(one, other, rtol=1e-3)
    handed = Moments(folds_of(v), Layout(2, 4, 6)).whitening()
    assert not torch.allclose(handed(v).square().sum(1), handed(mirrored).square().sum(1), rtol=1e-1)


def test_the_stationary_part_is_the_same_between_places_that_lie_alike_and_keeps_their_mean():
    layout = Layout(2, 3, 4)
    square = np.random.default_rng(0).normal(size=(24, 24))
    found = layout.stationary(square).reshape(2, 3, 4, 2, 3, 4)
    for a, b, dy, dx in ((0, 0, 0, 0), (0, 1, 1, -2), (1, 0, -2, 3), (1, 1, 0, 1)):
        pairs = [
            ((y, x), (y + dy, x + dx))
            for y in range(3) for x in range(4) if 0 <= y + dy < 3 and 0 <= x + dx < 4
        ]  # fmt: skip
        own = [square.reshape(2, 3, 4, 2, 3, 4)[a, p[0], p[1], b, q[0], q[1]] for p, q in pairs]
        assert np.allclose([found[a, p[0], p[1], b, q[0], q[1]] for p, q in pairs], np.mean(own))


def test_of_few_pictures_the_stationary_part_helps_new_ones():
    few, new = pictures(40), pictures(2000, seed=1)
    with_layout, without = (Moments(folds_of(few), layout).whitening() for layout in (Layout(2, 4, 6), None))
    assert gaussian(with_layout, new) > gaussian(without, new) + 1.0


def test_what_never_varies_buys_no_infinite_likelihood():
    v = torch.cat([correlated(100), torch.full((100, 2), 0.7)], 1)
    whitening = Moments(folds_of(v)).whitening()
    assert torch.isfinite(whitening(v)).all() and math.isfinite(whitening.log_det)


def test_one_fold_cannot_be_held_out():
    for folds in ([torch.zeros(5, 4)], [torch.zeros(5, 4), torch.zeros(0, 4)]):
        with pytest.raises(BadInput, match="two or more"):
            Moments(folds)
