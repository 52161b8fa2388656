"""What of a trained run can be trusted, in plain words, from its held-out images."""

from collections.abc import Mapping
from typing import Any

from foveate.attention.posterior.conformal import fewest
from foveate.evaluation.reliability import wilson

FEW = 20  # gazes below which nothing is said of a share
RIGHT = 0.8  # of top-1 accuracy, the lower end of its interval
UPRIGHT = 0.02  # most of objects found that are upside down
SLACK = 0.02  # calibration error above what perfect probabilities would show
WITHIN = (0.6827, 0.9545)
COVERAGE = 0.95
LESS, MORE = "too sure", "not sure enough"


def verdict(figures: Mapping[str, Any], images: int, held_out: int, regions: int) -> list[str]:
    """A line on how much is known, one on what can be trusted, one on what can't."""
    n, good, bad = figures["photos_with_objects"], [], []
    top1 = figures["top1"]["0.5"]
    if n:
        low, high = wilson(top1, n)
        told = f"place: right in {round(top1 * n)} of {n} ({_percent(low)} to {_percent(high)} in general)"
        (good if low >= RIGHT else bad).append(told)
    upside = figures["upside_down"]
    if upside["n"]:
        count = round(upside["share"] * upside["n"])
        told = f"up and down: {count} of {upside['n']} found are upside down"
        (good if upside["share"] <= UPRIGHT else bad).append(told)
    for told, fine in (*_probabilities(figures["calibration"]), *_deviations(figures["calibration"])):
        (good if fine else bad).append(told)
    bounded = regions >= fewest(COVERAGE)
    told = f"regions of {_percent(COVERAGE)} (attend --coverage): they rest on {regions} objects"
    (good if bounded else bad).append(told if bounded else f"{told}, and {fewest(COVERAGE)} are needed")
    lines = [f"{held_out} of {images} images were held out; these figures are of {figures['photos']} of them"]
    lines += [f"Can be trusted: {'; '.join(good)}"] if good else []
    return lines + ([f"Can't be trusted: {'; '.join(bad)}"] if bad else [])


def _probabilities(calibration: Mapping[str, Any]) -> list[tuple[str, bool]]:
    error, chance = calibration["ece"], calibration["ece_by_chance"]
    if error is None:
        return []
    n = sum(row[2] for row in calibration["reliability"])
    told = f"probabilities: off by {error:.2f} on average, {chance:.2f} by chance alone (n = {n})"
    return [(told, n >= FEW and error <= chance + SLACK)]


def _deviations(calibration: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Of each coordinate: whether the share within one standard deviation is what it should be, within chance."""
    found, n = [], calibration["n"]
    for name in ("centre", "scale", "angle"):
        inner = calibration[name][0]
        if inner is None or not n:
            continue
        low, high = wilson(inner, n)
        told = (
            f"standard deviations of the {name}: {_percent(inner)} within one (n = {n}), {_percent(WITHIN[0])} expected"
        )
        fine = low <= WITHIN[0] <= high
        found.append((told if fine else f"{told}, {LESS if inner < WITHIN[0] else MORE}", fine and n >= FEW))
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
