"""The paper's inference, to the letter: no search, one network, Hamiltonian Monte Carlo on p(u | v, I).

Tang, Srivastava & Salakhutdinov (2014), section 4 and supplement. v starts from the mean of the aligned patches, u from
the mean of the annotated gazes. The ConvNet moves u STEPS times. Then, for ROUNDS rounds,

    h1 ~ p(h1 | v),    v ~ p(v | h1, u, I),    u by one transition of HMC, LEAPFROG steps, on
    log p(u | v, I) = -1/2 sum_i (x_i(u) - v_i)^2 / sigma_i^2 + log p(u),

with x(u) sampled from the image itself, no pyramid, and nothing tempered. (The ConvNet's contexts, which cover most of
an image, do come from the pyramid, as they did when it was trained.)
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.posterior.conditionals import PatchConditionals
from foveate.attention.posterior.sample import sample
from foveate.attention.posterior.summary import mean_gaze
from foveate.attention.settings import AttendSettings, PosteriorSettings
from foveate.attention.shiftnet import ShiftNet, follow
from foveate.scenes.glimpse import sizes_of
from foveate.scenes.pyramid import Pyramids
from foveate.storage.files import load_tensors, save_tensors

STEPS, ROUNDS, LEAPFROG = 4, 4, 20  # of the ConvNet; of v, h1 and u (the paper: 3 to 5); of a transition


class PaperStart(NamedTuple):
    """Where the paper's inference sets out."""

    v: Float[Tensor, "3 24 24"]  # mean of the aligned patches, standardised
    gaze: Float[Tensor, "4"]  # mean gaze: a, b in longest sides of the image, tx in widths and ty in heights

    @classmethod
    def of(
        cls, v: Float[Tensor, "n D"], pyramids: Pyramids, image: np.ndarray, gazes: Float[Tensor, "n 4"]
    ) -> "PaperStart":
        """From the standardised aligned patches and the annotated gazes of training objects."""
        mean = v.mean(0).view(3, *[round((v.shape[1] / 3) ** 0.5)] * 2).cpu()
        return cls(mean, mean_gaze((gazes / _unit(pyramids, image))[None])[0])

    def start(self, pyramids: Pyramids) -> Float[Tensor, "1 4"]:
        """The mean gaze in a single image."""
        return self.gaze[None] * _unit(pyramids, np.zeros(1, np.int64))

    def canonical(self, glimpse: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n 3 24 24"]:
        """v, whatever the glimpse shows: a `Canonical`."""
        return self.v.to(glimpse).expand(len(glimpse), -1, -1, -1)

    def save(self, path: Path) -> None:
        """Writes a file that `load` reads."""
        save_tensors(path, self._asdict(), {})

    @classmethod
    def load(cls, path: Path) -> "PaperStart":
        """Of a file that `save` wrote."""
        tensors = load_tensors(path)
        return cls(*(tensors[name] for name in cls._fields))


def infer(
    start: PaperStart, shiftnet: ShiftNet, patch: PatchConditionals, pyramids: Pyramids, settings: AttendSettings
) -> Float[Tensor, "steps 1 4"]:
    """The gaze's way over the single image of `pyramids`: the start, after each step, after each round."""
    here = torch.zeros(1, dtype=torch.int64)
    trail = follow(shiftnet, start.canonical, pyramids, here, start.start(pyramids), STEPS)
    how = PosteriorSettings(
        chains=1, warm_up=0, draws=ROUNDS, moves=1, n_leapfrog=LEAPFROG, target="paper", dispersion=0.0, pyramid=False,
        prior=settings.posterior.prior,
    )  # fmt: skip
    found = sample(pyramids, here.numpy(), trail[-1], ["paper"], patch, how, settings.seed)
    return torch.cat((trail, found.draws[0, 0][:, None]))


def _unit(pyramids: Pyramids, image: np.ndarray) -> Float[Tensor, "n 4"]:
    """What gazes are measured in, image by image."""
    width, height = sizes_of(pyramids, image)
    longest = torch.maximum(width, height)
    return torch.stack((longest, longest, width, height), 1)
