"""Where gazes set out, a strategy for each value of the setting `starts`, and where they are led.

A strategy is one function of the models, one image and the settings. To add one: the function and its line in
`STRATEGIES` here, its name in `settings.StartStrategy`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.models import Models
from foveate.attention.posterior.paper import infer
from foveate.attention.proposals import Answers, glance, propose, searched
from foveate.attention.settings import AttendSettings, StartStrategy
from foveate.attention.shiftnet import follow, sound
from foveate.errors import BadInput
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids


class Starts(NamedTuple):
    """Gazes that set out over one image."""

    trails: Float[Tensor, "steps n 4"]  # where they do, after the way there if they have come one
    answers: Answers  # what the periphery says of the image; none without one
    steps: int  # of the ShiftNet, that they are to take


def one(models: Models, pyramids: Pyramids, settings: AttendSettings) -> Starts:
    """The paper's single start, whose context covers the image."""
    answers = Answers.none() if models.periphery is None else glance(models.folded, pyramids)
    start = gaze.covering(int(pyramids.width[0, 0]), int(pyramids.height[0, 0]))
    return Starts(start[None], answers, settings.one_steps)


def many(models: Models, pyramids: Pyramids, settings: AttendSettings) -> Starts:
    """The periphery's proposals; BadInput where the models have none."""
    answers = glance(models.folded, pyramids)
    likely = searched(answers, pyramids, settings.posterior.prior)
    return Starts(propose(likely, settings.search).gazes[None], answers, settings.search.coarse)


def paper(models: Models, pyramids: Pyramids, settings: AttendSettings) -> Starts:
    """The paper's own inference, which leaves nothing to be led; BadInput where the models were not trained for it."""
    if models.paper is None:
        raise BadInput("the paper's inference needs a RUN of foveate train --paper")
    return Starts(infer(models.paper, models.shiftnet, models.conditionals, pyramids, settings), Answers.none(), 0)


STRATEGIES: dict[StartStrategy, Callable[[Models, Pyramids, AttendSettings], Starts]] = {
    "one": one, "many": many, "paper": paper,
}  # fmt: skip


def lead(models: Models, pyramids: Pyramids, settings: AttendSettings) -> tuple[Float[Tensor, "steps n 4"], Answers]:
    """Leads gazes over the single image of `pyramids` until they rest; and what the periphery says of the image.

    With one in mind every gaze is led twice: with v held at that one, and with the v of its glimpses as ever.
    """
    begun, answers, steps = STRATEGIES[settings.starts](models, pyramids, settings)
    here = torch.zeros(begun.shape[1], dtype=torch.int64)
    held = [] if models.mind is None else [models.mind.canonical]
    ways = []
    for canonical in (models.canonical, *held):
        trails = begun
        for net, count in ((models.shiftnet, steps), (models.fine, settings.search.fine)):
            if net is not None:
                trails = torch.cat((trails, follow(net, canonical, pyramids, here, trails[-1], count)[1:]))
        ways.append(trails)
    trails = torch.cat(ways, 1)
    return trails[:, sound(trails[-1], pyramids)], answers
