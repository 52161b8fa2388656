"""How a new kind is learned where nobody has said where it is, and the presets of `foveate learn`. Imports no torch."""

import math
from dataclasses import field
from typing import Annotated

from pydantic import Field

from foveate.storage.config import AtLeast0, AtLeast1, NotNegative, Positive, Share, Unlisted, settings
from foveate.training.settings import PRESETS as TRAINING
from foveate.training.settings import TrainSettings

Limit = Annotated[float, Field(ge=0, allow_inf_nan=True)]  # inf: none; nan is not taken
Tolerance = Annotated[float, Field(gt=-math.inf, allow_inf_nan=True)]  # inf: a round is never undone


@settings
class Trust:
    """Which attended scenes teach."""

    probability: NotNegative = 0.3  # least P(object | score); above 1 none teaches
    centre: Limit = 0.25  # largest posterior deviation of the centre, half-sides
    log_scale: Limit = 0.25  # of log scale
    angle: Limit = 0.35  # of the angle, radians
    share: Annotated[Share, Unlisted] = 0.25  # of the scenes that teach in the first round even if less probable
    negligible: Share = 0.02  # but not below this probability
    fewest: Annotated[int, Field(ge=2)] = 8  # scenes


@settings
class LearnSettings:
    """How a new kind is learned."""

    seed: AtLeast0 = 0
    rounds: AtLeast1 = 2  # of expectation and maximisation
    shiftnet_steps: AtLeast0 = 1200  # of each round, from the weights of the round before
    shiftnet_rate: Positive = 0.01
    fine_steps: AtLeast0 = 300  # of the network that looks closer, likewise
    periphery_steps: AtLeast1 = 1000  # of each round, likewise
    tolerance: Tolerance = 5.0  # nats by which a round may lower the bound before it is undone
    trust: Trust = field(default_factory=Trust)
    train: TrainSettings = field(default_factory=TrainSettings)  # of the maximisation step; seed: of RUN's own training


# A single gaze an image finds the object in half of them: of those called as probable as not, five in six have.
_SURE = Trust(probability=0.5)
PRESETS = {
    "quick": LearnSettings(rounds=1, shiftnet_steps=60, fine_steps=40, periphery_steps=60, train=TRAINING["quick"]),
    "standard": LearnSettings(),
    "paper": LearnSettings(trust=_SURE, train=TRAINING["paper"]),
    "paper-quick": LearnSettings(shiftnet_steps=200, fine_steps=0, trust=_SURE, train=TRAINING["paper-quick"]),
}
