"""Where gazes set out: a strategy for each value of the setting `starts`.

A strategy is one function of the models, one image and the settings. To add one: the function and its line in
`STRATEGIES` here, its name in `settings.StartStrategy`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from foveate.attention.models import Models
from foveate.attention.search import crowds
from foveate.attention.settings import AttendSettings, StartStrategy
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids


class Starts(NamedTuple):
    """Gazes that set out over one image.

    Attributes:
        trails: The way of each so far, its first gaze first: [1 n 4] where they have not moved yet.
        votes: What stands behind each beside what is seen there (`evidence` weighs it): of a hundred gazes that
            looked, how many came there.
        steps: Of the ShiftNet, that they are still to take.
    """

    trails: Float[Tensor, "steps n 4"]
    votes: Float[np.ndarray, "n"]
    steps: int


def one(models: Models, pyramids: Pyramids, settings: AttendSettings) -> Starts:
    """The paper's single start, whose context covers the image."""
    start = gaze.covering(int(pyramids.width[0, 0]), int(pyramids.height[0, 0]))
    return Starts(start[None], np.ones(1), settings.one_steps)


def many(models: Models, pyramids: Pyramids, settings: AttendSettings) -> Starts:
    """One gaze of each crowd to which a search from grids of starts leads, already at rest."""
    return Starts(*crowds(models, pyramids, settings.search), steps=0)


STRATEGIES: dict[StartStrategy, Callable[[Models, Pyramids, AttendSettings], Starts]] = {"one": one, "many": many}
