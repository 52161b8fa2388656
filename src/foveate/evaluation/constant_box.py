"""What is reached without looking: one box in all images, at the median place and of the median size."""

from collections.abc import Sequence

import numpy as np

from foveate.evaluation.matching import overlaps
from foveate.scenes.scene import Scene


def constant_box(scenes: Sequence[Scene], thresholds: Sequence[str]) -> dict[str, float | None]:
    """Top-1 accuracy of a constant box, by IoU threshold; None where fewer than two images have an object.

    For each image the box is the median of centre and half-side over all objects of the other images (leave one out),
    relative to the image: the centre to its width and height, the half-side to its shorter side. So the box knows of
    these images what annotations can tell, and no annotation of the image itself.
    """
    full = [scene for scene in scenes if len(scene.gazes)]
    if len(full) < 2:
        return dict.fromkeys(thresholds)
    relative = []
    for scene in full:
        u, shorter = scene.gazes, min(scene.width, scene.height)
        centre = u[:, 2:] / (scene.width, scene.height)
        relative.append(np.column_stack((np.hypot(u[:, 0], u[:, 1]) / shorter, centre)))
    places, owner = np.concatenate(relative), np.repeat(np.arange(len(full)), [len(each) for each in relative])
    best = np.zeros(len(full))
    for k, scene in enumerate(full):
        half, x, y = np.median(places[owner != k], axis=0)
        box = np.array([[half * min(scene.width, scene.height), 0.0, x * scene.width, y * scene.height]])
        best[k] = overlaps(box, scene.gazes).max()
    return {threshold: float((best >= float(threshold)).mean()) for threshold in thresholds}
