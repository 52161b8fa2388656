"""Photographs and their true gazes turned in the plane, to see whether objects are found at any angle.

A turn by `degrees` is clockwise on the screen, as angles of gazes are: a point p goes to R (p - c) + c', with
R = [[cos, -sin], [sin, cos]], c the centre of the photograph and c' that of the grown canvas. Multiples of 90 degrees
move pixels and change none.
"""

import math

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from foveate.errors import BadInput
from foveate.scenes.folder import Scene
from foveate.scenes.warp import warp


def turned_size(width: int, height: int, degrees: float | int) -> tuple[int, int]:
    """Width and height of the smallest canvas of whole pixels that holds the turned photograph."""
    cosine, sine = map(abs, _cosine_sine(degrees))
    # A canvas a rounding error too large would grow by a whole pixel.
    return math.ceil(width * cosine + height * sine - 1e-6), math.ceil(width * sine + height * cosine - 1e-6)


def turn_image(
    image: Shaped[ndarray, "height width 3"], degrees: float | int
) -> Shaped[ndarray, "new_height new_width 3"]:
    """The photograph turned clockwise on a canvas grown to hold it; what it doesn't cover is its mean colour.

    Lossless for multiples of 90 degrees, by cubic splines otherwise; same type as the photograph's.
    """
    cosine, sine = _cosine_sine(degrees)
    if degrees % 90.0 == 0.0:
        return np.ascontiguousarray(np.rot90(image, k=-int(degrees // 90.0)))
    height, width = image.shape[:2]
    new_width, new_height = turned_size(width, height, degrees)
    back = np.array([[cosine, sine], [-sine, cosine]])
    shift = np.array([width, height]) / 2.0 - back @ np.array([new_width, new_height]) / 2.0
    return warp(image, back, shift, new_width, new_height)


def turn_scene(scene: Scene, degrees: float | int) -> Scene:
    """What is annotated in the scene, in pixels of its turned photograph; the file it names is the one not turned.

    Boxes of regions become the smallest upright ones that hold them turned.
    """
    cosine, sine = _cosine_sine(degrees)
    width, height = turned_size(scene.width, scene.height, degrees)
    x, y = scene.width / 2.0, scene.height / 2.0
    shift = (width / 2.0 - cosine * x + sine * y, height / 2.0 - sine * x - cosine * y)
    return scene.moved((cosine, sine, *shift), width, height)


def _cosine_sine(degrees: float | int) -> tuple[float, float]:
    """Cosine and sine, exact at multiples of 90 degrees."""
    if not math.isfinite(degrees):
        raise BadInput(f"--turn {degrees}: expected an angle in degrees")
    if degrees % 90.0 == 0.0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(degrees // 90.0) % 4]
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
