"""The weights of what is measured at a gaze, and the probability of a score: fitted on searches of annotated scenes."""

from collections.abc import Sequence
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
from foveate.scenes import gaze
from foveate.training.gallery import Gallery
from foveate.training.labels import ELSEWHERE, OBJECT, UNCLEAR

COUNTED = (("calibration_objects", OBJECT), ("calibration_elsewhere", ELSEWHERE))


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

    def searched(image: int) -> Searched:
        candidates = search(models, gallery.pyramids.only(image), attend)
        gazes = candidates.trails[-1]
        answer = gallery.label(image, gazes).numpy()
        return Searched(image, gazes, candidates.measured, answer)

    return list(progress.over("searching held-out scenes", map_images(searched, images), len(images)))


def known_figures(evidence: Evidence, gallery: Gallery, searches: Sequence[Searched]) -> Float[Tensor, "n figures"]:
    """Of the images searched, what folders of others are compared with (`familiarity`)."""
    rows = [
        figures_of(gallery.pyramids.only(each.image), each.gazes, evidence.score(each.measured)) for each in searches
    ]
    return torch.from_numpy(np.array(rows).reshape(-1, len(FIGURES)))


def missed_share(gallery: Gallery, searches: Sequence[Searched]) -> float:
    """Share of the objects of the images searched at which no gaze came to rest, by IoU 0.5; 0 without any."""
    found = [torch.zeros(0, dtype=torch.bool)]
    for each in searches:
        overlap = gaze.iou(gaze.to_boxes(gallery.of(each.image)), gaze.to_boxes(each.gazes))
        found.append((overlap >= 0.5).any(1))
    objects = torch.cat(found)
    return float((~objects).double().mean()) if len(objects) else 0.0


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
    searches: Sequence[Searched], others: Sequence[Searched] = (), of_scenes: bool = False
) -> tuple[Logistic, Calibration, dict[str, int]]:
    """Ranking and calibration from searches of annotated scenes and of `others`, made of them; and their counts.

    The ranking learns from every gaze. The calibration is of what will be reported: of the gazes at one place the best
    alone, since the others, lower in score and just as much at the object, would lend their scores a probability that
    no reported gaze has. Gazes at which it is unclear whether they found an object count for neither.

    In what is made objects are as common as somebody decided. With `of_scenes` the log-odds are shifted to what the
    scenes alone bear out: probabilities are then of scenes like these, and of others as far as they are like them.
    """
    both = [*searches, *others]
    x = np.concatenate([each.measured[each.answer != UNCLEAR] for each in both])
    y = np.concatenate([each.answer[each.answer != UNCLEAR] for each in both])
    ranking = fit_logistic(x, y, l2=1.0)
    score, answer = best_of_places(ranking, both)
    counts = {name: int((answer == of).sum()) for name, of in COUNTED}
    calibration = fit_calibration(score, answer)
    if of_scenes:
        calibration = calibration.shifted(*best_of_places(ranking, searches))
    return ranking, calibration, counts
