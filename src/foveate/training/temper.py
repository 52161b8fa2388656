"""What makes stated spreads true: how far off gazes come to rest, and how much a patch counts.

Where the network left a gaze says something by itself: on scenes that trained nothing, and on copies of them that are
harder to see, its errors have a law (`posterior.law`), and that is a normal prior about where it came to rest. The
patch model adds to it. It describes pixels as independent given the hidden layer. Real misfit (light, hair, another
pose) is shared by neighbouring pixels, so 1728 pixels are worth far fewer observations, and the posterior of a gaze
comes out too narrow. Dividing the log-likelihood by a temperature T widens it by about sqrt(T). T is fitted on scenes
that trained nothing: with z the errors of posterior means divided by the stated standard deviations, T grows by the
square of the deviation of z, until it stays.

An inferred gaze is no truth: networks that learned from such gazes come back to where those were. With e the distance
from one, of deviation d, and the gaze itself off by tau (independent of e), what is off is off by sqrt(d^2 + tau^2):
such errors count as e sqrt(1 + tau^2 / d^2).
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
from foveate.attention.nms import non_maximum_suppression
from foveate.attention.posterior.conformal import largest_errors
from foveate.attention.posterior.law import Law, fit_law
from foveate.attention.posterior.refine import TOGETHER, Resting, pushed_gazes, refine
from foveate.attention.settings import AttendSettings
from foveate.attention.shiftnet import change_between, move
from foveate.errors import present
from foveate.runtime.progress import Progress
from foveate.scenes import gaze
from foveate.training.gallery import NONE, Gallery
from foveate.training.labels import OBJECT
from foveate.training.ranking import Searched, search_scenes
from foveate.training.synthetic.degraded import WAYS, degraded

ROUNDS = 4
START = 100.0  # a first guess: what photographs of faces were found to need
LARGEST = 1e5
FEWEST = 4  # gazes
ENOUGH = 150  # hits in scenes as they are: where images are few and hold several objects, several of each image
SPOILT = 1000  # copies of scenes that are harder to see, about
TOGETHER_SPOILT = 5 * len(WAYS)  # scenes whose copies are in memory at a time; of each the ways follow one another


class Hits(NamedTuple):
    """Gazes that found an annotated object, and that object."""

    image: Int[Tensor, "n"]
    found: Float[Tensor, "n 4"]
    truth: Float[Tensor, "n 4"]
    features: Float[np.ndarray, "n features"]  # see `law.pushed`

    @property
    def errors(self) -> Float[np.ndarray, "n 4"]:
        """Of (log s, angle, x / s, y / s)."""
        return change_between(self.truth, self.found).double().numpy()


def fit_temper(
    models: Models,
    gallery: Gallery,
    searches: Sequence[Searched],
    attend: AttendSettings,
    progress: Progress,
    spoilt: Hits | None = None,
    unsure: Float[Tensor, "scenes 4"] | None = None,
) -> tuple[Evidence, dict[str, Any]]:
    """Fits the law of error and T on searches of scenes that trained nothing, and keeps what errors remain.

    With hits in copies of scenes that are `spoilt`, harder to see, a law is learned from them and from the scenes
    themselves; without, the law of before stays but for its size. `unsure` is that of `TrainingData`.

    Returns:
        The evidence with these, unchanged where too few objects were found to say; and figures about it.
    """
    evidence = models.trained_evidence
    hits = as_far_as_the_truth(hits_of(models, gallery, searches), unsure)
    if enough := len(hits.image) >= FEWEST:
        evidence = replace(evidence, law=law_of(hits, evidence.law, spoilt))
    if not enough or attend.posterior.chains == 0:
        return evidence, {"temper": evidence.temper, "temper_objects": len(hits.image)}
    temper, ratio, z = START, float("nan"), np.empty((0, 4))
    names = [f"{gallery.names[i]} {k}" for k, i in enumerate(hits.image.tolist())]
    resting = Resting(hits.image.tolist(), hits.found, names)
    with progress.phase("temper", ROUNDS * len(names)) as tick:
        for step in range(ROUNDS):
            evidence = replace(evidence, temper=temper)
            tempered, how = replace(models, evidence=evidence), (attend.posterior, attend.seed)
            # chains, of a second each, would decide about few gazes
            work = refine(tempered, gallery.pyramids, resting, *how, together=TOGETHER, chains=False)
            refined = []
            for each in work:
                refined.append(each)
                tick(step * len(names) + len(refined))
            z = standardised_errors(refined, hits.truth)
            ratio = deviation(z[np.isfinite(z)]) if np.isfinite(z).any() else 1.0
            if abs(np.log(ratio)) < 0.05:
                break
            temper = float(np.clip(temper * ratio**2, 1.0, LARGEST))
    evidence = replace(evidence, errors=torch.from_numpy(np.sort(largest_errors(z[np.isfinite(z).all(1)]))))
    figures = {
        "temper": evidence.temper, "temper_objects": len(names), "temper_last_ratio": ratio,
        "resting_spread": np.exp(present(evidence.law, "the law of error").intercept).tolist(),
        "law_hits": len(hits.image) + (0 if spoilt is None else len(spoilt.image)),
    }  # fmt: skip
    return evidence, figures


def law_of(hits: Hits, before: Law | None, spoilt: Hits | None) -> Law:
    """The law of error whose size is that of the hits in scenes as they are; see `fit_temper`."""
    law = before or Law.constant(np.full(3, 0.1))
    if spoilt is not None:
        both = (hits, spoilt)
        law = fit_law(np.concatenate([each.features for each in both]), np.concatenate([each.errors for each in both]))
    z = hits.errors / law.spread(hits.features)
    sizes = [deviation(part.ravel()) for part in (z[:, 0], z[:, 1], z[:, 2:])]
    return replace(law, intercept=law.intercept + np.log(sizes))


def as_far_as_the_truth(hits: Hits, unsure: Float[Tensor, "scenes 4"] | None) -> Hits:
    """Hits whose errors from inferred gazes count as by the module's docstring: those gazes lie farther away."""
    inferred = torch.zeros(len(hits.image), dtype=torch.bool) if unsure is None else unsure[hits.image].any(1)
    if unsure is None or int(inferred.sum()) < FEWEST:
        return hits
    errors, tau = hits.errors[inferred.numpy()], unsure[hits.image][inferred]
    d = torch.tensor([deviation(errors[:, part].ravel()) for part in ([0], [1], [2, 3], [2, 3])]).double()
    found, truth = hits.found[inferred].double(), hits.truth.clone()
    truth[inferred] = move(found, change_between(found, truth[inferred]) * torch.hypot(d, tau) / d).to(truth)
    return hits._replace(truth=truth)


def deviation(errors: Float[np.ndarray, "n"]) -> float:
    """The normal standard deviation that their 68 % and 95 % quantiles suggest, in the geometric mean of both.

    Errors have longer tails than a normal density; this is a compromise between the middle and the tails.
    """
    inner, outer = np.quantile(np.abs(errors), (0.6827, 0.9545))
    return max(float(np.sqrt(inner * outer / 2)), 1e-3)  # objects without an angle have no error of it


def standardised_errors(refined: Sequence[Refined], truth: Float[Tensor, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """(log s, angle, tx, ty) of posterior mean minus truth, in stated standard deviations; NaN where none is stated."""
    u = torch.from_numpy(np.stack([r.u for r in refined])).double()
    spread = np.stack([r.spread for r in refined])
    log_s = torch.log(gaze.scale(u) / gaze.scale(truth))
    turn = gaze.angle_difference(gaze.angle(u), gaze.angle(truth))
    errors = torch.cat((log_s[:, None], turn[:, None], (u - truth)[:, 2:]), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return errors.numpy() / np.where(spread > 0, spread, np.nan)


def spoilt_hits(
    models: Models, gallery: Gallery, images: Sequence[int], attend: AttendSettings, seed: int, progress: Progress
) -> Hits:
    """Hits in copies of some scenes that are harder to see; a few scenes' at a time lie in the gallery's store."""
    copies, store, found = min(max(SPOILT // max(len(images), 1), 1), len(WAYS)), gallery.pyramids.store, []
    for first in range(0, min(len(images), SPOILT), TOGETHER_SPOILT):
        with store.scratch():
            made = degraded(gallery, images[first : first + TOGETHER_SPOILT], copies, seed, progress, store)
            searches = search_scenes(models, made, range(len(made.names)), attend, progress)
            found.append(hits_of(models, made, searches, SPOILT * len(searches) // max(len(images) * copies, 1)))
    image, u, truth = (torch.cat(parts) for parts in zip(*(each[:3] for each in found), strict=True))
    return Hits(image, u, truth, np.concatenate([each.features for each in found]))


def hits_of(models: Models, gallery: Gallery, searches: Sequence[Searched], most: int = ENOUGH) -> Hits:
    """The best distinct gazes of each image, one at least and no more than make `most` in all, that found an object."""
    evidence, image, found, truth = models.trained_evidence, [], [NONE], [NONE]
    each = max(most // max(len(searches), 1), 1)
    for search in searches:
        score = evidence.score(search.measured)
        best = non_maximum_suppression(search.gazes, score, most=each)
        best = best[search.answer[best] == OBJECT]
        at, objects = search.gazes[best], gallery.subset([search.image])
        if len(best):
            nearest = gaze.iou(gaze.to_boxes(at), gaze.to_boxes(objects.gaze)).argmax(1)
            image += [search.image] * len(best)
            found.append(at)
            truth.append(gaze.nearest_turn(at, objects.gaze[nearest], objects.periods()[nearest]))
    features = pushed_gazes(models, gallery.pyramids, image, torch.cat(found))
    return Hits(torch.tensor(image, dtype=torch.int64), torch.cat(found), torch.cat(truth), features)
