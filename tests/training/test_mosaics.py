"""Claims about mosaics, and about scenes taken from a gallery."""

import numpy as np
import pytest
import torch
from pictures import in_disc

from foveate.runtime.progress import Progress
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids
from foveate.training.gallery import Gallery, take
from foveate.training.labels import Objects
from foveate.training.settings import MosaicSettings
from foveate.training.synthetic.mosaics import mosaics

DISC, BOX = (230, 200, 40), (40, 60, 230)


@pytest.fixture(scope="module")
def gallery():
    """Noise with a yellow disc, which is the object, and a blue square, which is not."""
    rng = np.random.default_rng(0)
    images, gazes = [], []
    for _ in range(16):
        pixels = rng.integers(0, 120, (200, 240, 3)).astype(np.uint8)
        s, x, y = rng.uniform(18, 34), rng.uniform(40, 90), rng.uniform(50, 150)
        pixels[in_disc(200, 240, x, y, s)] = DISC
        pixels[80:120, 170:210] = BOX
        images.append(pixels)
        gazes.append([s, 0.0, x, y])
    objects = Objects(torch.arange(16), torch.tensor(gazes, dtype=torch.float64))
    nothing = [torch.zeros(0, 4, dtype=torch.float64) for _ in images]
    return Gallery(Pyramids.from_images(images), [f"{k}.png" for k in range(16)], objects, nothing, [])


def test_objects_of_a_mosaic_are_where_it_says(gallery):
    made = mosaics(gallery, range(16), 12, 3, MosaicSettings(long=320, short=240))
    beyond = []
    assert len(made.objects.image) > 10
    for image, u in zip(made.objects.image.tolist(), made.objects.gaze.tolist(), strict=True):
        pixels = made.pyramids.level(image, 0) / 257
        at = pixels[int(u[3]), int(u[2])]
        assert np.abs(at - DISC).max() < 12, "the middle of a disc is yellow"
        edge = pixels[int(u[3]), int(np.clip(u[2] + 1.25 * u[0], 0, pixels.shape[1] - 1))]
        beyond.append(np.abs(edge - DISC).max())
    assert np.mean(np.array(beyond) > 40) > 0.8, "a quarter of its radius beyond its edge there is something else"
    boxes = gaze.to_boxes(made.objects.gaze)
    assert (boxes[:, :2] > -5).all() and (boxes[:, 2:] < 325).all()


def test_yellow_of_a_mosaic_belongs_to_an_object_or_to_an_ignored_region(gallery):
    made = mosaics(gallery, range(16), 12, 4, MosaicSettings(long=320, short=240, in_view=0.0))
    for k in range(12):
        pixels = made.pyramids.level(k, 0) / 257
        rows, columns = np.nonzero(np.abs(pixels - DISC).max(-1) < 12)
        known = torch.cat((gaze.to_boxes(made.of(k)), made.ignore[k])).numpy()
        inside = [
            ((known[:, :2] - 2 <= [x, y]) & (known[:, 2:] + 2 >= [x, y])).all(1).any()
            for x, y in zip(columns, rows, strict=True)
        ]
        # A twentieth of an object in view is nothing (GONE).
        assert np.mean(inside or [True]) > 0.9


def test_objects_of_a_mosaic_keep_how_far_their_angle_is_known(gallery):
    periods = torch.tensor([0, 90, 180, 360] * 4)
    known = gallery._replace(objects=gallery.objects._replace(angle_period=periods))
    for one in range(4):
        made = mosaics(known, [one], 6, 3, MosaicSettings(long=320, short=240))
        assert len(made.objects.image) and (made.objects.periods() == periods[one]).all()
    made = mosaics(known, range(16), 12, 3, MosaicSettings(long=320, short=240))
    assert torch.equal(
        made.objects.gaze, mosaics(gallery, range(16), 12, 3, MosaicSettings(long=320, short=240)).objects.gaze
    )
    assert len(torch.unique(made.objects.periods())) > 1


def test_a_mosaic_depends_on_its_number_and_the_seed_alone(gallery):
    few, many = (mosaics(gallery, range(16), count, 5) for count in (2, 4))
    assert np.array_equal(few.pyramids.level(1, 0), many.pyramids.level(1, 0)) and torch.equal(few.of(1), many.of(1))
    other = mosaics(gallery, range(16), 2, 6)
    assert few.pyramids.level(1, 0).shape != other.pyramids.level(1, 0).shape or not np.array_equal(
        few.pyramids.level(1, 0), other.pyramids.level(1, 0)
    )


def test_mosaics_say_how_far_they_are(gallery):
    shown = []

    class Shown(Progress):
        def show(self, tick):
            shown.append((tick.name, tick.done, tick.total))

    mosaics(gallery, range(16), 3, 5, progress=Shown())
    assert shown == [("mosaics", 1, 3), ("mosaics", 2, 3), ("mosaics", 3, 3)]


def test_scenes_taken_from_a_gallery_keep_their_pixels_objects_and_names(gallery):
    some = take(gallery, [5, 2])
    assert some.names == ["5.png", "2.png"] and torch.equal(some.of(0), gallery.of(5))
    assert np.array_equal(some.pyramids.level(1, 0), gallery.pyramids.level(2, 0))
