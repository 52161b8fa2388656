"""Images attended one after another: memory flat in their number, reading beside looking."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from founds import seen
from PIL import Image

from foveate.attention.attend import Attention
from foveate.attention.images import image_files as attending
from foveate.attention.settings import AttendSettings
from foveate.runtime.progress import Quiet

MEMORY = Path(__file__).resolve().parent.parent.parent.parent / "benchmarks" / "memory.py"


def measured(environment, tmp_path, *words):
    """What the benchmark of memory prints of one case."""
    command = [sys.executable, str(MEMORY), "--folder", str(tmp_path), "--run", "none", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_memory_is_flat_in_the_number_of_images(environment, tmp_path):
    """Ten times as many images: less than 20 MB more, where keeping the pixels of each would take 25 MB."""
    said = measured(environment, tmp_path, "--case", "many", "--images", "3000")
    assert float(re.search(r": ([+-][\d.]+) MB$", said.strip())[1]) < 20, said


@pytest.mark.parametrize("tiles", [False, True])
def test_the_next_image_is_decoded_while_one_is_looked_at(tiles, tmp_path, monkeypatch):
    paths = []
    for number in range(4):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.full((8, 9, 3), number, np.uint8)).save(paths[-1])
    opened = [threading.Event() for _ in paths]
    real = attending.open_picture

    def open_picture(path, max_side=None, page=0):
        opened[paths.index(path)].set()
        return real(path, max_side)

    class Patient(Attention):
        """Looks at an image until the next one is being decoded."""

        def __init__(self):
            pass

        def see(self, image, name, settings):
            number = int(image[0, 0, 0])
            beside.append(number + 1 == len(paths) or opened[number + 1].wait(30))
            return seen([])

    beside = []
    monkeypatch.setattr(attending, "open_picture", open_picture)
    images = [(path, path) for path in paths]
    with Quiet().phase("attend") as tick:
        found = list(attending.attend_images(Patient(), images, AttendSettings(), tick, workers=2, tiles=tiles))
    assert [attended.error for attended in found] == [None] * 4
    assert beside == [True] * 4, "an image was not decoded before the one before it had been looked at"
