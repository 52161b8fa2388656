"""How well objects are found, and whether what is said about them is true: `evaluate localization`.

Photographs are attended as `foveate attend` does it: reduced to the same size, with random numbers keyed on the pixels.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from foveate.attention.attend import Attention
from foveate.attention.images.counting import count
from foveate.attention.settings import AttendSettings
from foveate.evaluation.constant_box import constant_box
from foveate.evaluation.detections import Detections
from foveate.evaluation.groups import conditions, correlation, in_groups, intervals, seen_at
from foveate.evaluation.matching import ignored, match, overlaps
from foveate.evaluation.photographs import looked_at
from foveate.evaluation.reliability import (
    coverage,
    error_by_chance,
    error_in_chart,
    expected_calibration_error,
    reliability,
)
from foveate.evaluation.turning import turn_image, turn_scene
from foveate.runtime.progress import Progress
from foveate.scenes.folder import Scene
from foveate.scenes.pixels import content_key

THRESHOLDS = ("0.3", "0.5", "0.7")
NOTHING = Detections.of("", [], np.zeros((0, 4)))


def localize(
    attention: Attention, scenes: Sequence[Scene], settings: AttendSettings, progress: Progress, turn: float | int = 0.0
) -> dict[str, Any]:
    """The figures of `evaluate localization --json`: of `measure`, with the `max_gazes` that were asked for, time,
    and `constant_box`, top1 of a box that is the same in all images.

    Photographs and annotations are turned by `turn` degrees first, clockwise. One that can't be read is in no figure.
    """
    began, detections = time.perf_counter(), detect(attention, scenes, settings, progress, turn)
    seconds = (time.perf_counter() - began) / len(detections) if detections else None
    figures, seen = measure(detections, settings.min_probability), {one.name for one in detections}
    same = [turn_scene(scene, turn) if turn % 360 else scene for scene in scenes if scene.name in seen]
    figures |= {"seconds_per_photo": seconds, "constant_box": constant_box(same, THRESHOLDS)}
    return figures | {"max_gazes": settings.max_gazes}


def detect(
    attention: Attention, scenes: Sequence[Scene], settings: AttendSettings, progress: Progress, turn: float | int = 0.0
) -> list[Detections]:
    """What is found in every photograph that can be read.

    Gazes below the settings' `min_probability` are among it, so that top1 and by_step know the best gaze of a
    photograph even if it is an unlikely one; they count for nothing else.
    """
    every = replace(settings, min_probability=0.0)

    def look(scene: Scene, image: Shaped[ndarray, "h w 3"]) -> Detections:
        if turn % 360 != 0:
            image, scene = turn_image(image, turn), turn_scene(scene, turn)
        founds = attention.attend_one(image, content_key(image), every)
        periods = [each.angle_period for each in scene.objects]
        one = Detections.of(scene.name, founds, scene.gazes, scene.ignore, periods)
        return replace(one, seen=seen_at(attention.gdbn, image, one.gazes))

    return list(looked_at(look, scenes, settings.largest, progress, "evaluate localization"))


def measure(detections: Sequence[Detections], min_probability: float = 0.0) -> dict[str, Any]:
    """The figures of `evaluate localization --json` as docs/formats.md names them; None where there is none to divide.

    The best gaze of a photograph counts for top1 and by_step whatever its probability; where a trail has ended its last
    gaze stays. What else is counted are gazes of `min_probability` or more: those of recall are matched one to one,
    most confident first. Errors are of gazes matched at 0.5; angles are wrapped to the period up to which the object's
    is known. Gazes in ignored regions are neither false nor judged, and count for no number of objects.
    """
    credited = [_credit(one, min_probability) for one in detections]
    objects, full = sum(len(one.truths) for one in detections), [one for one in detections if len(one.truths)]
    best = np.array([_best_overlap(one, one.gazes[:1]) for one in full]).reshape(-1)
    hits = [np.flatnonzero(c["right"]) for c in credited]
    owners = [c["0.5"][hit] for c, hit in zip(credited, hits, strict=True)]
    (gaze,), (truth, period) = _gathered(detections, hits, "gazes"), _gathered(detections, owners, "truths", "periods")
    error = error_in_chart(gaze, truth, period)
    turned = np.abs(error[period == 360, 1]) > np.pi / 2
    missed = {one.name for one, overlap in zip(full, best, strict=True) if overlap < 0.5}
    invented = {o.name for o, c in zip(detections, credited, strict=True) if not len(o.truths) and c["false"].any()}
    shares = {
        "top1": {t: _share(int((best >= float(t)).sum()), len(full)) for t in THRESHOLDS},
        "recall": {t: _share(sum(int((c[t] >= 0).sum()) for c in credited), objects) for t in THRESHOLDS},
    }
    return {
        "photos": len(detections), "photos_with_objects": len(full), "objects": objects, **shares,
        "intervals": intervals(shares, {"top1": len(full), "recall": objects}),
        "upside_down": {"share": _share(int(turned.sum()), len(turned)), "n": len(turned)},
        "false_positives_per_photo": _share(sum(int(c["false"].sum()) for c in credited), len(detections)),
        "by_step": _by_step(full),
        "angle_error_degrees": _median_p90(np.degrees(np.abs(error[~np.isnan(error[:, 1]), 1]))),
        "scale_error": _median_p90(np.exp(np.abs(error[:, 0]))),
        "centre_error": _median_p90(np.hypot(error[:, 2], error[:, 3]) / np.hypot(truth[:, 0], truth[:, 1])),
        "calibration": _calibration(detections, credited, hits, error), "counts": _counts(detections, credited),
        "wrong": [one.name for one in detections if one.name in missed | invented], "min_probability": min_probability
    }  # fmt: skip


def _counts(detections: Sequence[Detections], credited: list[dict]) -> dict[str, float | None]:
    """How true stated numbers of objects are."""
    held, error = [], []
    for one, credit in zip(detections, credited, strict=True):
        counts = credit["counts"]
        stated, there = count(one.probability[counts], float(one.unseen[counts].sum())), len(one.truths)
        held.append(stated.low <= there <= stated.high)
        error.append(stated.mean - there)
    return {"held": _share(sum(held), len(held)), "error": float(np.mean(error)) if error else None}


def _credit(one: Detections, min_probability: float) -> dict[str, Any]:
    """For each gaze of a photograph: its object by threshold (-1 none), false or not, right and to be judged or not."""
    counted = one.probability >= min_probability
    overlap = overlaps(one.gazes, one.truths)
    owners = {}
    for threshold in THRESHOLDS:
        owners[threshold] = np.full(len(one.gazes), -1)
        owners[threshold][counted] = match(overlap[counted], float(threshold))
    right = owners["0.5"] >= 0
    crowd = ignored(one.gazes, one.ignore)
    clear = right | ~crowd
    return {**owners, "false": counted & ~right & clear, "right": right, "judged": counted & clear, "counts": clear}


def _best_overlap(one: Detections, gazes: ndarray) -> ndarray:
    """Largest overlap with any object, of each gaze; one 0 where there is no gaze."""
    return overlaps(gazes, one.truths).max(axis=1) if len(gazes) else np.zeros(1)


def _by_step(full: list[Detections]) -> list[list[float | int]]:
    """[step, share of photographs with an object whose best gaze overlaps one at that step]."""
    trails = [one.trail if len(one.trail) else one.gazes[:1] for one in full]
    length = max((len(trail) for trail in trails), default=0)
    if length == 0:
        return []
    right = np.zeros((len(full), length))
    for i, (one, trail) in enumerate(zip(full, trails, strict=True)):
        overlap = _best_overlap(one, trail)
        right[i, : len(overlap)] = overlap >= 0.5
        right[i, len(overlap) :] = overlap[-1] >= 0.5
    return [[step, float(share)] for step, share in enumerate(right.mean(axis=0))]


def _gathered(detections: Sequence[Detections], chosen: Sequence[ndarray], *names: str) -> list[ndarray]:
    """Some columns of the chosen rows of every photograph, one under the other."""
    rows = [(NOTHING, np.zeros(0, np.int64)), *zip(detections, chosen, strict=True)]
    return [np.concatenate([getattr(one, name)[some] for one, some in rows]) for name in names]


def _calibration(
    detections: Sequence[Detections], credited: list[dict], hits: list[ndarray], error: ndarray
) -> dict[str, Any]:
    columns = "gazes", "seen", "spread", "believed", "stated"
    *matched, stated = _gathered(detections, hits, *columns)
    gaze, seen, spread, believed = (column[stated] for column in matched)
    judged = [c["judged"] for c in credited]
    probability, *everywhere = _gathered(detections, judged, "probability", "gazes", "seen")
    right = np.concatenate([np.zeros(0, bool), *(c["right"][c["judged"]] for c in credited)])
    rows, error = reliability(probability, right), error[stated]
    return {
        **coverage(error, spread, believed),
        "n": len(error),
        "stuck": int((~believed).sum()),
        "ece": expected_calibration_error(rows),
        "ece_by_chance": error_by_chance(probability),
        "correlation": correlation(error, spread, np.hypot(gaze[:, 0], gaze[:, 1])),
        "groups": in_groups(
            conditions(gaze, seen), error, spread, believed, conditions(*everywhere), probability, right
        ),
        "reliability": rows,
    }


def _median_p90(values: ndarray) -> dict[str, float | None]:
    if len(values) == 0:
        return {"median": None, "p90": None}
    middle, high = np.quantile(values, (0.5, 0.9))
    return {"median": float(middle), "p90": float(high)}


def _share(count: int, total: int) -> float | None:
    return count / total if total else None
