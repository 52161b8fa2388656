"""What is reached without looking."""

import numpy as np
from records import records

from foveate.evaluation.constant_box import constant_box
from foveate.scenes.scene import Scene


def scene(name, width, height, *gazes):
    return Scene(name, name, width, height, records(np.array(gazes, dtype=np.float64).reshape(-1, 4)))


def test_each_image_is_met_with_the_median_of_the_others_relative_to_its_size():
    """Three images with the object in the middle, one of them of another size, and one with it in a corner."""
    scenes = [
        scene("a", 100, 80, [20, 0, 50, 40]),
        scene("b", 100, 80, [0, 20, 50, 40]),  # turned, which does not move its square
        scene("c", 200, 160, [40, 0, 100, 80]),
        scene("d", 100, 80, [20, 0, 20, 20]),
        scene("empty", 100, 80),
    ]
    assert constant_box(scenes, ("0.3", "0.5", "0.7")) == {"0.3": 0.75, "0.5": 0.75, "0.7": 0.75}


def test_an_image_is_not_met_with_its_own_annotations():
    scenes = [scene("a", 100, 100, [10, 0, 20, 20]), scene("b", 100, 100, [10, 0, 80, 80])]
    assert constant_box(scenes, ["0.3"]) == {"0.3": 0.0}
    assert constant_box(scenes[:1], ["0.3"]) == {"0.3": None}
