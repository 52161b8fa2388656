"""The expectation step of learning without locations: attend every scene, and judge which can be trusted.

A scene teaches if its gaze's probability is high enough and its posterior narrow enough (`Trust`). With a kind of
object that the evidence has never seen, probabilities are low everywhere: when fewer than a share of the scenes are
so probable in the first round, that share of the scenes with the highest scores takes their place, provided their
probabilities are not negligible.

A scene teaches one object, the rest of it what is none. (Leaving alone what else is probable spares second objects, and
costs those false alarms that learning should unlearn: on portraits, where one in ten such places was a face, more were
reported afterwards, and probabilities were less true.)

A probability is that of the old kind, and of another kind often stated too low; and a patch model loses more by an
object missed than by a few patches that show something else. The least probability is therefore below one half.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.attention.attend import attend
from foveate.attention.models import Models
from foveate.attention.posterior.refine import TOGETHER
from foveate.attention.settings import AttendSettings
from foveate.learning.settings import Trust
from foveate.runtime.progress import Progress
from foveate.scenes import gaze
from foveate.training.gallery import Gallery


class Places(NamedTuple):
    """Where gazes came to rest in the scenes, several in each, and their scores."""

    scene: Int[Tensor, "m"]
    gaze: Float[Tensor, "m 4"]
    score: Float[Tensor, "m"]


class Attended(NamedTuple):
    """The best gaze of every scene."""

    # where the network left it; NaN where nothing was found. (A posterior under the model of another kind leans
    # towards that kind: what is learned from its means is a worse model than what is learned from these.)
    u: Float[Tensor, "n 4"]
    score: Float[Tensor, "n"]  # log-odds, -inf where nothing was found
    probability: Float[Tensor, "n"]  # P(object | score)
    spread: Float[Tensor, "n 3"]  # posterior deviations of (log s, angle, centre in half-sides)
    doubt: list[str]  # why its chains can't be believed; empty where they can
    places: Places  # all places in the scenes where gazes came to rest


class Verdict(NamedTuple):
    """Which scenes teach, and why the others do not."""

    teaches: list[int]
    reasons: list[str]  # of each scene; empty for those that teach


def attend_scenes(
    models: Models, gallery: Gallery, settings: AttendSettings, progress: Progress, name: str
) -> Attended:
    """The expectation step: the best gaze of every scene and its posterior."""
    best, count = replace(settings, max_gazes=1, min_probability=0.0), len(gallery.names)
    seen = attend(models, gallery.pyramids, dict(enumerate(gallery.names)), best, progress, name, TOGETHER)
    u, spread = (torch.full((count, n), torch.nan, dtype=torch.float64) for n in (4, 3))
    score, probability, doubt = torch.full((count,), -torch.inf), torch.zeros(count), ["nothing found"] * count
    for k, each in enumerate(seen):
        for found in each.founds:
            u[k], score[k], probability[k] = torch.from_numpy(found.rest), found.score, found.probability
            spread[k], doubt[k] = 0.0, ""
            if found.posterior is not None:
                log_s, angle, x, y = found.posterior.spread
                across = float(np.hypot(x, y)) / float(gaze.scale(u[k]))
                spread[k] = torch.tensor([log_s, angle, across], dtype=torch.float64)
                # Chains that disagree make the spread wide: that is judged by its bounds.
                doubt[k] = ", ".join(found.posterior.doubts)
    counts = torch.tensor([len(each.scores) for each in seen])
    places = Places(
        torch.repeat_interleave(torch.arange(count), counts),
        torch.cat([each.places for each in seen]),
        torch.cat([torch.from_numpy(each.scores) for each in seen]),
    )
    return Attended(u, score, probability, spread, doubt, places)


def best_places(scene: Int[Tensor, "m"], score: Float[Tensor, "m"]) -> dict[int, int]:
    """The place of the highest score in each scene that has any, the first where several have it."""
    best: dict[int, int] = {}
    for place in torch.argsort(score, descending=True, stable=True).tolist():
        best.setdefault(int(scene[place]), place)
    return best


def judge(attended: Attended, trust: Trust, first_round: bool) -> Verdict:
    """Applies the rule of the module's docstring; a reason for every scene that does not teach."""
    count = len(attended.doubt)
    floor = trust.probability
    if first_round and count and int((attended.probability >= floor).sum()) < max(trust.share * count, 1):
        ranked = torch.sort(attended.probability, descending=True).values
        floor = max(trust.negligible, float(ranked[max(int(np.ceil(trust.share * count)) - 1, 0)]))
    reasons = []
    for k in range(count):
        log_scale, angle, centre = attended.spread[k].tolist()
        if not torch.isfinite(attended.u[k]).all():
            reasons.append("nothing found")
        elif float(attended.probability[k]) < floor:
            reasons.append("probability too low")
        elif attended.doubt[k]:
            reasons.append("MCMC did not converge")
        elif not (centre <= trust.centre and log_scale <= trust.log_scale and angle <= trust.angle):
            reasons.append("posterior too wide")
        else:
            reasons.append("")
    return Verdict([k for k, reason in enumerate(reasons) if not reason], reasons)
