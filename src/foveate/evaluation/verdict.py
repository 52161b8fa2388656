"""What of a trained run can be trusted, in plain words, from its held-out images."""

from collections.abc import Mapping
from typing import Any

from foveate.attention.posterior.conformal import fewest
from foveate.evaluation.reliability import wilson

FEW = 20  # gazes below which nothing is said of a share
RIGHT = 0.8  # of top-1 accuracy, the lower end of its interval
UPRIGHT = 0.02  # most of objects found that are upside down
SLACK = 0.02  # calibration error above what perfect probabilities would show
WITHIN = 0.6827
COVERAGE = 0.95
LESS, MORE = "too sure", "not sure enough"


def verdict(figures: Mapping[str, Any], images: int, held_out: int, regions: int) -> list[str]:
    """A line on how much is known, one on what can be trusted, one on what can't.

    Of a coordinate's standard deviations: whether the share within one is what it should be, within chance.
    """
    said: list[tuple[str, bool]] = []
    n, top1, upside, calibration = (
        figures["photos_with_objects"], figures["top1"]["0.5"], figures["upside_down"], figures["calibration"]
    )  # fmt: skip
    if n:
        low, high = wilson(top1, n)
        general = f"({_percent(low)} to {_percent(high)} in general)"
        said.append((f"place: right in {round(top1 * n)} of {n} {general}", low >= RIGHT))
    if upside["n"]:
        told = f"up and down: {round(upside['share'] * upside['n'])} of {upside['n']} found are upside down"
        said.append((told, upside["share"] <= UPRIGHT))
    error, chance = calibration["ece"], calibration["ece_by_chance"]
    if error is not None:
        judged = sum(row[2] for row in calibration["reliability"])
        told = f"probabilities: off by {error:.2f} on average, {chance:.2f} by chance alone (n = {judged})"
        said.append((told, judged >= FEW and error <= chance + SLACK))
    matched = calibration["n"]
    for name in ("centre", "scale", "angle"):
        inner = calibration[name][0]
        if inner is None or not matched:
            continue
        low, high = wilson(inner, matched)
        fine = low <= WITHIN <= high
        told = f"standard deviations of the {name}: {_percent(inner)} within one (n = {matched}), "
        told += f"{_percent(WITHIN)} expected" + ("" if fine else f", {LESS if inner < WITHIN else MORE}")
        said.append((told, fine and matched >= FEW))
    needed = fewest(COVERAGE)
    told = f"regions of {_percent(COVERAGE)} (attend --coverage): they rest on {regions} objects"
    said.append((told if regions >= needed else f"{told}, and {needed} are needed", regions >= needed))
    lines = [f"{held_out} of {images} images were held out; these figures are of {figures['photos']} of them"]
    for heading, wanted in (("Can be trusted", True), ("Can't be trusted", False)):
        some = [told for told, fine in said if fine == wanted]
        lines += [f"{heading}: {'; '.join(some)}"] if some else []
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
