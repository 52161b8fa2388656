"""What is in mind: one object of the kind, which is looked for among the others.

Tang, Srivastava & Salakhutdinov (2014): the network "takes as input x and v to predict change in u such that to
maximize log p(u | x, v)", so where gazes go depends on the canonical image v that is in mind. It is held at that of the
object looked for (`Mind.v`), beside gazes for which it comes from each glimpse; and all are ranked by likeness.

The log density N(x(u); v, sigma^2) of a glimpse doesn't say which individual it shows: on pairs of photographs of faces
light and contrast decide it (the right one of two in 94 %, through another gaze and light), as they do in the whitened
coordinates of the patch model (77 to 98 %). What tells individuals apart is their structure, so each pixel is brought
to mean 0 and deviation 1 among its neighbours, and what is compared is the correlation r of two such glimpses. The
gazes of both are off by a little, so the one in mind is seen through `VIEWS` gazes about its own, and the largest r
counts: then the right one of two has the larger r in 99.99 %, partly covered in 99.5 %.

What r would another object of the kind reach? Samples of the patch model say so: with m and d the mean and standard
deviation of their r,

    log N(r; SAME, d^2) - log N(r; m, d^2) = (SAME - m) / d^2 (r - (SAME + m) / 2)    nats

speak for the one in mind. They are what another photograph of the same moment would give; of another day it gives less.
"""

import math
import os
import re
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from foveate.attention.shiftnet import Canonical, to_gaze
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput
from foveate.runtime.random import generator
from foveate.scenes import gaze
from foveate.scenes.glimpse import PATCH_SIZE, glimpses
from foveate.scenes.inputs import AnyImage, as_picture
from foveate.scenes.pyramid import Pyramids

Like = AnyImage | tuple[AnyImage, Any]
"""An aligned crop; or IMAGE:a,b,tx,ty, or an image and a gaze (a, b, tx, ty) in its pixels."""

VIEWS = 128
SPREAD = (0.1, 0.1, 0.12, 0.12)  # of their gazes: log scale, angle (radians), x / s, y / s
NEIGHBOURS = 9  # pixels of the patch, across
SAME = 0.75  # r that the object itself reaches through another gaze and light, partly covered
OTHERS, SWEEPS = 64, 100  # samples of the patch model, and of the Gibbs chain behind each
LEAST = 0.03  # standard deviation of their r
FLAT = 0.01  # standard deviation of pixels in [0, 1] below which there is nothing to compare
SMALLEST = 8  # side of a window, pixels
_GAZE = re.compile(r"(.+):([^:,]+),([^:,]+),([^:,]+),([^:,]+)", re.DOTALL)


class Mind(NamedTuple):
    """The object in mind."""

    v: Float[Tensor, "1 3 24 24"]  # its canonical image, standardised
    views: Float[Tensor, "views 1728"]  # through gazes about its own, of norm 1: what glimpses are compared with
    other: tuple[float, float]  # mean and standard deviation of the correlation that another object reaches

    def canonical(self, glimpse: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n 3 24 24"]:
        """v, whatever the glimpse shows: a `Canonical`."""
        return self.v.expand(len(glimpse), -1, -1, -1)

    def likeness(self, glimpse: Float[Tensor, "n 3 24 24"]) -> Float[np.ndarray, "n"]:
        """Nats that speak for the one in mind rather than for another object; see the module."""
        mean, deviation = self.other
        same = max(SAME, mean + 2 * deviation)
        reached = correlation(self.views, glimpse).double().numpy()
        return (same - mean) / deviation**2 * (reached - (same + mean) / 2)


def bring_to_mind(canonical: Canonical, like: Like, others: Float[Tensor, "others 3 24 24"]) -> Mind:
    """The one that a crop, or a gaze at an image, shows; `others` are of its kind (`sampled`).

    Raises:
        BadInput: It is no image, there is no such gaze in it, or there is nothing to see.
    """
    pixels, at, name = _shown(like)
    pyramids, index = Pyramids.from_images([pixels]), np.zeros(1 + VIEWS, np.int64)
    sobol = torch.quasirandom.SobolEngine(4, scramble=True, seed=0).draw(VIEWS, dtype=torch.float64)
    away = torch.special.ndtri(sobol.clamp(1e-9, 1 - 1e-9)) * torch.tensor(SPREAD, dtype=torch.float64)
    seen = glimpses(pyramids, index, torch.cat((at, gaze.compose(at, to_gaze(away)))))
    if float(seen[0].std()) < FLAT:
        raise BadInput(f"{name}: nothing to be seen, all pixels are alike")
    views = _structure(seen)
    reached = correlation(views, others).double()
    return Mind(canonical(seen[:1]).cpu(), views, (float(reached.mean()), max(float(reached.std()), LEAST)))


def sampled(gdbn: GaussianDBN) -> Float[Tensor, "others 3 24 24"]:
    """Other objects, as the patch model makes them up, in [0, 1]; the same each time."""
    v = gdbn.sample(OTHERS, generator(0, "in mind", device=gdbn.rbm.W.device), SWEEPS, noise=True)
    return gdbn.to_pixels(v).cpu().view(-1, 3, PATCH_SIZE, PATCH_SIZE).clamp(0, 1)


def correlation(views: Float[Tensor, "views 1728"], glimpse: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n"]:
    """The largest correlation of each glimpse with a view."""
    return (_structure(glimpse) @ views.T).amax(1)


def _structure(glimpse: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n 1728"]:
    """Each pixel less the mean of its neighbours, in their standard deviations; of norm 1."""

    def among(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, NEIGHBOURS, 1, NEIGHBOURS // 2, count_include_pad=False)

    away = glimpse - among(glimpse)
    return F.normalize((away / (among(away.square()).sqrt() + 2 * FLAT)).flatten(1), dim=1)


def _shown(like: Like) -> tuple[Shaped[np.ndarray, "h w 3"], Float[Tensor, "1 4"], str]:
    """Pixels, the gaze at the object in them, and what to call it."""
    image, u = like if isinstance(like, tuple) else (like, None)
    if isinstance(like, str) and (named := _GAZE.fullmatch(like)):
        image, *u = named.groups()
    name = str(image) if isinstance(image, (str, os.PathLike)) else "what is in mind"
    pixels = as_picture(image).pixels
    height, width = pixels.shape[:2]
    if u is None:
        u = (min(width, height) / 2, 0, width / 2, height / 2)
    try:
        a, b, x, y = (float(part) for part in u)
    except (TypeError, ValueError):
        raise BadInput(f"{name}: expected a gaze of four numbers a,b,tx,ty; got {u}") from None
    side = 2 * math.hypot(a, b)
    if not (SMALLEST <= side < math.inf):
        raise BadInput(f"{name}: a window of {side:.3g} pixels across; at least {SMALLEST} are needed")
    if not (0 <= x <= width and 0 <= y <= height):
        raise BadInput(f"{name}: the gaze's centre ({x:g}, {y:g}) isn't in the image of {width} x {height} pixels")
    return pixels, torch.tensor([[a, b, x, y]], dtype=torch.float64), name
