"""What makes stated spreads true: how far off gazes come to rest, and how much a patch counts.

Where the network left a gaze says something by itself: on scenes that trained nothing its errors have a spread, and
that is a normal prior about where it came to rest (`posterior`). The patch model adds to it. It describes pixels as
independent given the hidden layer. Real misfit (light, hair, another pose) is shared by neighbouring pixels, so 1728
pixels are worth far fewer observations, and the posterior of a gaze comes out too narrow. Dividing the log-likelihood
by a temperature T widens it by about sqrt(T). T is fitted on scenes that trained nothing: with z the errors of
posterior means divided by the stated standard deviations, T grows by the square of the deviation of z, until it stays.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.attention.evidence import Evidence
from foveate.attention.found import Refined
from foveate.attention.models import Models
from foveate.attention.posterior.conformal import largest_errors
from foveate.attention.posterior.refine import TOGETHER, Resting, refine
from foveate.attention.settings import AttendSettings
from foveate.attention.shiftnet import change_between
from foveate.runtime.progress import Progress
from foveate.scenes import gaze
from foveate.training.gallery import NONE, Gallery
from foveate.training.labels import OBJECT
from foveate.training.ranking import Searched

ROUNDS = 4
START = 100.0  # a first guess: what photographs of faces were found to need
LARGEST = 1e5
FEWEST = 4  # gazes
LEAST = 1e-3  # spread


class Hits(NamedTuple):
    """Gazes that found an annotated object, and that object."""

    image: Int[Tensor, "n"]
    found: Float[Tensor, "n 4"]
    truth: Float[Tensor, "n 4"]


def fit_temper(
    models: Models, gallery: Gallery, searches: Sequence[Searched], attend: AttendSettings, progress: Progress
) -> tuple[Evidence, dict[str, Any]]:
    """Fits the resting spread and T on searches of scenes that trained nothing, and keeps what errors remain.

    Returns:
        The evidence with these, unchanged where too few objects were found to say; and figures about it.
    """
    evidence = models.trained_evidence
    hits = _hits(evidence, gallery, searches)
    if len(hits.image) < FEWEST:
        return evidence, {"temper": evidence.temper, "temper_objects": len(hits.image)}
    evidence = replace(evidence, spread=resting_spread(hits))
    if attend.posterior.chains == 0:
        return evidence, {"temper": evidence.temper, "temper_objects": len(hits.image)}
    temper, ratio, z = START, float("nan"), np.empty((0, 4))
    names = [f"{gallery.names[i]} {k}" for k, i in enumerate(hits.image.tolist())]
    resting = Resting(hits.image.tolist(), hits.found, names)
    with progress.phase("temper", ROUNDS * len(names)) as tick:
        for step in range(ROUNDS):
            evidence = replace(evidence, temper=temper)
            tempered = replace(models, evidence=evidence)
            before = step * len(names)
            work = refine(
                tempered, gallery.pyramids, resting, attend.posterior, attend.seed,
                lambda done, before=before: tick(before + done), TOGETHER,
            )  # fmt: skip
            refined = list(work)
            z = standardised_errors(refined, hits.truth)
            ratio = deviation(z[np.isfinite(z)]) if np.isfinite(z).any() else 1.0
            if abs(np.log(ratio)) < 0.05:
                break
            temper = float(np.clip(temper * ratio**2, 1.0, LARGEST))
    evidence = replace(evidence, errors=torch.from_numpy(np.sort(largest_errors(z[np.isfinite(z).all(1)]))))
    figures = {
        "temper": evidence.temper, "temper_objects": len(names), "temper_last_ratio": ratio,
        "resting_spread": evidence.spread.tolist(),
    }  # fmt: skip
    return evidence, figures


def resting_spread(hits: Hits) -> Float[Tensor, "4"]:
    """How far off the network comes to rest: standard deviations of (log s, angle, x / s, y / s)."""
    errors = change_between(hits.truth, hits.found).double().numpy()
    centre = deviation(errors[:, 2:].ravel())
    spread = [deviation(errors[:, 0]), deviation(errors[:, 1]), centre, centre]
    return torch.tensor(spread, dtype=torch.float64).clamp(min=LEAST)


def deviation(errors: Float[np.ndarray, "n"]) -> float:
    """The normal standard deviation that their 68 % and 95 % quantiles suggest, in the geometric mean of both.

    Errors have longer tails than a normal density; this is a compromise between the middle and the tails.
    """
    inner, outer = np.quantile(np.abs(errors), (0.6827, 0.9545))
    return float(np.sqrt(inner * outer / 2))


def standardised_errors(refined: Sequence[Refined], truth: Float[Tensor, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """(log s, angle, tx, ty) of posterior mean minus truth, in stated standard deviations; NaN where none is stated."""
    u = torch.from_numpy(np.stack([r.u for r in refined])).double()
    spread = np.stack([r.spread for r in refined])
    errors = torch.stack(
        (
            torch.log(gaze.scale(u) / gaze.scale(truth)),
            gaze.angle_difference(gaze.angle(u), gaze.angle(truth)),
            u[:, 2] - truth[:, 2],
            u[:, 3] - truth[:, 3],
        ),
        dim=1,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return errors.numpy() / np.where(spread > 0, spread, np.nan)


def _hits(evidence: Evidence, gallery: Gallery, searches: Sequence[Searched]) -> Hits:
    """The best gaze of each image, where it found an object."""
    image, found, truth = [], [NONE], [NONE]
    for search in searches:
        if not len(search.answer):
            continue
        best = int(np.argmax(evidence.score(search.measured)))
        if search.answer[best] == OBJECT:
            at, objects = search.gazes[best : best + 1], gallery.of(search.image)
            nearest = gaze.iou(gaze.to_boxes(at), gaze.to_boxes(objects))[0].argmax()
            image.append(search.image)
            found.append(at)
            truth.append(objects[nearest][None])
    return Hits(torch.tensor(image, dtype=torch.int64), torch.cat(found), torch.cat(truth))
