"""Several kinds of object in one picture: each by a RUN of its own, and no two of them at one place.

Every RUN looks by itself, with its own search, ranking, calibration and posteriors. Of what all of them found, gazes
that are at one object by the rule of `nms` exclude each other, whatever their kinds: the most probable one stays.
Probabilities are compared, since each RUN calibrated its own; log-odds decide between equal ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from foveate.attention.attend import Attention, Seen, reported
from foveate.attention.found import Found
from foveate.attention.nms import non_maximum_suppression
from foveate.attention.settings import AttendSettings
from foveate.errors import BadInput


class Kinds:
    """Trained runs that look at the same images.

    Args:
        attentions: The runs.
        settings: How each but the first looks.

    Attributes:
        names: Of the kinds of object, in this order.

    Raises:
        BadInput: Two of them have the same.
    """

    def __init__(self, attentions: Sequence[Attention], settings: Iterable[AttendSettings]):
        self._attentions, self._settings = attentions, list(settings)
        self.names = [each.category for each in attentions]
        if len(set(self.names)) < len(self.names):
            raise BadInput(f"RUNs of several kinds need names that differ, got {', '.join(self.names)}")

    def see(self, image: Shaped[np.ndarray, "h w 3"], name: str, settings: AttendSettings) -> Seen:
        """What all of them make of one image, most probable first, each gaze with its `category`.

        Args:
            image: As for `Attention.attend_one`.
            name: Its random numbers are keyed on it.
            settings: How the first looks, and how many gazes are reported; of the others the seed and the coverage.
        """
        more = {"seed": settings.seed, "coverage": settings.coverage}
        how = [settings, *(replace(its, **more) for its in self._settings)]
        seen = [each.see(image, name, its) for each, its in zip(self._attentions, how, strict=True)]
        found = [
            replace(each, category=kind)
            for kind, one in zip(self.names, seen, strict=True)
            for each in (*one.founds, *one.others)
        ]
        founds, others = reported(exclusive(found), settings)
        return seen[0]._replace(founds=founds, others=others)


def exclusive(founds: Sequence[Found]) -> list[Found]:
    """One gaze an object, most probable first; of equal ones the earlier."""
    if not founds:
        return []
    order = sorted(reversed(founds), key=lambda found: (found.probability, found.score))
    gazes = np.stack([found.u for found in order])
    return [order[k] for k in non_maximum_suppression(gazes, np.arange(len(order), dtype=np.float64))]
