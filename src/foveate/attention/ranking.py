"""Training of the evidence: where searches of annotated scenes end, and what is to be seen there.

First round, on scenes that trained the network: searches without any ranking give trails that ended at an object and
trails that ended elsewhere, the hard negatives. From them come the two discriminants and, with random windows, the
background model. Second round, on scenes that trained nothing: the whole search with these, whose merged gazes fit
the ranking and the calibration.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.attention.attend import AttendSettings, find
from foveate.attention.background import fit_gaussian
from foveate.attention.calibration import Calibration, fit_calibration
from foveate.attention.canonical import standardised
from foveate.attention.evidence import Evidence, fit_discriminant
from foveate.attention.gallery import Gallery
from foveate.attention.logistic import Logistic, fit_logistic
from foveate.attention.merge import merge
from foveate.attention.models import Models
from foveate.attention.search import SearchSettings, converge, look, start_gazes
from foveate.attention.workers import map_images
from foveate.keys import generator
from foveate.progress import Progress
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses

OBJECT, ELSEWHERE, UNCLEAR = 1, 0, -1
ANGLE = 0.6  # radians by which a gaze may be turned against the object that it is said to have found


@dataclass(frozen=True)
class RankingSettings:
    """How the evidence is trained."""

    scenes: int = 100  # scenes of the first round
    starts: int = 250  # starts of each
    windows: int = 6  # random windows of each scene, for the background model
    negatives: int = 60  # merged gazes without an object kept of each scene
    positives: int = 30  # trails that ended at an object kept of each scene


class Ends(NamedTuple):
    """Where trails of one image began and ended.

    Attributes:
        first: Layer 6 at the starts.
        reached: Whether the trail reached an object; unclear ones are left out.
        last: Layer 6 at the ends that are kept for the other discriminant.
        there: Whether an object is there.
        glimpse: What is seen at those ends without an object.
    """

    first: Float[Tensor, "starts 1024"]
    reached: Int[Tensor, "starts"]
    last: Float[Tensor, "ends 1024"]
    there: Int[Tensor, "ends"]
    glimpse: Float[Tensor, "elsewhere 3 24 24"]


class Searched(NamedTuple):
    """Where the whole search of one image ended, and what was measured there."""

    image: int
    gazes: Float[Tensor, "n 4"]
    measured: Float[np.ndarray, "n measured"]


def label(
    gazes: Float[Tensor, "n 4"], objects: Float[Tensor, "k 4"], ignore: Float[Tensor, "regions 4"]
) -> Int[Tensor, "n"]:
    """OBJECT where an object overlaps by IoU 0.5 or more and is turned alike, ELSEWHERE below 0.3, else UNCLEAR.

    Gazes centred in an ignored region are unclear.
    """
    labels = torch.full((len(gazes),), ELSEWHERE)
    boxes = gaze.to_boxes(gazes)
    if len(objects):
        overlap = gaze.iou(boxes, gaze.to_boxes(objects))
        best, which = overlap.max(1)
        turned = gaze.angle_difference(gaze.angle(gazes), gaze.angle(objects)[which]).abs() > ANGLE
        labels[best >= 0.3] = UNCLEAR
        labels[(best >= 0.5) & ~turned] = OBJECT
    if len(ignore):
        centre = gazes[:, None, 2:]
        within = ((centre >= ignore[None, :, :2]) & (centre <= ignore[None, :, 2:])).all(-1).any(1)
        labels[within & (labels == ELSEWHERE)] = UNCLEAR
    return labels


def train_evidence(
    models: Models,
    gallery: Gallery,
    fit: Sequence[int],
    held_out: Sequence[int],
    settings: RankingSettings,
    attend: AttendSettings,
    object_log_z: float,
    seed: int,
    progress: Progress,
) -> tuple[Evidence, list[Searched], dict[str, float | int]]:
    """Both rounds.

    Args:
        models: Patch model and network.
        gallery: The scenes.
        fit: Numbers of the scenes that trained the network.
        held_out: Numbers of the scenes that trained nothing.
        settings: How.
        attend: How images will be attended.
        object_log_z: The GRBM's log partition function, for the log-ratio.
        seed: Of the choice of scenes and starts.
        progress: Shows how far it is.

    Returns:
        The evidence, the searches of the held-out scenes, and figures about it.
    """
    chosen = torch.randperm(len(fit), generator=generator(seed, "ranking"))[: settings.scenes]
    images = [fit[i] for i in chosen.tolist()]
    ends = []
    with progress.phase("hard negatives", len(images)) as tick:
        work = map_images(lambda i: _ends(models, gallery, i, settings, attend.search, seed), images)
        for number, found in enumerate(work):
            ends.append(found)
            tick(number + 1)
    evidence, figures = _discriminants(models, gallery, images, ends, settings, object_log_z, seed)
    weighed = Models(models.gdbn, models.shiftnet, evidence)
    searches = search_scenes(weighed, gallery, held_out, attend, progress)
    ranking, calibration, counted = calibrate(gallery, searches)
    return replace(evidence, ranking=ranking, calibration=calibration), searches, figures | counted


def search_scenes(
    models: Models, gallery: Gallery, images: Sequence[int], attend: AttendSettings, progress: Progress
) -> list[Searched]:
    """The second round: whole searches of scenes that trained nothing."""
    searches = []
    with progress.phase("searching held-out scenes", len(images)) as tick:
        work = map_images(lambda i: find(models, gallery.pyramids.only(i), attend), images)
        for image, candidates in zip(images, work, strict=True):
            searches.append(Searched(image, candidates.trails[-1], candidates.measured))
            tick(len(searches))
    return searches


def calibrate(gallery: Gallery, searches: Sequence[Searched]) -> tuple[Logistic, Calibration, dict[str, float | int]]:
    """Ranking and calibration from searches of scenes that trained nothing."""
    labels = [label(each.gazes, gallery.of(each.image), gallery.ignore[each.image]).numpy() for each in searches]
    x, y = np.concatenate([each.measured for each in searches]), np.concatenate(labels)
    x, y = x[y != UNCLEAR], y[y != UNCLEAR]
    ranking = fit_logistic(x, y, l2=1.0)
    counts = {"calibration_objects": int((y == OBJECT).sum()), "calibration_elsewhere": int((y == ELSEWHERE).sum())}
    return ranking, fit_calibration(ranking.logit(x), y), counts


def _ends(
    models: Models, gallery: Gallery, image: int, settings: RankingSettings, search: SearchSettings, seed: int
) -> Ends:
    """One image of the first round."""
    rng = generator(seed, "ends", gallery.names[image])
    pyramids, objects = gallery.pyramids, gallery.of(image)
    width, height = int(pyramids.width[image, 0]), int(pyramids.height[image, 0])
    starts = start_gazes(width, height, search)
    starts = starts[torch.randperm(len(starts), generator=rng)[: settings.starts]]
    index = torch.full((len(starts),), image)
    first = look(models.shiftnet, models.canonical, pyramids, index, starts).features
    trails = converge(models.shiftnet, models.canonical, pyramids, index, starts, search.steps)
    last = trails.gazes[-1]
    labels = torch.where(torch.isfinite(last).all(1), label(last, objects, gallery.ignore[image]), UNCLEAR)
    clear = labels != UNCLEAR
    elsewhere = torch.nonzero(labels == ELSEWHERE)[:, 0]
    distinct = merge(last[elsewhere], torch.zeros(len(elsewhere)))
    elsewhere = elsewhere[torch.from_numpy(distinct.kept)[: settings.negatives]]
    there = torch.nonzero(labels == OBJECT)[:, 0][: settings.positives]
    both = torch.cat((there, elsewhere))
    return Ends(first[clear], labels[clear], trails.features[both], labels[both], trails.glimpse[elsewhere])


def _discriminants(
    models: Models,
    gallery: Gallery,
    images: Sequence[int],
    ends: Sequence[Ends],
    settings: RankingSettings,
    object_log_z: float,
    seed: int,
) -> tuple[Evidence, dict[str, float | int]]:
    """Fits what the first round gives; negatives that look more like objects than most objects do are dropped.

    Objects that nobody annotated are among the negatives. Those whose discriminant is above the objects' median, when
    fitted with them as negatives, are left out of a second fit and of the background model, and counted.
    """
    first, reached = torch.cat([e.first for e in ends]), torch.cat([e.reached for e in ends])
    last, there = torch.cat([e.last for e in ends]), torch.cat([e.there for e in ends])
    glimpse = torch.cat([e.glimpse for e in ends])
    found = fit_discriminant(last, there == OBJECT)
    logits = found(last)
    suspicious = torch.zeros(len(there), dtype=torch.bool)
    if (there == OBJECT).any():
        suspicious = (there == ELSEWHERE) & (logits > logits[there == OBJECT].median())
        found = fit_discriminant(last[~suspicious], there[~suspicious] == OBJECT)
    glimpse = glimpse[~suspicious[there == ELSEWHERE]]
    windows = _random_windows(gallery, images, settings.windows, seed)
    background = fit_gaussian(standardised(models.gdbn, torch.cat((glimpse, windows))))
    evidence = Evidence(background, object_log_z, found, fit_discriminant(first, reached == OBJECT), None, None)
    return evidence, {
        "trails": len(reached),
        "reached": round(float((reached == OBJECT).double().mean()), 4),
        "negatives": int((there == ELSEWHERE).sum()),
        "dropped_as_objects": int(suspicious.sum()),
        "background_windows": len(glimpse) + len(windows),
    }


def _random_windows(gallery: Gallery, images: Sequence[int], count: int, seed: int) -> Float[Tensor, "n 3 24 24"]:
    """Windows anywhere in the images at any size and angle, away from objects and ignored regions."""
    pyramids, kept = gallery.pyramids, []
    for image in images:
        rng = generator(seed, "windows", gallery.names[image])
        uniform = torch.rand(4, 4 * count, generator=rng, dtype=torch.float64)
        width, height = float(pyramids.width[image, 0]), float(pyramids.height[image, 0])
        s = 8.0 * (max(min(width, height) / 2, 9.0) / 8.0) ** uniform[0]
        u = gaze.from_scale_angle(s, (uniform[1] - 0.5) * 6.28, uniform[2] * width, uniform[3] * height)
        clear = label(u, gallery.of(image), gallery.ignore[image]) == ELSEWHERE
        if len(objects := gallery.of(image)):
            distance = torch.linalg.vector_norm(u[:, None, 2:] - objects[None, :, 2:], dim=-1)
            clear &= (distance > 0.5 * gaze.scale(objects)).all(1)
        u = u[clear][:count]
        kept.append(glimpses(pyramids, torch.full((len(u),), image), u))
    return torch.cat(kept)
