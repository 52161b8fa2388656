"""Photographs and their true gazes turned in the plane, to see whether objects are found at any angle.

A turn by `degrees` is clockwise on the screen, as angles of gazes are: a point p goes to R (p - c) + c', with
R = [[cos, -sin], [sin, cos]], c the centre of the photograph and c' that of the grown canvas. Multiples of 90 degrees
move pixels and change none.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from foveate.errors import BadInput
from foveate.scenes.folder import Scene
from foveate.scenes.warp import warp


def turned_size(width: int, height: int, degrees: float | int) -> tuple[int, int]:
    """Width and height of the smallest canvas of whole pixels that holds the turned photograph."""
    cosine, sine = (abs(part) for part in _cosine_sine(degrees))
    # A canvas a rounding error too large would grow by a whole pixel.
    new_width = math.ceil(width * cosine + height * sine - 1e-6)
    new_height = math.ceil(width * sine + height * cosine - 1e-6)
    return new_width, new_height


def turn_image(
    image: Shaped[ndarray, "height width 3"], degrees: float | int
) -> Shaped[ndarray, "new_height new_width 3"]:
    """The photograph turned clockwise on a canvas grown to hold it; what it doesn't cover is its mean colour.

    Lossless for multiples of 90 degrees, bicubic otherwise; same type as the photograph's.

    Raises:
        BadInput: `degrees` is not finite.
    """
    quarter = _quarter_turns(degrees)
    if quarter is not None:
        return np.ascontiguousarray(np.rot90(image, k=-quarter))
    height, width = image.shape[:2]
    new_width, new_height = turned_size(width, height, degrees)
    cosine, sine = _cosine_sine(degrees)
    back = np.array([[cosine, sine], [-sine, cosine]])
    shift = np.array([width, height]) / 2.0 - back @ np.array([new_width, new_height]) / 2.0
    return warp(image, back, shift, new_width, new_height)


def turn_gazes(gazes: Float[ndarray, "n 4"], width: int, height: int, degrees: float | int) -> Float[ndarray, "n 4"]:
    """Gazes in pixels of the photograph (width x height) as gazes in pixels of the turned one."""
    cosine, sine = _cosine_sine(degrees)
    new_width, new_height = turned_size(width, height, degrees)
    a, b, x, y = np.asarray(gazes, dtype=np.float64).T
    x, y = x - width / 2.0, y - height / 2.0
    turned = (
        cosine * a - sine * b,
        sine * a + cosine * b,
        cosine * x - sine * y + new_width / 2.0,
        sine * x + cosine * y + new_height / 2.0,
    )
    return np.stack(turned, axis=1)


def turn_boxes(boxes: Float[ndarray, "n 4"], width: int, height: int, degrees: float | int) -> Float[ndarray, "n 4"]:
    """Upright boxes (x0, y0, x1, y1) as the smallest upright boxes that hold them turned."""
    x0, y0, x1, y1 = np.asarray(boxes, dtype=np.float64).T
    centre = turn_gazes(np.stack([x1 - x0, y1 - y0, (x0 + x1) / 2, (y0 + y1) / 2], axis=1), width, height, degrees)
    cosine, sine = (abs(part) for part in _cosine_sine(degrees))
    half_width = ((x1 - x0) * cosine + (y1 - y0) * sine) / 2.0
    half_height = ((x1 - x0) * sine + (y1 - y0) * cosine) / 2.0
    x, y = centre[:, 2], centre[:, 3]
    return np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)


def turn_scene(scene: Scene, degrees: float | int) -> Scene:
    """What is annotated in the scene, in pixels of its turned photograph; the file it names is the one not turned."""
    width, height = turned_size(scene.width, scene.height, degrees)
    gazes = turn_gazes(scene.gazes, scene.width, scene.height, degrees)
    ignore = turn_boxes(scene.ignore, scene.width, scene.height, degrees)
    return dataclasses.replace(scene, width=width, height=height, gazes=gazes, ignore=ignore)


def _quarter_turns(degrees: float | int) -> int | None:
    """How many times 90 degrees this is (0 to 3), None where it is no whole number of times."""
    if not math.isfinite(degrees):
        raise BadInput(f"--turn {degrees}: an angle in degrees is expected")
    return int(degrees // 90.0) % 4 if degrees % 90.0 == 0.0 else None


def _cosine_sine(degrees: float | int) -> tuple[float, float]:
    """Cosine and sine, exact at multiples of 90 degrees."""
    quarter = _quarter_turns(degrees)
    if quarter is not None:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[quarter]
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
