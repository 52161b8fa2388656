"""Training of the evidence: where searches of annotated scenes end, and what is to be seen there.

First round, on scenes that trained the network, on mosaics of them and on pictures without an object: gazes set out
without any ranking, and some end where no object is. These are the hard negatives of the verifier; with random windows,
what is seen there in scenes and mosaics makes the background model. Second round, on scenes that trained nothing,
mosaics of them and other pictures without an object: the whole search, whose gazes fit the ranking. Mosaics bring in
small objects and several at once, which portraits do not have. How often a gaze of some score is an object differs
between mosaics and scenes, and the photographs that will be attended are likelier to be like the scenes; but on scenes
alone, what is small is thought improbable. The calibration is therefore fitted on the scenes and a few mosaics.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.attend import find
from foveate.attention.background import fit_gaussian
from foveate.attention.calibration import Calibration, fit_calibration
from foveate.attention.evidence import MEASURED, Evidence, below_which_usual, capped
from foveate.attention.logistic import Logistic, fit_logistic
from foveate.attention.merge import merge
from foveate.attention.models import Models
from foveate.attention.search import follow, sound, start_gazes
from foveate.attention.settings import AttendSettings, SearchSettings
from foveate.attention.shiftnet import ShiftNet
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.runtime.workers import map_images
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints
from foveate.training.clutter import clutter
from foveate.training.gallery import Gallery, join, take
from foveate.training.labels import ELSEWHERE, OBJECT, UNCLEAR, Objects, label
from foveate.training.mosaics import mosaics
from foveate.training.settings import PairSettings, RankingSettings
from foveate.training.verifier import train_verifier

DISTINCT = 0.6  # overlap from which two hard negatives of one image are the same
MOST = 6000  # hard negatives that make the background model
FEWEST = 20  # objects found in scenes that trained nothing, for a calibration on them alone


class Searched(NamedTuple):
    """Where the whole search of one image ended, and what was measured there."""

    image: int
    gazes: Float[Tensor, "n 4"]
    measured: Float[np.ndarray, "n measured"]


def train_evidence(
    models: Models,
    gallery: Gallery,
    fit: Sequence[int],
    held_out: Sequence[int],
    settings: RankingSettings,
    attend: AttendSettings,
    pairing: PairSettings,
    object_log_z: float,
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | NoCheckpoints,
    start: ShiftNet | None = None,
) -> tuple[Evidence, list[Searched], dict[str, float | int]]:
    """Both rounds.

    Args:
        models: Patch model and network.
        gallery: The scenes.
        fit: Numbers of the scenes that trained the network.
        held_out: Numbers of the scenes that trained nothing.
        settings: How.
        attend: How images will be attended.
        pairing: How the network's pairs are drawn.
        object_log_z: The GRBM's log partition function, for the log-ratio.
        seed: Of the choice of scenes and starts.
        progress: Shows how far it is.
        checkpoints: Where the verifier's training keeps its state.
        start: A verifier whose weights training starts from; the network's own without.

    Returns:
        The evidence, the searches of the held-out scenes (not of mosaics), and figures about it.
    """
    trained = take(gallery, fit)
    extra = join(
        mosaics(trained, range(len(fit)), settings.mosaics, seed, settings.mosaic, progress),
        clutter(trained, range(len(fit)), settings.clutter, seed, settings.empty, progress),
    )
    both = join(trained, extra)
    photographs = take(both, range(len(fit) + settings.mosaics))
    chosen = torch.randperm(len(fit), generator=generator(seed, "ranking"))[: settings.scenes].tolist()
    searched = chosen + list(range(len(fit), len(both.names)))
    negatives = _hard_negatives(models, both, searched, settings, attend.search, seed, progress)
    real = negatives.image < len(photographs.names)
    verifier, figures = train_verifier(
        both, negatives, ~real, models.canonical, start or models.shiftnet, start is not None, settings.verifier,
        pairing, seed, progress, checkpoints,
    )  # fmt: skip
    seen = _background(
        models, photographs, chosen, Objects(negatives.image[real], negatives.gaze[real]), settings, seed
    )
    evidence = Evidence(fit_gaussian(seen), object_log_z, verifier, None, None)
    weighed = replace(models, evidence=evidence)
    made = join(
        mosaics(gallery, held_out, settings.held_out_mosaics, seed + 1, settings.mosaic, progress),
        clutter(gallery, held_out, settings.held_out_clutter, seed + 1, settings.empty, progress),
    )
    searches = search_scenes(weighed, gallery, held_out, attend, progress)
    small = search_scenes(weighed, made, range(len(made.names)), attend, progress)
    ceiling = usual_ceiling([(gallery, each) for each in searches])
    searches, small = ([e._replace(measured=capped(e.measured, ceiling)) for e in some] for some in (searches, small))
    ranking, calibration, counted = calibrate(
        [(gallery, each) for each in searches], [(made, each) for each in small], settings.mixed
    )
    figures |= {"background_windows": len(seen), "ceiling": ceiling, **counted}
    return replace(evidence, ranking=ranking, calibration=calibration, ceiling=ceiling), searches, figures


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


def usual_ceiling(searches: Sequence[tuple[Gallery, Searched]]) -> float:
    """Log-ratio, nats a dimension, that `USUAL` of the gazes at objects stay below; infinite where none found one."""
    column = MEASURED.index("log_ratio")
    at_objects = [
        each.measured[label(each.gazes, gallery.of(each.image), gallery.ignore[each.image]).numpy() == OBJECT, column]
        for gallery, each in searches
    ]
    reached = np.concatenate(at_objects) if at_objects else np.empty(0)
    return float(np.sinh(below_which_usual(reached)))


def calibrate(
    searches: Sequence[tuple[Gallery, Searched]], others: Sequence[tuple[Gallery, Searched]] = (), mixed: float = 0.0
) -> tuple[Logistic, Calibration, dict[str, float | int]]:
    """Ranking and calibration from searches of annotated scenes.

    The ranking learns from every gaze. The calibration is of what will be reported: of the gazes at one place the best
    alone, since the others, lower in score and just as much at the object, would lend their scores a probability that
    no reported gaze has. Gazes at which it is unclear whether they found an object count for neither.

    Args:
        searches: Of scenes as they will be attended.
        others: Of scenes of another sort, from which the ranking learns as much. All of them go into the calibration
            if fewer than `FEWEST` objects were found in the first.
        mixed: How many of the others, the first of them, go into the calibration for each of the searches.
    """
    both = [*searches, *others]
    labels = [label(e.gazes, gallery.of(e.image), gallery.ignore[e.image]).numpy() for gallery, e in both]
    clear = [y != UNCLEAR for y in labels]
    x = np.concatenate([e.measured[some] for (_, e), some in zip(both, clear, strict=True)])
    y = np.concatenate([y[some] for y, some in zip(labels, clear, strict=True)])
    ranking = fit_logistic(x, y, l2=1.0)
    scores, answers = [], []
    for (_, each), y_here in zip(both, labels, strict=True):
        score = ranking.logit(each.measured)
        kept = merge(each.gazes, score).kept
        kept = kept[y_here[kept] != UNCLEAR]
        scores.append(score[kept])
        answers.append(y_here[kept])
    found = sum(int((answer == OBJECT).sum()) for answer in answers[: len(searches)])
    used = len(searches) + round(mixed * len(searches)) if found >= FEWEST else len(both)
    score, answer = np.concatenate(scores[:used]), np.concatenate(answers[:used])
    counts: dict[str, Any] = {
        "calibration_objects": int((answer == OBJECT).sum()), "calibration_elsewhere": int((answer == ELSEWHERE).sum()),
    }  # fmt: skip
    return ranking, fit_calibration(score, answer), counts


def _hard_negatives(
    models: Models,
    gallery: Gallery,
    images: Sequence[int],
    settings: RankingSettings,
    search: SearchSettings,
    seed: int,
    progress: Progress,
) -> Objects:
    """Distinct gazes of searches that ended where no object is."""
    found = []
    with progress.phase("hard negatives", len(images)) as tick:
        work = map_images(lambda i: _ends(models, gallery, i, settings.starts, search, seed), images)
        for done, ends in enumerate(work):
            found.append(ends)
            tick(done + 1)
    image = torch.repeat_interleave(torch.tensor(list(images)), torch.tensor([len(ends) for ends in found]))
    return Objects(image, torch.cat(found))


def _ends(
    models: Models, gallery: Gallery, image: int, count: int, search: SearchSettings, seed: int
) -> Float[Tensor, "n 4"]:
    """Where some of the starts of one image's search end, objects and what may be one left out."""
    pyramids, rng = gallery.pyramids.only(image), generator(seed, "ends", gallery.names[image])
    width, height = int(pyramids.width[0, 0]), int(pyramids.height[0, 0])
    starts = start_gazes(width, height, search)
    starts = starts[torch.randperm(len(starts), generator=rng)[:count]]
    index = torch.zeros(len(starts), dtype=torch.int64)
    last = follow(models.shiftnet, models.canonical, pyramids, index, starts, search.steps)[-1]
    last = last[sound(last, pyramids)]
    last = last[label(last, gallery.of(image), gallery.ignore[image]) == ELSEWHERE]
    return last[torch.from_numpy(merge(last, torch.zeros(len(last)), iou=DISTINCT, inside=2.0).kept)]


def _background(
    models: Models, gallery: Gallery, images: Sequence[int], negatives: Objects, settings: RankingSettings, seed: int
) -> Float[Tensor, "n d"]:
    """What is seen at hard negatives and through random windows, in the patch model's units."""
    chosen = torch.randperm(len(negatives.image), generator=generator(seed, "background"))[:MOST]
    at = glimpses(gallery.pyramids, negatives.image[chosen], negatives.gaze[chosen])
    windows = _random_windows(gallery, images, settings.windows, seed)
    return models.gdbn.standardise(torch.cat((at, windows))).cpu()


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
