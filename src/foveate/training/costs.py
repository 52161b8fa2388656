"""How long a training takes, and the counts of steps for a given time: decided once, before it begins.

The table is of processor seconds of one core (two threads or one, the sum is about the same), taken from a training
with the preset "standard" on 870 photographs of 640 pixels, then with 4,500 and 1,200 steps of the two networks, which
took 1,945. Other machines differ by a factor, which is the same for all rows but roughly.
"""

from collections.abc import Mapping
from functools import reduce
from typing import Any

from foveate.storage.config import override
from foveate.training.settings import PRESETS, TrainSettings

PAIR = 0.0014  # of the ShiftNet and of the network that looks closer, in a step
PATCH, MAKING = 0.003, 0.007  # of the periphery in a step; making one
SEARCHED, JUDGED = 0.17, 0.4  # an image that makes the background; a held-out one: searches, degraded copies, temper
ROW = 0.0002  # a patch in an epoch of the second layer
IMAGE, ONCE = 0.03, 60.0  # reading an image; everything else

COUNTS = (
    "shiftnet.steps", "fine.steps", "periphery.steps", "periphery.patches", "ranking.scenes",
    "ranking.mosaics", "ranking.held_out_mosaics", "ranking.held_out_clutter",
)  # fmt: skip
"""What is counted by time."""


def core_seconds(settings: TrainSettings, images: int, objects: int) -> float:
    """Processor seconds that a training takes on the machine of the table."""
    net, fine, periphery, ranking = settings.shiftnet, settings.fine, settings.periphery, settings.ranking
    held_out = settings.held_out * images + ranking.held_out_mosaics + ranking.held_out_clutter
    return (
        PAIR * (net.steps * net.batch + fine.steps * fine.batch)
        + PATCH * periphery.steps * periphery.batch
        + MAKING * periphery.pools * periphery.patches
        + SEARCHED * (min(ranking.scenes, images) + ranking.mosaics)
        + JUDGED * held_out
        + ROW * settings.gdbn.second.epochs * settings.patches.copies * objects
        + IMAGE * images
        + ONCE
    )


def counts(share: float) -> dict[str, int]:
    """Counts between those of the preset "quick" (0) and of "standard" (1), on a scale of factors."""
    ends = [{name: _at(PRESETS[preset], name) for name in COUNTS} for preset in ("quick", "standard")]
    return {name: round(ends[0][name] ** (1 - share) * ends[1][name] ** share) for name in COUNTS}


def counts_for(minutes: float, images: int, objects: int, preset: str) -> tuple[dict[str, int], float]:
    """The counts that fill so many processor minutes, all else as in a preset, and the minutes that they take.

    They are never below those of "quick" nor above those of "standard", so the time may be more or less than asked.
    """
    base, low, high = PRESETS[preset], 0.0, 1.0

    def spent(share: float) -> float:
        return core_seconds(with_counts(base, counts(share)), images, objects) / 60

    if spent(1.0) <= minutes:
        low = 1.0
    elif spent(0.0) < minutes:
        while high - low > 1e-4:
            middle = (low + high) / 2
            low, high = (middle, high) if spent(middle) <= minutes else (low, middle)
    return counts(low), spent(low)


def with_counts(settings: TrainSettings, table: Mapping[str, Any]) -> TrainSettings:
    """Settings with those of a table of dotted names."""
    return override(settings, dict(table), "--minutes")


def _at(settings: Any, name: str) -> int:
    return reduce(getattr, name.split("."), settings)
