"""One factor that makes stated spreads true.

The patch model describes pixels as independent given the hidden layer. Real misfit (light, hair, another pose) is
shared by neighbouring pixels, so 1728 pixels are worth far fewer observations, and the posterior of a gaze comes out
too narrow. Dividing the log-likelihood by a temperature T widens it by about sqrt(T). T is fitted on scenes that
trained nothing: with z the errors of posterior means divided by the stated standard deviations, T grows by the square
of the ratio of the 68 % quantile of |z| to that of a normal density, until it stays.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.attention.attend import AttendSettings
from foveate.attention.gallery import Gallery
from foveate.attention.labels import OBJECT, label
from foveate.attention.models import Models
from foveate.attention.ranking import Searched
from foveate.attention.refine import Refined, refine
from foveate.attention.workers import map_images
from foveate.progress import Progress
from foveate.scenes import gaze

QUANTILE = 0.6827
ROUNDS = 4
START = 200.0  # a first guess: what photographs of faces were found to need
LARGEST = 1e5
FEWEST = 4  # gazes


class Hits(NamedTuple):
    """Gazes that found an annotated object, and that object."""

    image: Int[Tensor, "n"]
    found: Float[Tensor, "n 4"]
    truth: Float[Tensor, "n 4"]


def fit_temper(
    models: Models, gallery: Gallery, searches: Sequence[Searched], attend: AttendSettings, progress: Progress
) -> tuple[float, dict[str, float | int | None]]:
    """Fits T on searches of scenes that trained nothing.

    Returns:
        T, 1 where too few objects were found to say; and figures about it.
    """
    hits = _hits(models, gallery, searches)
    if len(hits.image) < FEWEST or attend.posterior.chains == 0:
        return 1.0, {"temper": 1.0, "temper_objects": len(hits.image)}
    temper, ratio = START, float("nan")
    names = [f"{gallery.names[i]} {k}" for k, i in enumerate(hits.image.tolist())]
    with progress.phase("temper", ROUNDS * len(names)) as tick:
        for step in range(ROUNDS):
            evidence = replace(models.evidence, temper=temper)
            tempered = Models(models.gdbn, models.shiftnet, evidence)

            def one(k: int, tempered: Models = tempered) -> Refined:
                return refine(
                    tempered, gallery.pyramids, [int(hits.image[k])], hits.found[k : k + 1], [names[k]],
                    attend.posterior, attend.seed,
                )[0]  # fmt: skip

            refined = []
            for done, result in enumerate(map_images(one, range(len(names)))):
                refined.append(result)
                tick(step * len(names) + done + 1)
            z = standardised_errors(refined, hits.truth)
            ratio = float(np.quantile(np.abs(z[np.isfinite(z)]), QUANTILE)) if np.isfinite(z).any() else 1.0
            if abs(np.log(ratio)) < 0.05:
                break
            temper = float(np.clip(temper * ratio**2, 1e-2, LARGEST))
    return temper, {"temper": temper, "temper_objects": len(names), "temper_last_ratio": ratio}


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


def _hits(models: Models, gallery: Gallery, searches: Sequence[Searched]) -> Hits:
    """The best gaze of each image, where it found an object."""
    found, truth, where = [], [], []
    for search in searches:
        objects = gallery.of(search.image)
        if not len(search.measured) or not len(objects):
            continue
        best = search.gazes[int(np.argmax(models.evidence.ranking.logit(search.measured)))]
        if int(label(best[None], objects, gallery.ignore[search.image])[0]) == OBJECT:
            nearest = gaze.iou(gaze.to_boxes(best[None]), gaze.to_boxes(objects))[0].argmax()
            found.append(best)
            truth.append(objects[nearest])
            where.append(search.image)
    empty = torch.zeros(0, 4, dtype=torch.float64)
    return Hits(
        torch.tensor(where, dtype=torch.int64),
        torch.stack(found) if found else empty,
        torch.stack(truth) if truth else empty,
    )
