"""Calibration anew, on annotated scenes of the place of use; the networks, the patch model and the ranking stay."""

from dataclasses import replace
from typing import Any

from foveate.attention.calibration import fit_calibration
from foveate.attention.evidence import Evidence
from foveate.attention.models import Models
from foveate.attention.settings import AttendSettings
from foveate.errors import BadInput, present
from foveate.evaluation.reliability import expected_calibration_error, reliability
from foveate.runtime.progress import Progress
from foveate.training.gallery import Gallery
from foveate.training.labels import ELSEWHERE, OBJECT
from foveate.training.ranking import best_of_places, known_figures, missed_share, search_scenes
from foveate.training.temper import fit_temper

FEWEST = 4  # objects found


def recalibrate(
    models: Models, gallery: Gallery, attend: AttendSettings, progress: Progress
) -> tuple[Evidence, dict[str, Any]]:
    """Probabilities, spreads and regions from searches of all scenes of a gallery, which trained nothing; and figures.

    The expected calibration error after it is on the same gazes, so it is too small. BadInput where too few objects
    were found to say anything.
    """
    before = models.trained_evidence
    searches = search_scenes(models, gallery, range(len(gallery.names)), attend, progress)
    score, answer = best_of_places(present(before.ranking, "the ranking"), searches)
    found, objects = int((answer == OBJECT).sum()), len(gallery.objects.image)
    if found < FEWEST:
        raise BadInput(f"{found} of {objects} annotated objects were found: at least {FEWEST} are needed")
    known = known_figures(before, gallery, searches)
    missed = missed_share(gallery, searches)
    after = replace(before, calibration=fit_calibration(score, answer), missed=missed, known=known)
    after, tempered = fit_temper(replace(models, evidence=after), gallery, searches, attend, progress)
    errors = [
        expected_calibration_error(reliability(evidence.probability(score), answer == OBJECT))
        for evidence in (before, after)
    ]
    return after, {
        "images": len(gallery.names), "objects": objects, "found": found, "missed": objects - found,
        "elsewhere": int((answer == ELSEWHERE).sum()), "ece_before": errors[0], "ece_after": errors[1],
        "temper": tempered["temper"], "region_objects": len(after.errors),
    }  # fmt: skip
