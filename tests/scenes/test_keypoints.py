"""Keypoints to gazes, against NumPy's least squares, and how far they fit."""

import math

import numpy as np
import torch

from foveate.scenes import gaze
from foveate.scenes.annotations import FACE_POINTS
from foveate.scenes.layouts.keypoints import fit

NAMES = sorted(FACE_POINTS)


def by_name(points, labelled=None):
    """Keypoints [n, 3, 2] as annotations have them."""
    labelled = np.ones(np.shape(points)[:2], dtype=bool) if labelled is None else labelled
    return [
        {name: (float(x), float(y)) for name, (x, y), here in zip(NAMES, each, some, strict=True) if here}
        for each, some in zip(points, labelled, strict=True)
    ]


def test_keypoints_made_by_a_gaze_give_it_back():
    rng = np.random.default_rng(1)
    u = np.concatenate([rng.normal(0, 100, (50, 2)), rng.uniform(-300, 300, (50, 2))], axis=1)
    made = gaze.apply(torch.from_numpy(u), torch.tensor([FACE_POINTS[name] for name in NAMES], dtype=torch.float64))
    np.testing.assert_allclose(fit(by_name(made.tolist()), FACE_POINTS).gazes, u, atol=1e-8)


def test_the_gaze_is_that_of_least_squares_over_the_labelled_keypoints():
    rng = np.random.default_rng(0)
    points, labelled = rng.normal(0, 30, (50, 3, 2)), rng.random((50, 3)) < 0.8
    labelled[:, 0] |= labelled.sum(1) < 2
    labelled[:, 1] |= labelled.sum(1) < 2
    found = fit(by_name(points, labelled), FACE_POINTS).gazes
    for u, at, here in zip(found, points, labelled, strict=True):
        chosen = [FACE_POINTS[name] for name, is_labelled in zip(NAMES, here, strict=True) if is_labelled]
        design = [row for x, y in chosen for row in ((x, -y, 1, 0), (y, x, 0, 1))]  # in (a, b, tx, ty), by another road
        np.testing.assert_allclose(u, np.linalg.lstsq(np.array(design), at[here].ravel(), rcond=None)[0], atol=1e-8)


def test_the_residual_is_the_share_of_variance_that_no_similarity_explains():
    u = complex(30 * math.cos(0.4), 30 * math.sin(0.4))
    z = {name: complex(*point) for name, point in FACE_POINTS.items()}
    right = {name: (u * p).real + 100.0 for name, p in z.items()}, {name: (u * p).imag + 50.0 for name, p in z.items()}
    whole = {name: (right[0][name], right[1][name]) for name in z}
    mirrored = {name: ((u * p.conjugate()).real, (u * p.conjugate()).imag) for name, p in z.items()}
    half = {name: (whole[name][0] + 6 * (-1) ** k, whole[name][1]) for k, name in enumerate(NAMES)}
    found = fit([whole, mirrored, half, {NAMES[0]: (1.0, 2.0)}, dict.fromkeys(NAMES, (5.0, 5.0))], FACE_POINTS)
    assert found.residual[0] < 1e-12 < 0.5 < found.mirrored[0]
    assert found.mirrored[1] < 1e-12 < 0.5 < found.residual[1]
    y = np.array([complex(*half[name]) for name in NAMES])
    a, b, tx, ty = found.gazes[2]
    left = np.abs(complex(a, b) * np.array([z[name] for name in NAMES]) + complex(tx, ty) - y) ** 2
    np.testing.assert_allclose(found.residual[2], left.sum() / (np.abs(y - y.mean()) ** 2).sum())
    assert np.isnan(found.gazes[3]).all() and np.isnan(found.residual[3:]).all()
