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
from foveate.attention.counting import count
from foveate.attention.settings import AttendSettings
from foveate.evaluation.detections import Detections
from foveate.evaluation.groups import SEEN, conditions, correlation, in_groups, intervals, seen_at
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


def localize(
    attention: Attention, scenes: Sequence[Scene], settings: AttendSettings, progress: Progress, turn: float | int = 0.0
) -> dict[str, Any]:
    """The figures of `evaluate localization --json`: of `measure`, with the `max_gazes` that were asked for, and time.

    Photographs and annotations are turned by `turn` degrees first, clockwise. One that can't be read is in no figure.

    Raises:
        BadInput: No photograph could be read.
    """
    began, detections = time.perf_counter(), detect(attention, scenes, settings, progress, turn)
    seconds = (time.perf_counter() - began) / len(detections) if detections else None
    figures = measure(detections, settings.min_probability)
    return figures | {"seconds_per_photo": seconds, "max_gazes": settings.max_gazes}


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
    """The figures of `evaluate localization --json`; null (None) where there is nothing to divide by.

    - top1: of photographs with an object, those whose best gaze overlaps one of them, by IoU threshold. The best gaze
      counts whatever its probability; a photograph in which nothing was found is a miss.
    - recall: of objects, those matched one to one, most confident first, by gazes of `min_probability` or more.
    - false_positives_per_photo: such gazes matched with no object at IoU 0.5, a second one on the same object included,
      those in ignored regions not; per photograph, with or without objects.
    - by_step: top1 at 0.5 along the best gaze's trail; where a trail has ended its last gaze stays.
    - angle_error_degrees, scale_error, centre_error: of gazes matched at 0.5; angles wrapped to the period up to which
      the object's angle is known, scale as max(s / s*, s* / s), the centre's distance in true half-sides.
    - calibration: see `reliability.coverage` (n gazes with a stated spread); and of all gazes of `min_probability` or
      more, those in ignored regions not, in ten bins of equal width: reliability, [mean stated, share right, count] a
      bin, and ece, the expected calibration error of these very bins.
    - counts: held, the share of photographs whose number of annotated objects lies in the interval stated of it, and
      error, expected minus annotated number, the mean; gazes in ignored regions don't count (`attention.counting`).
    - upside_down: of gazes matched at 0.5 with objects whose angle is known in full, the share that is turned against
      them by more than 90 degrees, and n.
    - intervals: 95 % intervals of top1 and recall.
    - calibration also has ece_by_chance, which true probabilities would show with as many gazes; correlation, of stated
      deviations and errors; and groups, the figures of thirds by size, blur, cover and angle (`groups`).
    - wrong: photographs that top1 at 0.5 counts as misses, and those without an object in which one was stated.
    - min_probability: as given.
    """
    credited = [_credit(one, min_probability) for one in detections]
    objects, full = sum(len(one.truths) for one in detections), [one for one in detections if len(one.truths)]
    best = np.array([_best_overlap(one, one.gazes[:1]) for one in full]).reshape(-1)
    pairs = _matched(detections, credited)
    error = error_in_chart(pairs["gaze"], pairs["truth"], pairs["period"].astype(np.int64))
    distance = np.hypot(error[:, 2], error[:, 3]) / np.hypot(pairs["truth"][:, 0], pairs["truth"][:, 1])
    false = sum(int(c["false"].sum()) for c in credited)
    missed = {one.name for one, overlap in zip(full, best, strict=True) if overlap < 0.5}
    invented = {o.name for o, c in zip(detections, credited, strict=True) if not len(o.truths) and c["false"].any()}
    shares = {
        "top1": {t: _share(int((best >= float(t)).sum()), len(full)) for t in THRESHOLDS},
        "recall": {t: _share(sum(int((c[t] >= 0).sum()) for c in credited), objects) for t in THRESHOLDS},
    }
    return {
        "photos": len(detections),
        "photos_with_objects": len(full),
        "objects": objects,
        **shares,
        "intervals": intervals(shares, {"top1": len(full), "recall": objects}),
        "upside_down": _upside_down(pairs, error),
        "false_positives_per_photo": _share(false, len(detections)),
        "by_step": _by_step(full),
        "angle_error_degrees": _median_p90(np.degrees(np.abs(error[~np.isnan(error[:, 1]), 1]))),
        "scale_error": _median_p90(np.exp(np.abs(error[:, 0]))),
        "centre_error": _median_p90(distance),
        "calibration": _calibration(detections, credited, pairs, error),
        "counts": _counts(detections, credited),
        "wrong": [one.name for one in detections if one.name in missed | invented],
        "min_probability": min_probability,
    }


def _counts(detections: Sequence[Detections], credited: list[dict]) -> dict[str, float | None]:
    """How true stated numbers of objects are."""
    held, error = [], []
    for one, credit in zip(detections, credited, strict=True):
        stated, there = count(one.probability[credit["counts"]]), len(one.truths)
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


def _matched(detections: Sequence[Detections], credited: list[dict]) -> dict[str, ndarray]:
    """Gazes matched at 0.5, with their objects and spreads, over all photographs."""
    hits = [np.flatnonzero(c["0.5"] >= 0) for c in credited]
    rows = list(zip(detections, credited, hits, strict=True))

    def gather(parts: list, width: int) -> ndarray:
        return np.concatenate([np.zeros((0, width)), *(part.reshape(-1, width) for part in parts)])

    return {
        "gaze": gather([one.gazes[hit] for one, _, hit in rows], 4),
        "truth": gather([one.truths[c["0.5"][hit]] for one, c, hit in rows], 4),
        "period": gather([one.periods[c["0.5"][hit]] for one, c, hit in rows], 1)[:, 0],
        "spread": gather([one.spread[hit] for one, _, hit in rows], 4),
        "seen": gather([_seen(one)[hit] for one, _, hit in rows], len(SEEN)),
        "stated": gather([one.stated[hit] for one, _, hit in rows], 1)[:, 0] > 0,
        "believed": gather([one.believed[hit] for one, _, hit in rows], 1)[:, 0] > 0,
    }


def _calibration(
    detections: Sequence[Detections], credited: list[dict], pairs: dict[str, ndarray], error: ndarray
) -> dict[str, Any]:
    stated = pairs["stated"]
    none = np.zeros(0)
    judged = [one.probability[c["judged"]] for one, c in zip(detections, credited, strict=True)]
    probability = np.concatenate([none, *judged])
    right = np.concatenate([none, *(c["right"][c["judged"]] for c in credited)]) > 0
    rows = reliability(probability, right)
    gazes = [one.gazes[c["judged"]] for one, c in zip(detections, credited, strict=True)]
    seen = [_seen(one)[c["judged"]] for one, c in zip(detections, credited, strict=True)]
    everywhere = conditions(np.concatenate([np.zeros((0, 4)), *gazes]), np.concatenate([np.zeros((0, 2)), *seen]))
    some = {name: pairs[name][stated] for name in ("gaze", "seen", "spread", "believed")}
    half_side = np.hypot(some["gaze"][:, 0], some["gaze"][:, 1])
    return {
        **coverage(error[stated], pairs["spread"][stated], pairs["believed"][stated]),
        "n": int(stated.sum()),
        "stuck": int((stated & ~pairs["believed"]).sum()),
        "ece": expected_calibration_error(rows),
        "ece_by_chance": error_by_chance(probability),
        "correlation": correlation(error[stated], some["spread"], half_side),
        "groups": in_groups(
            conditions(some["gaze"], some["seen"]),
            error[stated],
            some["spread"],
            some["believed"],
            everywhere,
            probability,
            right,
        ),
        "reliability": rows,
    }


def _seen(one: Detections) -> ndarray:
    return np.full((len(one.gazes), len(SEEN)), np.nan) if one.seen is None else one.seen


def _upside_down(pairs: dict[str, ndarray], error: ndarray) -> dict[str, float | int | None]:
    known = pairs["period"] == 360
    return {"share": _share(int((np.abs(error[known, 1]) > np.pi / 2).sum()), int(known.sum())), "n": int(known.sum())}


def _median_p90(values: ndarray) -> dict[str, float | None]:
    if len(values) == 0:
        return {"median": None, "p90": None}
    middle, high = np.quantile(values, (0.5, 0.9))
    return {"median": float(middle), "p90": float(high)}


def _share(count: int, total: int) -> float | None:
    return count / total if total else None
