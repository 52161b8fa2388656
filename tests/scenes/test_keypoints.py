"""Keypoints to gazes without torch, against the tensors' own least squares, and how far they fit."""

import math

import numpy as np
import torch

from foveate.scenes import gaze
from foveate.scenes.annotations import FACE_POINTS
from foveate.scenes.layouts.keypoints import fit

NAMES = sorted(FACE_POINTS)


def test_the_gaze_is_that_of_weighted_least_squares_on_tensors():
    rng = np.random.default_rng(0)
    points, labelled = rng.normal(0, 30, (50, 3, 2)), rng.random((50, 3)) < 0.8
    labelled[:, 0] |= labelled.sum(1) < 2
    labelled[:, 1] |= labelled.sum(1) < 2
    told = [
        {name: (float(x), float(y)) for name, (x, y), here in zip(NAMES, each, some, strict=True) if here}
        for each, some in zip(points, labelled, strict=True)
    ]
    canonical = torch.tensor([FACE_POINTS[name] for name in NAMES], dtype=torch.float64)
    expected = gaze.from_keypoints(canonical, torch.from_numpy(points), torch.from_numpy(labelled.astype(float)))
    np.testing.assert_allclose(fit(told, FACE_POINTS).gazes, expected.numpy(), atol=1e-9)


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
