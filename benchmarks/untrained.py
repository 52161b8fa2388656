"""A whole RUN that has learned nothing: what attention costs does not depend on what its weights are."""

from pathlib import Path

import numpy as np
import torch

from foveate.attention.calibration import Calibration, Logistic
from foveate.attention.evidence import MEASURED, Background, Evidence
from foveate.attention.periphery import Periphery
from foveate.attention.posterior.law import Law
from foveate.attention.shiftnet import ShiftNet
from foveate.boltzmann.dbn import GaussianDBN
from foveate.storage.files import save_tensors
from foveate.storage.run import PERIPHERY

PIXELS = 3 * 24 * 24


def write_untrained(run: Path, n_hidden1: int = 2000, n_hidden2: int = 1000, category: str = "disc") -> Path:
    """Write a RUN whose network moves at random, and that takes any gaze inside the image for an object."""
    run.mkdir(parents=True)
    (run / "config.toml").write_text(f'category = "{category}"\n')
    source = torch.Generator().manual_seed(0)
    gdbn = GaussianDBN(PIXELS, n_hidden1, n_hidden2)
    gdbn.grbm.W.data.normal_(0, 0.01, generator=source)
    gdbn.save(run / "gdbn.safetensors")
    net, periphery = ShiftNet(), Periphery()
    for each in (net, periphery):
        each.reset(source)
    net.save(run / "shiftnet.safetensors")
    periphery.save(run / PERIPHERY)
    flat = Background.normal(torch.zeros(PIXELS), torch.eye(PIXELS))
    outside = np.array([name == "outside" for name in MEASURED], dtype=float)  # the less of that, the better
    ranking = Logistic(0.29 * outside, 1 - 0.995 * outside, -outside, 0.0)
    calibration = Calibration(0.0, 1.0, 1.0, 0.0, positives=5, negatives=5)
    law = Law.constant(np.full(3, 0.05))  # about as far off as trained networks come to rest
    evidence = Evidence(flat, 0.0, ranking, calibration, temper=100.0, law=law)
    save_tensors(run / "background.safetensors", evidence.tensors())
    return run
