"""Claims about what searches of annotated scenes teach."""

import numpy as np
import torch

from foveate.scenes.pyramid import Pyramids
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects, label
from foveate.training.ranking import Searched, calibrate, missed_share


def scenes(count: int) -> Gallery:
    """Blank images, each with one object in the same place."""
    gazes = torch.tensor([[20.0, 0.0, 50.0, 50.0]], dtype=torch.float64).repeat(count, 1)
    nothing = [torch.zeros(0, 4, dtype=torch.float64) for _ in range(count)]
    images = [np.zeros((100, 200, 3), np.uint8)] * count
    return Gallery(
        Pyramids.from_images(images), [f"{k}" for k in range(count)], Objects(torch.arange(count), gazes), nothing, []
    )


def searched(gallery: Gallery, image: int, at: torch.Tensor, measured: np.ndarray) -> Searched:
    """A search that ended at these gazes."""
    return Searched(image, at, measured, label(at, gallery.of(image), gallery.ignore[image]).numpy())


def test_probabilities_are_of_the_gazes_that_are_reported():
    """At every object rest five gazes of falling score; where no object is, one of middling score.

    Of reported gazes, the best at each place, those of middling score are never objects: counting the others at the
    objects would say that four in five are.
    """
    gallery, rng, searches = scenes(40), np.random.default_rng(0), []
    for k in range(40):
        at = np.array([[20.0, 0.1 * j, 50.0 + j, 50.0] for j in range(5)] + [[20.0, 0.0, 150.0, 50.0]])
        score = np.array([6.0, 0.2, 0.1, 0.0, -0.1, 0.05]) + 0.1 * rng.standard_normal(6)
        searches.append(searched(gallery, k, torch.from_numpy(at), score[:, None]))
    ranking, calibration, counts = calibrate(searches)
    middling, high = calibration.probability(ranking.logit(np.array([[0.05], [6.0]])))
    assert counts == {"calibration_objects": 40, "calibration_elsewhere": 40}
    assert middling < 0.1 and high > 0.9


def test_a_gaze_that_may_or_may_not_have_found_its_object_counts_for_nothing():
    gallery = scenes(8)
    at = torch.tensor([[20.0, 0.0, 50.0, 50.0], [20.0, 0.0, 65.0, 50.0], [20.0, 0.0, 150.0, 50.0]]).double()
    searches = [searched(gallery, k, at[[k % 3]], np.array([[1.0 + k]])) for k in range(8)]
    assert calibrate(searches)[2] == {"calibration_objects": 3, "calibration_elsewhere": 2}


def test_an_object_is_missed_where_no_gaze_came_to_rest_whatever_its_probability():
    gallery = scenes(4)
    at = torch.tensor([[20.0, 0.0, 50.0, 50.0], [0.0, 21.0, 52.0, 50.0], [20.0, 0.0, 150.0, 50.0]]).double()
    searches = [
        searched(gallery, k, at[rows], np.zeros((len(rows), 1))) for k, rows in enumerate(([0], [1, 2], [2], []))
    ]
    assert missed_share(gallery, searches) == 0.5, "two of four; one that is turned was found"
    assert missed_share(gallery, []) == 0.0
