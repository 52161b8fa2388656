"""Claims about mosaics, and about the network that says whether an object is near and here."""

import numpy as np
import pytest
import torch

from foveate.attention.evidence import HERE, NEAR
from foveate.attention.shiftnet import ShiftNet
from foveate.errors import FoveateError
from foveate.runtime.progress import Progress, Quiet
from foveate.runtime.random import generator
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids
from foveate.storage.checkpoints import Checkpoints
from foveate.training import verifier
from foveate.training.gallery import Gallery, take
from foveate.training.labels import UNCLEAR, Objects
from foveate.training.settings import MosaicSettings, PairSettings, VerifierPairSettings, VerifierSettings
from foveate.training.synthetic.mosaics import mosaics
from foveate.training.verifier import train_verifier
from foveate.training.verifier_pairs import draw

DISC, BOX = (230, 200, 40), (40, 60, 230)


def canonical(glimpse):
    return glimpse - 0.5


@pytest.fixture(scope="module")
def gallery():
    """Noise with a yellow disc, which is the object, and a blue square, which is not."""
    rng = np.random.default_rng(0)
    images, gazes = [], []
    for _ in range(16):
        pixels = rng.integers(0, 120, (200, 240, 3)).astype(np.uint8)
        s, x, y = rng.uniform(18, 34), rng.uniform(40, 90), rng.uniform(50, 150)
        rows, columns = np.mgrid[0:200, 0:240] + 0.5
        pixels[(columns - x) ** 2 + (rows - y) ** 2 < s**2] = DISC
        pixels[80:120, 170:210] = BOX
        images.append(pixels)
        gazes.append([s, 0.0, x, y])
    objects = Objects(torch.arange(16), torch.tensor(gazes, dtype=torch.float64))
    nothing = [torch.zeros(0, 4, dtype=torch.float64) for _ in images]
    return Gallery(Pyramids.from_images(images), [f"{k}.png" for k in range(16)], objects, nothing, [])


@pytest.fixture(scope="module")
def start():
    net = ShiftNet()
    net.reset(torch.Generator().manual_seed(0))
    return net.requires_grad_(False)


def hard_negatives(gallery):
    """The blue squares."""
    u = torch.tensor([[20.0, 0.0, 190.0, 100.0]], dtype=torch.float64).repeat(len(gallery.names), 1)
    return Objects(torch.arange(len(gallery.names)), u)


def doubtful(negatives):
    """An object may be there that nobody annotated."""
    return torch.zeros(len(negatives.image), dtype=torch.bool)


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


def test_answers_are_those_of_the_origins(gallery):
    settings, chosen = VerifierPairSettings(), torch.arange(16)[:10]
    counts = (settings.objects, settings.misses, settings.reaching, settings.starts, len(chosen))
    pairs = draw(gallery, hard_negatives(gallery), chosen, settings, PairSettings(), generator(0, "test"))
    assert pairs.context.shape == (sum(counts), 3, 72, 72)
    here, missed, reach, anywhere, wrong = (part for part in pairs.here.split(counts))
    assert (here == 1).all() and (wrong <= 0).all() and (missed <= 0).double().mean() > 0.9
    near = pairs.near.split(counts)
    assert (near[0] == 1).all() and (near[2] != 0).all() and (near[2] == 1).double().mean() > 0.5
    assert (near[3] != 1).all() and (near[4] != 1).all(), "surroundings may hide it from the others"
    assert ((reach == UNCLEAR) | (reach == 0) | (reach == 1)).all() and len(anywhere) == settings.starts


def test_it_learns_to_tell_objects_from_what_the_search_was_drawn_to(gallery, start):
    pairs = VerifierPairSettings(objects=12, misses=4, reaching=4, starts=4, negatives=12)
    settings = VerifierSettings(steps=60, pairs=pairs)
    negatives = hard_negatives(gallery)
    net, figures = train_verifier(
        gallery, negatives, doubtful(negatives), canonical, start, False, settings, PairSettings(), 1, Quiet(),
        verifier.NoCheckpoints(),
    )  # fmt: skip
    assert figures["verifier_missed"] < 0.25 and figures["verifier_fooled"] < 0.25
    held = draw(gallery, negatives, torch.arange(16), VerifierPairSettings(), PairSettings(), generator(9, "new"))
    with torch.no_grad():
        odds = net.shift(net.features(held.context, canonical(held.context[:, :, 24:48, 24:48])))
    right = (odds[:, HERE] > 0) == (held.here == 1)
    assert right[held.here != UNCLEAR].double().mean() > 0.8
    assert torch.isfinite(odds[:, NEAR]).all()


def test_what_looks_like_an_object_is_dropped_unless_there_is_none_for_certain():
    settings = VerifierSettings()
    memory = verifier.nothing_known(3)
    memory["visits"].fill_(settings.suspicious)
    memory["logit"].copy_(torch.tensor([9.0, 9.0, -9.0]))
    certain = torch.tensor([False, True, False])
    drawn = verifier._choose(memory, certain, settings, generator(0, "drawn"))
    assert set(drawn.tolist()) <= {1, 2} and (drawn == 1).sum() > (drawn == 2).sum()
    assert verifier._suspicious(memory, certain, settings).tolist() == [True, False, False]


def test_stopped_half_way_it_goes_on_to_the_same_weights_and_figures(gallery, start, tmp_path):
    pairs = VerifierPairSettings(objects=4, misses=2, reaching=2, starts=2, negatives=4)
    settings = VerifierSettings(steps=4, pairs=pairs, checkpoint_every=2)

    def trained(checkpoints, progress):
        return train_verifier(
            gallery,
            hard_negatives(gallery),
            doubtful(hard_negatives(gallery)),
            canonical,
            start,
            False,
            settings,
            PairSettings(),
            1,
            progress,
            checkpoints,
        )

    whole = trained(Checkpoints(tmp_path / "a"), Quiet())
    with pytest.raises(FoveateError, match="stop"):
        trained(Checkpoints(tmp_path / "b"), StopAfter(3))
    weights = whole[0].state_dict()
    for _ in range(2):  # from the middle, and from the last checkpoint
        resumed = trained(Checkpoints(tmp_path / "b"), Quiet())
        assert all(torch.equal(value, resumed[0].state_dict()[name]) for name, value in weights.items())
        assert resumed[1] == whole[1]


class StopAfter(Quiet):
    """Progress that stops what it shows."""

    def __init__(self, steps):
        self.steps = steps

    def show(self, tick):
        if tick.done >= self.steps:
            raise FoveateError("stop")
