"""Claims about what searches of annotated scenes teach."""

from dataclasses import replace

import numpy as np
import torch

from foveate.attention.evidence import MEASURED, Evidence, Gaussian, capped
from foveate.boltzmann.dbn import GaussianDBN
from foveate.runtime.random import generator
from foveate.scenes.pyramid import Pyramids
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects, label
from foveate.training.ranking import Searched, calibrate, usual_ceiling

RATIO = MEASURED.index("log_ratio")


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


def test_the_ceiling_is_what_objects_usually_reach_and_noise_gains_nothing_above_it():
    gallery, rng = scenes(40), np.random.default_rng(0)
    at = torch.tensor([[20.0, 0.0, 50.0, 50.0], [20.0, 0.0, 150.0, 50.0]], dtype=torch.float64)
    searches = []
    for k in range(40):
        measured = rng.standard_normal((2, len(MEASURED)))
        measured[:, RATIO] = np.arcsinh([1.0 + 0.01 * k, 100.0])  # noise is nearly impossible as background
        searches.append(searched(gallery, k, at, measured))
    ceiling = usual_ceiling(searches)
    assert 1.3 < ceiling < 1.39, "nine in ten of 1.00 .. 1.39"
    under = capped(searches[0].measured, ceiling)
    np.testing.assert_allclose(np.sinh(under[:, RATIO]), [1.0, ceiling])
    rest = [k for k in range(len(MEASURED)) if k != RATIO]
    np.testing.assert_array_equal(under[:, rest], searches[0].measured[:, rest])


def test_a_gaze_is_measured_under_the_ceiling_and_the_ceiling_is_kept():
    gdbn, flat = GaussianDBN(1728, 2, 2), Gaussian(torch.zeros(1728), torch.eye(1728))
    gdbn.grbm.b.data.fill_(3.0)
    glimpse = torch.rand(3, 3, 24, 24, generator=generator(0, "glimpse"))
    evidence = Evidence(flat, -20_000.0, None, None)

    def measured(evidence: Evidence) -> np.ndarray:
        return evidence.measure(gdbn, glimpse, *torch.zeros(3, 3))

    free = measured(evidence)
    ceiling = float(np.sinh(free[:, RATIO]).mean())
    under = replace(evidence, ceiling=ceiling)
    np.testing.assert_allclose(measured(under), capped(free, ceiling), rtol=1e-6)
    assert (measured(under)[:, RATIO] < free[:, RATIO]).any()
    assert Evidence.from_tensors(under.tensors()).ceiling == ceiling
    older = {name: tensor for name, tensor in under.tensors().items() if name != "ceiling"}
    assert Evidence.from_tensors(older).ceiling == np.inf


def test_without_an_object_found_nothing_is_capped():
    gallery = scenes(2)
    at = torch.tensor([[20.0, 0.0, 150.0, 50.0]], dtype=torch.float64)
    measured = np.full((1, len(MEASURED)), 5.0)
    assert usual_ceiling([searched(gallery, 0, at, measured)]) == usual_ceiling([]) == np.inf
    np.testing.assert_array_equal(capped(measured, np.inf), measured)
