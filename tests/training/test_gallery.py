"""Claims about the scenes that training keeps in memory."""

import numpy as np
import pytest
from PIL import Image

from foveate.errors import BadInput
from foveate.runtime.progress import Quiet
from foveate.scenes.folder import read_scenes
from foveate.training.gallery import load_gallery


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
