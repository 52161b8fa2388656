"""`foveate attend` with an attention that looks at pixels and names alone, so that what is around it can be tested."""

import json

import numpy as np
from PIL import Image

from foveate.cli import main as cli

# Attention whose gaze depends on the pixels and on the name that random numbers are keyed on, and on nothing else.
FAKE = """
import time
import numpy as np
from foveate.runtime.random import numpy_generator
from foveate.errors import BadInput
import torch
from foveate.attention.attend import Attention, Seen, reported
from foveate.attention.found import Found
from foveate.attention.settings import AttendSettings
from foveate.storage.run import Run
from pathlib import Path

PAUSE = 0.0

class Fake(Attention):
    def __init__(self, run):
        self.config, self.settings = Run(Path(run)).config, AttendSettings()

    def see(self, image, name, settings):
        time.sleep(PAUSE)
        if image.shape[0] == 13:
            raise BadInput("nothing can be attended in 13 rows")
        draw = numpy_generator(settings.seed, name).normal(size=2)
        x = float(image.mean()) / 10 + float(draw[0])
        founds = []
        for k, probability in enumerate((0.9, 0.6)):
            u = np.array([4.0, 1.0, x + k, 8.0])
            trail = np.stack([u + 1, u])
            founds.append(Found(u, 3.5 - k, probability, trail, network_steps=1))
        return Seen(*reported(founds, settings), torch.zeros(0, 4, dtype=torch.float64), np.zeros(0))

Attention.load = classmethod(lambda cls, run, device="cpu": Fake(run))
"""


def picture(path, shade, height=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, 30, 3), shade, np.uint8)).save(path, format="PNG")
    return path


def attend(*words):
    return cli.run(["attend", *map(str, words)])


def lines(path):
    """The lines without what the first of them tells of what made the file."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "foveate"} for line in found]
