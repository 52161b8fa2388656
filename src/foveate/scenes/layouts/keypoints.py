"""From keypoints to gazes: weighted least squares, and how well they fit.

With canonical points z_k and image points y_k read as complex numbers and centred at their means, the minimiser of
sum_k |c z_k + t - y_k|^2 is c = sum conj(z) y / sum |z|^2, and leaves sum |y|^2 - |c|^2 sum |z|^2. No similarity
is a reflection: points in mirrored order fit badly, and well with conj(z) in the place of z.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from foveate.errors import BadInput

Points = Mapping[str, tuple[float, float]]


class Fit(NamedTuple):
    """The gazes of several sets of keypoints."""

    gazes: Float[np.ndarray, "n 4"]  # NaN where fewer than two keypoints at different canonical places are labelled
    residual: Float[np.ndarray, "n"]  # share of their variance that it doesn't explain; NaN where they lie on one point
    mirrored: Float[np.ndarray, "n"]  # the same of the best reflection


def fit(keypoints: Sequence[Points], canonical: Points) -> Fit:
    """The gazes that carry canonical points to the labelled keypoints (pixels) of the same names of each annotation."""
    names = sorted({name for points in keypoints for name in points} & canonical.keys())
    z = np.array([complex(*canonical[name]) for name in names])
    y = np.array([[complex(*points.get(name, (0.0, 0.0))) for name in names] for points in keypoints])
    labelled = np.array([[name in points for name in names] for points in keypoints], dtype=bool)
    y, labelled = y.reshape(len(keypoints), len(names)), labelled.reshape(len(keypoints), len(names))
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = labelled / labelled.sum(1, keepdims=True)
        z_mean, y_mean = (weights * z).sum(1, keepdims=True), (weights * y).sum(1, keepdims=True)
        z_centred, y_centred = z - z_mean, y - y_mean
        spread = (weights * np.abs(z_centred) ** 2).sum(1)
        spread[spread < 1e-12] = np.nan
        c = (weights * z_centred.conj() * y_centred).sum(1) / spread
        reflected = (weights * z_centred * y_centred).sum(1) / spread
        shift = y_mean[:, 0] - c * z_mean[:, 0]
        variance = (weights * np.abs(y_centred) ** 2).sum(1)
        variance[variance < 1e-12] = np.nan
        residual, mirrored = (np.clip(1 - np.abs(turn) ** 2 * spread / variance, 0, 1) for turn in (c, reflected))
    return Fit(np.stack([c.real, c.imag, shift.real, shift.imag], axis=1), residual, mirrored)


def check_canonical(points: Any, what: str) -> dict[str, tuple[float, float]]:
    """Canonical points by keypoint name, checked: {name: (x, y)}, all finite.

    Raises:
        BadInput: It is something else; the text begins with `what`.
    """
    if not isinstance(points, Mapping):
        raise BadInput(f"{what} is not an object of names with points")
    for name, point in points.items():
        pair = isinstance(point, list | tuple) and len(point) == 2
        if not pair or not all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < 1e3 for x in point):
            raise BadInput(f"{what}: {name} is not a point (x, y)")
    return {str(name): (float(point[0]), float(point[1])) for name, point in points.items()}
