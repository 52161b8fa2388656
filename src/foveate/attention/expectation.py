"""The expectation step of learning without locations: attend every scene, and judge which can be trusted.

A scene teaches if its gaze's probability is high enough and its posterior narrow enough (`Trust`). With a kind of
object that the evidence has never seen, probabilities are low everywhere: when fewer than a share of the scenes are
so probable in the first round, that share of the scenes with the highest scores takes their place, provided their
probabilities are not negligible.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.attend import AttendSettings, find
from foveate.attention.gallery import Gallery
from foveate.attention.models import Models
from foveate.attention.posterior_summary import DIVERGING, NOT_MOVING
from foveate.attention.refine import refine_many
from foveate.attention.workers import map_images
from foveate.progress import Progress
from foveate.scenes import gaze


@dataclass(frozen=True)
class Trust:
    """Which attended scenes teach."""

    probability: float = 0.5  # least P(object | score)
    centre: float = 0.25  # largest posterior deviation of the centre, half-sides
    log_scale: float = 0.25  # of log scale
    angle: float = 0.35  # of the angle, radians
    share: float = 0.25  # of the scenes that teach in the first round even if less probable
    negligible: float = 0.02  # but not below this probability
    fewest: int = 8  # scenes


class Attended(NamedTuple):
    """The best gaze of every scene.

    Attributes:
        u: Its gaze; NaN where nothing was found.
        score: Log-odds, -inf where nothing was found.
        probability: P(object | score).
        spread: Posterior deviations of (log s, angle, centre in half-sides).
        doubt: Why its chains can't be believed; empty where they can.
    """

    u: Float[Tensor, "n 4"]
    score: Float[Tensor, "n"]
    probability: Float[Tensor, "n"]
    spread: Float[Tensor, "n 3"]
    doubt: list[str]


class Verdict(NamedTuple):
    """Which scenes teach, and why the others do not: a reason each, empty for those that teach."""

    teaches: list[int]
    reasons: list[str]


def attend_scenes(
    models: Models, gallery: Gallery, settings: AttendSettings, progress: Progress, name: str
) -> Attended:
    """The expectation step: the best gaze of every scene and its posterior."""
    best = []
    with progress.phase(name, len(gallery.names)) as tick:
        work = map_images(lambda i: _best(models, gallery, i, settings), range(len(gallery.names)))
        for done, each in enumerate(work):
            best.append(each)
            tick(done + 1)
    u, score, probability = torch.stack([b[0] for b in best]), [b[1] for b in best], [b[2] for b in best]
    spread = torch.zeros(len(best), 3, dtype=torch.float64)
    doubt = [""] * len(best)
    seen = torch.isfinite(u).all(1).nonzero()[:, 0].tolist()
    for k in set(range(len(best))) - set(seen):
        spread[k], doubt[k] = torch.nan, "nothing found"
    if settings.posterior.chains:
        names = [gallery.names[k] for k in seen]
        with progress.phase(f"{name}: posterior", len(seen)) as tick:
            work = refine_many(models, gallery.pyramids, seen, u[seen], names, settings.posterior, settings.seed, tick)
            for k, refined in zip(seen, work, strict=True):
                across = float(np.hypot(refined.spread[2], refined.spread[3]))
                s = float(gaze.scale(u[k]))
                spread[k] = torch.tensor([refined.spread[0], refined.spread[1], across / s], dtype=torch.float64)
                # Chains that disagree are in different places, and make the spread wide: that is judged by its bounds.
                doubt[k] = ", ".join(sorted({NOT_MOVING, DIVERGING} & set(refined.flags)))
                u[k] = torch.from_numpy(refined.u)
    return Attended(u, torch.tensor(score), torch.tensor(probability), spread, doubt)


def _best(
    models: Models, gallery: Gallery, image: int, settings: AttendSettings
) -> tuple[Float[Tensor, "4"], float, float]:
    """The gaze of highest score, its score and its probability."""
    candidates = find(models, gallery.pyramids.only(image), settings)
    if not len(candidates.measured):
        return torch.full((4,), torch.nan, dtype=torch.float64), -float("inf"), 0.0
    scores = models.evidence.ranking.logit(candidates.measured)
    best = int(np.argmax(scores))
    probability = float(models.evidence.calibration.probability(scores[best : best + 1])[0])
    return candidates.trails[-1, best], float(scores[best]), probability


def realign(
    models: Models,
    gallery: Gallery,
    u: Float[Tensor, "n 4"],
    images: Sequence[int],
    settings: AttendSettings,
    progress: Progress,
    name: str,
) -> Float[Tensor, "n 4"]:
    """Gazes of some of the scenes moved to where another patch model has them: posterior means around where they were.

    The first patch model of a new kind is learned from gazes that a network for another kind has led, and is an average
    of what they saw. It knows better than each of them where the object is.
    """
    moved, images = u.clone(), list(images)
    names = [f"{gallery.names[i]} again" for i in images]
    with progress.phase(name, len(images)) as tick:
        work = refine_many(models, gallery.pyramids, images, u[images], names, settings.posterior, settings.seed, tick)
        for i, found in zip(images, work, strict=bool(settings.posterior.chains)):
            moved[i] = torch.from_numpy(found.u)
    return moved


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
            reasons.append("chains not believed")
        elif not (centre <= trust.centre and log_scale <= trust.log_scale and angle <= trust.angle):
            reasons.append("posterior too wide")
        else:
            reasons.append("")
    return Verdict([k for k, reason in enumerate(reasons) if not reason], reasons)
