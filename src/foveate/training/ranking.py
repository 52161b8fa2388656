"""The weights of what is measured at a gaze, and the probability of a score: fitted on searches of annotated scenes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.attention.attend import search
from foveate.attention.calibration import Calibration, Logistic, fit_calibration, fit_logistic
from foveate.attention.evidence import Evidence
from foveate.attention.familiarity import FIGURES, figures_of
from foveate.attention.models import Models
from foveate.attention.nms import non_maximum_suppression
from foveate.attention.settings import AttendSettings
from foveate.runtime.progress import Progress
from foveate.runtime.workers import map_images
from foveate.training.gallery import Gallery
from foveate.training.labels import ELSEWHERE, OBJECT, UNCLEAR, label

MIXED = 0.12  # others that the calibration is fitted on for each search: few, as photographs are like the searches
FEWEST = 20  # objects found in scenes that trained nothing, for a calibration on them alone


class Searched(NamedTuple):
    """Where the whole search of one image ended."""

    image: int  # its number
    gazes: Float[Tensor, "n 4"]  # where gazes came to rest
    measured: Float[np.ndarray, "n measured"]  # the figures of `MEASURED` there
    answer: Int[np.ndarray, "n"]  # what is there (`label`)


def search_scenes(
    models: Models, gallery: Gallery, images: Sequence[int], attend: AttendSettings, progress: Progress
) -> list[Searched]:
    """Whole searches of scenes that trained nothing."""
    searches = []
    with progress.phase("searching held-out scenes", len(images)) as tick:
        work = map_images(lambda i: search(models, gallery.pyramids.only(i), attend), images)
        for image, candidates in zip(images, work, strict=True):
            gazes = candidates.trails[-1]
            answer = label(gazes, gallery.of(image), gallery.ignore[image]).numpy()
            searches.append(Searched(image, gazes, candidates.measured, answer))
            tick(len(searches))
    return searches


def fit_ranking(
    evidence: Evidence, searches: Sequence[Searched], others: Sequence[Searched]
) -> tuple[Evidence, dict[str, float | int]]:
    """The evidence with the ranking and the calibration that searches give; and figures about them.

    Args:
        evidence: By which was measured.
        searches: Of scenes as they will be attended.
        others: Of scenes of another sort; see `calibrate`.
    """
    ranking, calibration, counts = calibrate(searches, others, MIXED)
    return replace(evidence, ranking=ranking, calibration=calibration), counts


def known_figures(evidence: Evidence, gallery: Gallery, searches: Sequence[Searched]) -> Float[Tensor, "n figures"]:
    """Of the images searched, what folders of others are compared with (`familiarity`)."""
    rows = [
        figures_of(gallery.pyramids.only(each.image), each.gazes, evidence.score(each.measured)) for each in searches
    ]
    return torch.from_numpy(np.array(rows).reshape(-1, len(FIGURES)))


def best_of_places(
    ranking: Logistic, searches: Sequence[Searched]
) -> tuple[Float[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Scores, and what is there, of the best gaze at each place: of what will be reported."""
    scores, answers = [np.empty(0)], [np.empty(0, np.int64)]
    for each in searches:
        score = ranking.logit(each.measured)
        kept = non_maximum_suppression(each.gazes, score)
        kept = kept[each.answer[kept] != UNCLEAR]
        scores.append(score[kept])
        answers.append(each.answer[kept])
    return np.concatenate(scores), np.concatenate(answers)


def calibrate(
    searches: Sequence[Searched], others: Sequence[Searched] = (), mixed: float = 0.0
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
    x = np.concatenate([each.measured[each.answer != UNCLEAR] for each in both])
    y = np.concatenate([each.answer[each.answer != UNCLEAR] for each in both])
    ranking = fit_logistic(x, y, l2=1.0)
    found = int((best_of_places(ranking, searches)[1] == OBJECT).sum())
    used = len(searches) + round(mixed * len(searches)) if found >= FEWEST else len(both)
    score, answer = best_of_places(ranking, both[:used])
    counts: dict[str, float | int] = {
        "calibration_objects": int((answer == OBJECT).sum()), "calibration_elsewhere": int((answer == ELSEWHERE).sum()),
    }  # fmt: skip
    return ranking, fit_calibration(score, answer), counts
