"""Are these images like those that a run was trained on? Without annotations, from a folder of them.

What a run states is true of images like those it was calibrated on. Of each image some figures are measured
(`FIGURES`), and of a folder each is compared with the same figures of held-out images by the two-sample test of
Kolmogorov and Smirnov. With K figures the smallest p counts K times (Bonferroni), so that of folders of the same kind
at most a share `LEVEL` is called strange.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

FIGURES = (
    "score", "size", "brightness of the object", "contrast of the object", "sharpness of the object", "brightness",
    "contrast", "sharpness", "fine detail", "colour", "colour balance",
)  # fmt: skip
LEVEL = 0.01
FEWEST = 20  # images, on either side, that are compared
LONGEST = 640  # of the level that an image's own figures are of, pixels: that at which scenes are trained on
OUTSIDE = 0.005  # share of the known images on either side, beyond which one is unlike them


class Strange(NamedTuple):
    """How a folder differs."""

    figures: list[str]  # in which, the most significant first
    p: float  # of the first, times their number
    share: float  # of images beyond nearly all known ones in one of these figures


def figures_of(
    pyramids: Pyramids, gazes: Float[Tensor, "n 4"], scores: Float[ndarray, "n"]
) -> Float[ndarray, "figures"]:
    """The figures of the single image of `pyramids` with gazes at rest; NaN where they need one and there is none."""
    out = np.full(len(FIGURES), np.nan)
    if len(scores):
        best = int(np.argmax(scores))
        u = gazes[best : best + 1].double()
        longest = max(int(pyramids.width[0, 0]), int(pyramids.height[0, 0]))
        grey = glimpses(pyramids, torch.zeros(1, dtype=torch.int64), u)[0].mean(0).double().numpy()
        size = float(torch.log(gaze.scale(u)[0] / longest))
        out[:5] = scores[best], size, grey.mean(), *_contrast_and_sharpness(grey)
    pixels = pyramids.level(0, _level(pyramids)).astype(np.float32) / 65535
    grey, some = pixels @ np.full(3, 1 / 3, np.float32), pixels[::4, ::4]
    detail = np.abs(_laplacian(grey)[::2, ::2])
    fine = float(np.log(np.median(detail) + 1e-4)) if detail.size else np.nan
    colour = float(np.log((some.max(2) - some.min(2)).mean() + 1e-3))
    balance = float((some[..., 0] - some[..., 2]).mean())
    out[5:] = grey.mean(), *_contrast_and_sharpness(grey), fine, colour, balance
    return out


def compare(known: Float[ndarray, "n figures"], seen: Float[ndarray, "m figures"]) -> Strange | None:
    """How images differ from known ones; None where they don't, or there are too few on either side to say."""
    from scipy.stats import ks_2samp

    if min(len(known), len(seen)) < FEWEST:
        return None
    found = []
    for k, name in enumerate(FIGURES):
        ours, theirs = (each[np.isfinite(each[:, k]), k] for each in (known, seen))
        if min(len(ours), len(theirs)) >= FEWEST:
            found.append((float(np.asarray(ks_2samp(ours, theirs))[1]) * len(FIGURES), k, name))
    found = sorted(each for each in found if each[0] < LEVEL)
    if not found:
        return None
    columns = [k for _, k, _ in found]
    low, high = np.nanquantile(known[:, columns], (OUTSIDE, 1 - OUTSIDE), axis=0)
    beyond = ((seen[:, columns] < low) | (seen[:, columns] > high)).any(1)
    return Strange([name for _, _, name in found], found[0][0], float(beyond.mean()))


def told(strange: Strange, images: int, known: int) -> str:
    """The warning, a line."""
    what = ", ".join(strange.figures[:3]) + (", ..." if len(strange.figures) > 3 else "")
    return (
        f"these images differ from those of training in {what} (p = {max(strange.p, 1e-99):.1g}, {images} images "
        f"beside {known}); {100 * strange.share:.0f} % of them lie beyond nearly all of those: what is stated may not "
        f"be true here, foveate recalibrate mends it"
    )


def _level(pyramids: Pyramids) -> int:
    """The first level that is no larger than `LONGEST`."""
    longest = np.maximum(pyramids.width[0], pyramids.height[0])[: int(pyramids.levels[0])]
    return int(np.argmax(longest <= LONGEST)) if (longest <= LONGEST).any() else len(longest) - 1


def _contrast_and_sharpness(grey: Float[ndarray, "h w"]) -> tuple[float, float]:
    """Logs of the standard deviation, and of that of the Laplacian beside it."""
    contrast, edges = np.log(grey.std() + 1e-3), _laplacian(grey).ravel()
    sharp = np.log(np.sqrt(edges @ edges / edges.size) + 1e-4) - contrast if edges.size else np.nan
    return float(contrast), float(sharp)


def _laplacian(grey: Float[ndarray, "h w"]) -> Float[ndarray, "a b"]:
    middle = grey[1:-1, 1:-1]
    return 4 * middle - grey[2:, 1:-1] - grey[:-2, 1:-1] - grey[1:-1, 2:] - grey[1:-1, :-2]
