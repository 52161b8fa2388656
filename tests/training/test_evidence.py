"""Claims about what searches of annotated scenes teach."""

import numpy as np
import torch

from foveate.scenes.pyramid import Pyramids
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects, label
from foveate.training.ranking import Searched, calibrate


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


def test_mosaics_teach_the_ranking_but_not_how_probable_an_object_is():
    """Half of the photographs' gazes are objects and all of the mosaics', at the same scores."""
    gallery, rng = scenes(60), np.random.default_rng(0)

    def search(k: int, x: float) -> Searched:
        at = torch.tensor([[20.0, 0.0, x, 50.0]], dtype=torch.float64)
        return searched(gallery, k, at, rng.standard_normal((1, 1)))

    photographs = [search(k, 50.0 if k % 2 else 150.0) for k in range(60)]
    mosaics = [search(k, 50.0) for k in range(60)]
    ranking, calibration, counts = calibrate(photographs, mosaics)
    assert counts == {"calibration_objects": 30, "calibration_elsewhere": 30}
    middling = ranking.logit(np.zeros((1, 1)))
    assert abs(calibration.probability(middling)[0] - 0.5) < 0.1
    _, mixed, counts = calibrate(photographs, mosaics, 0.1)
    assert counts == {"calibration_objects": 36, "calibration_elsewhere": 30}, "six mosaics for sixty photographs"
    assert mixed.probability(middling)[0] > calibration.probability(middling)[0]


def test_with_too_few_objects_in_photographs_mosaics_are_calibrated_on_too():
    gallery = scenes(12)
    at = torch.tensor([[20.0, 0.0, 50.0, 50.0], [20.0, 0.0, 150.0, 50.0]], dtype=torch.float64)
    searches = [searched(gallery, k, at, np.array([[2.0 + k], [-2.0 - k]])) for k in range(12)]
    assert calibrate(searches[:6], searches[6:])[2] == {"calibration_objects": 12, "calibration_elsewhere": 12}
