"""What is believed about a gaze before looking: its scale, its angle, its place.

The prior is one of two kinds in scale: flat in (a, b, tx, ty), or log-normal. The angle is uniform or a wrapped
normal, the centre uniform over a region, the scale within bounds. The bounds are not for show: far outside the image
all gazes see the same colour, so under a flat prior without bounds the posterior would not be a distribution at all.
"""

import math
from dataclasses import dataclass

import numpy as np

from foveate.scenes.pyramid import Pyramids


@dataclass(frozen=True)
class GazePrior:
    """p(u), the same for all gazes up to their images' sizes.

    Attributes:
        log_scale: (mean, standard deviation) of log s, s in pixels; None for the prior that is flat in (a, b, tx,
        ty), under
            which p(log s) grows as s^2.
        angle: (mean, standard deviation) in radians of a normal density wrapped round the circle; None for uniform.
        scale_range: Least and greatest s in pixels; by default 1 pixel and the longer side of the image.
        region: (x0, y0, x1, y1) in pixels that the centre lies in; by default the image.
    """

    log_scale: tuple[float, float] | None = None
    angle: tuple[float, float] | None = None
    scale_range: tuple[float, float] | None = None
    region: tuple[float, float, float, float] | None = None

    def rows(self, n: int) -> np.ndarray:
        """[n, 5] as the compiled density takes it: log p(q) = power log s - precision (log s - mean)^2 / 2 + log
        wrapped normal.

        In chart coordinates the flat prior is s^2 (the Jacobian), the log-normal one, being a density of log s, has
        no power.
        """
        power, (mean, std) = (2.0, (0.0, math.inf)) if self.log_scale is None else (0.0, self.log_scale)
        centre, spread = (0.0, math.inf) if self.angle is None else self.angle
        return np.tile(np.array([power, mean, std**-2, centre, spread**-2]), (n, 1))

    def bounds(self, pyramids: Pyramids, index: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), [n, 4] each, in the chart (log s, angle, tx / L, ty / L) of each gaze."""
        width = pyramids.width[index, 0].astype(np.float64)
        height = pyramids.height[index, 0].astype(np.float64)
        by_default = (np.ones(len(index)), np.maximum(width, height))
        least, greatest = by_default if self.scale_range is None else self.scale_range
        x0, y0, x1, y1 = (0.0, 0.0, width, height) if self.region is None else self.region
        low, high = np.full((len(index), 4), -np.inf), np.full((len(index), 4), np.inf)
        low[:, 0], high[:, 0] = np.log(least), np.log(greatest)
        low[:, 2], high[:, 2] = x0 / length, x1 / length
        low[:, 3], high[:, 3] = y0 / length, y1 / length
        return low, high
