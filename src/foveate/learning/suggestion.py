"""Which images to annotate next: those that the models know least of, and not the same one many times.

Three figures of each image, all in bits, whose sum is its value:

- uncertain: the entropy of what is where, sum_k h(p_k) over the places at which gazes came to rest, with
  h(p) = -p log2 p - (1 - p) log2 (1 - p). With independent places it holds that of whether there is an object at all;
- unlike: -log2 of the share of held-out images of training that are as far or farther from their middle, the image
  counted among them; far by the figures of `familiarity` in units of their middle half;
- crowded: log2(1 + E N), N the number of objects (`counting`): one look at the image annotates so many.

The most valuable one is taken, again and again. Beside what is taken already, an image at the distance d counts only
1 - exp(-d^2 / w) of its value, d^2 the mean square of what tells apart the images reduced to `SIDE` pixels, and w half
of its median: a copy counts nothing.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from foveate.attention.familiarity import FEWEST, FIGURES
from foveate.attention.images.counting import count as count_objects
from foveate.attention.images.image_files import Attended
from foveate.attention.overlay import as_bytes

SIDE = 8
MISSING = 3.0  # deviations that a figure counts which needs a gaze where there is none
SAMPLE = 200  # images whose distances say what is near
OPEN = (0.1, 0.9)  # places with a probability between these are called uncertain
NEGLIGIBLE = 1e-3  # bits: what is left of an image beside one like it


class Looked(NamedTuple):
    """What is kept of an image that was attended to.

    Attributes:
        name: The image.
        probabilities: Of all distinct places.
        figures: See `familiarity`; None where they are not known.
        small: The image at `SIDE` pixels.
    """

    name: str
    probabilities: list[float]
    figures: Float[ndarray, "figures"] | None
    small: Float[ndarray, "small"]

    @classmethod
    def at(cls, attended: Attended) -> "Looked":
        """Of an image that could be read."""
        assert attended.pixels is not None
        small = Image.fromarray(as_bytes(attended.pixels)).resize((SIDE, SIDE), Image.Resampling.BOX)
        probabilities = [found.probability for found in (*attended.founds, *attended.others)]
        return cls(attended.name, probabilities, attended.figures, np.asarray(small, np.float64).ravel())


class Suggestion(NamedTuple):
    """An image to annotate: `value` and its parts in bits, and why, in words."""

    image: str
    value: float
    uncertain: float
    unlike: float
    crowded: float
    reason: str


def suggest(looked: Sequence[Looked], known: Float[ndarray, "n figures"] | None, count: int) -> list[Suggestion]:
    """At most `count` images, the most valuable first; fewer where the others are copies of these.

    Args:
        looked: The images.
        known: Figures of held-out images of training; None or fewer than `familiarity.FEWEST`: no image is unlike them.
        count: How many are wanted.
    """
    valued = [_valued(each, known) for each in looked]
    value, small = np.array([each.value for each in valued]), np.array([each.small for each in looked])
    some = small[np.linspace(0, len(small) - 1, min(SAMPLE, len(small))).round().astype(int)]
    apart = np.square(some[:, None] - some[None]).mean(2)[np.triu_indices(len(some), 1)]
    width = max(float(np.median(apart)) / 2, 1.0) if len(apart) else 1.0
    left, chosen = value.copy(), []
    while len(chosen) < count and left.max(initial=0.0) > NEGLIGIBLE:
        best = int(np.argmax(left))
        chosen.append(valued[best])
        near = np.exp(-np.square(small - small[best]).mean(1) / width)
        left = np.minimum(left, value * (1.0 - near))
    return chosen


def _valued(looked: Looked, known: Float[ndarray, "n figures"] | None) -> Suggestion:
    p = np.clip(looked.probabilities, 1e-12, 1 - 1e-12)
    uncertain = float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum())
    objects = count_objects(looked.probabilities)
    crowded = math.log2(1.0 + objects.mean)
    unlike, which = _unlike(looked.figures, known)
    between = int(((p > OPEN[0]) & (p < OPEN[1])).sum())
    best = f"the best place has P = {p.max():.2f}" if len(p) else "no place stands out"
    reasons = [
        (uncertain, f"uncertain (places with P between {OPEN[0]} and {OPEN[1]}: {between}; {best})", between > 0),
        (unlike, f"unlike the images of training in {' and '.join(which)}", unlike > math.log2(10)),
        (crowded, f"crowded (about {objects.mean:.0f} objects, {objects.low} to {objects.high})", objects.mean >= 2.5),
        (0.0, best, not len(p) or p.max() <= OPEN[0]),
    ]
    said = [text for _, text, holds in sorted(reasons, reverse=True) if holds]
    reason = "; ".join(said) or "differs from the others in the list"
    return Suggestion(looked.name, uncertain + unlike + crowded, uncertain, unlike, crowded, reason)


def _unlike(
    figures: Float[ndarray, "figures"] | None, known: Float[ndarray, "n figures"] | None
) -> tuple[float, list[str]]:
    """Bits, and the two figures that are farthest from what is usual."""
    if figures is None or known is None or len(known) < FEWEST:
        return 0.0, []
    low, middle, high = np.nanquantile(known, (0.25, 0.5, 0.75), axis=0)
    unit = np.maximum(high - low, 1e-6) / 1.349  # of a Gaussian this is its deviation
    deviations = np.nan_to_num(np.abs((np.vstack((known, figures)) - middle) / unit), nan=MISSING)
    distance = np.square(deviations).mean(1)
    farthest = np.argsort(-deviations[-1])[:2]
    return -math.log2(float((distance >= distance[-1]).mean())), [FIGURES[k] for k in farthest]
