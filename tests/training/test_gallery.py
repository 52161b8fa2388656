"""Claims about the scenes that training keeps in memory."""

import numpy as np
import pytest
import torch
from PIL import Image

from foveate.errors import BadInput
from foveate.runtime.progress import Quiet
from foveate.scenes.folder import read_scenes
from foveate.scenes.pyramid import Store
from foveate.training.gallery import Shown, gather, hold_out, join, load_gallery, take


@pytest.fixture
def folder(tmp_path):
    """Four pictures, of which the second is cut off."""
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (30, 40, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    broken = tmp_path / "1.png"
    broken.write_bytes(broken.read_bytes()[:-900])
    return tmp_path


def test_what_cannot_be_read_is_left_out_and_said(folder):
    said, heard = [], Quiet()
    heard.say = said.append
    gallery = load_gallery(read_scenes(folder, annotated=False).scenes, heard)
    assert gallery.names == ["0.png", "2.png", "3.png"] and len(gallery.pyramids) == 3
    (problem,) = gallery.problems
    assert problem.startswith("1.png: ") and said == [f"left out: {problem}"]


def test_too_few_that_can_be_read_are_refused_by_the_first_that_cannot(folder):
    with pytest.raises(BadInput, match=r"only 3 of 4 scenes can be read \(1\.png: "):
        load_gallery(read_scenes(folder, annotated=False).scenes, Quiet(), fewest=4)


def shown(first: int, count: int) -> list[Shown]:
    """Scenes of several sizes, each with as many objects as its number modulo three."""
    made = []
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number, 31, 3)).astype(np.uint8)
        gazes = torch.full((number % 3, 4), float(number), dtype=torch.float64)
        made.append(Shown(f"{number}", pixels, gazes, gazes[:1]))
    return made


def test_galleries_of_one_store_are_joined_and_taken_apart_without_a_copy():
    """However often the store has moved while it grew."""
    first = gather(shown(0, 3), Store())
    store = first.pyramids.store
    both = join(first, gather(shown(3, 4), store))
    assert both.pyramids.store is store and both.names == [f"{k}" for k in range(7)]
    some = take(both, [5, 1])
    for gallery, numbers in ((first, range(3)), (both, range(7)), (some, (5, 1))):
        for k, number in enumerate(numbers):
            alone = gather(shown(number, 1), Store())
            for level in range(alone.pyramids.levels[0]):
                assert np.array_equal(gallery.pyramids.level(k, level), alone.pyramids.level(0, level))
            assert torch.equal(gallery.of(k), alone.of(0)) and torch.equal(gallery.ignore[k], alone.ignore[0])
    assert store.values.size == sum(gather(shown(k, 1), Store()).pyramids.store.values.size for k in range(7))
    with pytest.raises(ValueError, match="two stores"):
        join(first, gather(shown(3, 4), Store()))


def test_what_was_added_for_a_while_gives_its_room_back():
    gallery = gather(shown(0, 3), Store())
    before, kept = gallery.pyramids.store.values.size, gallery.pyramids.level(2, 1).copy()
    with gallery.pyramids.store.scratch():
        gather(shown(3, 9), gallery.pyramids.store)
        assert gallery.pyramids.store.values.size > before
    assert gallery.pyramids.store.values.size == before and np.array_equal(gallery.pyramids.level(2, 1), kept)


def test_a_side_without_an_object_is_no_side():
    """Groups are kept together unless that would leave nothing to learn from, or nothing to check by."""
    u, none = torch.tensor([[5.0, 0, 9, 9]], dtype=torch.float64), torch.zeros(0, 4, dtype=torch.float64)
    halves = ["with"] * 10 + ["without"] * 10

    def gallery(with_objects):
        pixels = np.zeros((20, 20, 3), np.uint8)
        shown = [
            Shown(f"{k}.png", pixels, u if k < with_objects else none, none, [90] * (k < with_objects), group)
            for k, group in enumerate(halves)
        ]
        return gather(shown)

    one_side, both = gallery(10), gallery(20)
    assert one_side.hold_out(0.5, 0) == hold_out(one_side.names, 0.5, 0)
    assert both.hold_out(0.5, 0) == hold_out(halves, 0.5, 0) != hold_out(both.names, 0.5, 0)
    assert one_side.objects.periods().tolist() == [90] * 10
    assert join(both, take(both, [3, 15])).objects.periods().tolist() == [90] * 22
