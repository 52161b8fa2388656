"""Several kinds in one picture: gazes at one place exclude each other."""

import numpy as np
import pytest
from founds import found, seen

from foveate.attention.attend import Attention
from foveate.attention.images.image_files import attend_images
from foveate.attention.images.kinds import Kinds, exclusive
from foveate.attention.settings import AttendSettings
from foveate.errors import BadInput
from foveate.runtime.progress import Quiet

HERE, BESIDE, FAR = ([10.0, 0.0, x, 50.0] for x in (50.0, 54.0, 150.0))


class Sees(Attention):
    """Finds what it is given, and keeps how it was asked."""

    def __init__(self, category, *founds):
        self.config, self.founds = {"category": category}, founds

    def see(self, image, name, settings):
        self.asked = settings
        return seen(self.founds[:1], self.founds[1:])


def test_the_most_probable_of_all_kinds_stays_whatever_the_scores():
    white = Sees("white", found(HERE, 9.0, 0.7), found(FAR, 1.0, 0.2))
    red = Sees("red", found(BESIDE, 2.0, 0.8), found([10.0, 0.0, 200.0, 50.0], 0.0, 0.05))
    kinds = Kinds([white, red], [AttendSettings(min_probability=0.4)])
    one = kinds.see(np.zeros((9, 9, 3), np.uint8), "", AttendSettings(seed=7))
    assert [(each.category, each.probability) for each in one.founds] == [("red", 0.8), ("white", 0.2)]
    assert [(each.category, each.probability) for each in one.others] == [("red", 0.05)]
    assert white.asked.min_probability == 0.1 and red.asked.min_probability == 0.4
    assert white.asked.seed == red.asked.seed == 7
    assert exclusive([]) == []
    with pytest.raises(BadInput, match="names that differ, got red, red"):
        Kinds([red, red], [AttendSettings()])


def test_each_image_has_counts_by_kind(tmp_path):
    from PIL import Image

    Image.new("RGB", (300, 100)).save(tmp_path / "a.png")
    kinds = Kinds([Sees("white", found(HERE, 9.0, 1.0)), Sees("red"), Sees("none")], [AttendSettings()] * 2)
    for tiles in (False, True):
        with Quiet().phase("attend", 1) as tick:
            images = [("a", str(tmp_path / "a.png"))]
            (attended,) = attend_images(kinds, images, AttendSettings(), tick, 1, tiles)
        line = attended.line()
        assert [each["category"] for each in line["gazes"]] == ["white"]
        assert line["counts"] == {"white": [1.0, 1, 1], "red": [0.0, 0, 0], "none": [0.0, 0, 0]}
