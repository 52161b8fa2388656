"""One object that attention found, or what may be one, and what its posterior says."""

import base64
import html
import io
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

from foveate.attention.nms import Mode
from foveate.attention.overlay import crop, draw_overlay
from foveate.attention.posterior.conformal import Region
from foveate.scenes.inputs import AnyImage, as_picture
from foveate.scenes.layouts.writing import corners

if TYPE_CHECKING:
    from PIL.Image import Image

NOT_MOVING, DIVERGING, DISAGREEING, FEW = "not moving", "diverging", "chains disagree", "few effective draws"
"""What may be wrong with the chains of a gaze (`Refined.flags`)."""
THUMBNAIL = 96  # pixels, of what a notebook shows
STILL = 1e-6  # of a half-side, of a radian or of log scale: a spread below it is a chain that didn't move


@dataclass(frozen=True, repr=False)
class Refined:
    """The posterior of one gaze: by importance sampling, or by chains of Hamiltonian Monte Carlo."""

    u: Float[np.ndarray, "4"]  # posterior mean, or the gaze the chains started from where they can't be believed
    std: Float[np.ndarray, "4"]  # standard deviations of (a, b, tx, ty), pixels; NaN where the chains did not move
    spread: Float[np.ndarray, "4"]  # standard deviations of (log s, angle in radians, tx, ty); NaN likewise
    trail: Float[np.ndarray, "steps 4"]  # the mean of all draws so far, at some of them, then u: how it settles
    draws: Float[np.ndarray, "chains draws 4"]  # u of every chain's; of importance sampling the points, as one chain
    rhat: Float[np.ndarray, "4"]  # of (log s, angle, tx, ty); NaN without chains
    ess: Float[np.ndarray, "4"]  # bulk effective sample sizes of the same; of the weights, without chains
    acceptance: Float[np.ndarray, "runs"]  # mean acceptance probability of each chain; empty without
    flags: tuple[str, ...]  # what is wrong with the chains, in words
    pareto_k: float = math.nan  # shape of the tail of the importance weights; NaN where none were asked
    weight: Float[np.ndarray, "draws"] | None = None  # of the points, with a sum of one; None: all draws count the same

    def __repr__(self) -> str:
        how = "importance sampling" if len(self.acceptance) == 0 else f"{len(self.acceptance)} chains"
        said = f", {', '.join(self.flags)}" if self.flags else ""
        return f"Refined({how}, effective draws {np.fmin.reduce(self.ess):.0f}{said})"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Flags for which the draws can't be believed; chains that merely disagree are far apart, and say so."""
        return tuple(sorted({NOT_MOVING, DIVERGING} & set(self.flags)))

    @property
    def weights(self) -> Float[np.ndarray, "chains draws"]:
        """What each draw counts, with a sum of one."""
        shape = self.draws.shape[:2]
        return np.full(shape, 1 / max(np.prod(shape), 1)) if self.weight is None else self.weight[None]

    def unweighed(self) -> Float[np.ndarray, "chains draws 4"]:
        """As many draws that all count the same: chains as they are, of points one chain, systematically resampled."""
        if self.weight is None:
            return self.draws
        count = self.draws.shape[1]
        at = np.searchsorted(np.cumsum(self.weight), (np.arange(count) + 0.5) / count)
        return self.draws[:, at.clip(max=count - 1)]

    def moved(self, factor: float, x: float | int = 0, y: float | int = 0) -> "Refined":
        """The same posterior in an image `factor` times the size, whose origin then lies at (-x, -y)."""
        u, trail, draws = (_moved(part, factor, x, y) for part in (self.u, self.trail, self.draws))
        spread = self.spread * np.array([1.0, 1.0, factor, factor])
        return replace(self, u=u, trail=trail, draws=draws, std=self.std * factor, spread=spread)


@dataclass(frozen=True, repr=False)
class Found:
    """One object, or what may be one. In a notebook it is shown as a small picture with its figures.

    Attributes:
        u: The gaze (a, b, tx, ty): posterior mean where there is one, else where the network came to rest.
        score: Log-odds in nats by which gazes are ranked.
        probability: P(object | score).
        trail: Every gaze on the way, the start first.
        network_steps: How many of the trail's steps are the networks'; the rest are Monte Carlo's.
        log_ratio: log p_object(x) - log p_background(x) of what it saw where the networks left it, nats.
        modes: Angles at which an object may stand here, itself first, where gazes that are turned otherwise came to
            rest at the same place.
        posterior: What the chains found, None where they were not run.
        likeness: Nats that speak for the one in mind, and its log probability; None where none is in mind.
        region: What holds the true gaze with a stated probability, where that was asked for.
        explained: P(it shows the object, not what covers it) of each pixel of the patch, where that was asked for.
        thumbnail: A small JPEG of what it looks at; None where it was not kept.
        category: Its kind, where several kinds are looked for (`images.kinds`).
        unseen: Expected number of objects that no gaze finds, for this one (`images.counting`).
    """

    u: Float[np.ndarray, "4"]
    score: float
    probability: float
    trail: Float[np.ndarray, "steps 4"]
    network_steps: int
    log_ratio: float = math.nan
    modes: tuple[Mode, ...] = ()
    posterior: Refined | None = None
    likeness: float | None = None
    region: Region | None = None
    explained: Float[np.ndarray, "24 24"] | None = field(default=None, compare=False)
    thumbnail: bytes | None = field(default=None, compare=False)
    category: str | None = None
    unseen: float = 0.0

    def __repr__(self) -> str:
        x, y = self.u[2:].tolist()
        place = f"centre=({x:.1f}, {y:.1f}), scale={self.scale:.1f}, angle={self.angle:.1f}"
        likeness = "" if self.likeness is None else f", likeness={self.likeness:.1f}"
        return f"Found({place}, probability={self.probability:.3f}{likeness})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        std = [f" ± {value:.1f}" if math.isfinite(value) else "" for value in self._deviations()]
        x, y = self.u[2:].tolist()
        rows = [
            ("probability", f"{self.probability:.3f}"),
            ("centre", f"{x:.1f}{std[0]}, {y:.1f}{std[1]} pixels"),
            ("scale", f"{self.scale:.1f}{std[2]} pixels"),
            ("angle", f"{self.angle:.1f}{std[3]}°"),
        ]
        if self.likeness is not None:
            rows.insert(1, ("likeness", f"{self.likeness:.1f} nats"))
        if self.visible is not None:
            rows.append(("visible", f"{self.visible:.0%}"))
        if self.flags:
            rows.append(("flags", ", ".join(self.flags)))
        cells = "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
        picture = ""
        if self.thumbnail is not None:
            data = base64.b64encode(self.thumbnail).decode()
            picture = f'<img alt="what the gaze looks at" src="data:image/jpeg;base64,{data}">'
        return f'<div style="display:flex;gap:1em;align-items:center">{picture}<table>{cells}</table></div>'

    def _deviations(self) -> tuple[float, float, float, float]:
        """Posterior standard deviations of x, y, scale (pixels) and angle (degrees)."""
        log_s, angle, x, y = self.spread.tolist()
        return x, y, log_s * self.scale, math.degrees(angle)

    @classmethod
    def at_rest(
        cls, trail: Float[np.ndarray, "steps 4"], score: float, probability: float, log_ratio: float = math.nan,
        likeness: float | None = None, unseen: float = 0.0,
    ) -> "Found":  # fmt: skip
        """Where the network left a gaze, before any chain has run."""
        steps = len(trail) - 1
        return cls(trail[-1], score, probability, trail, steps, log_ratio, likeness=likeness, unseen=unseen)

    @property
    def visible(self) -> float | None:
        """Share of the patch that shows the object; None where that was not asked for."""
        return None if self.explained is None else float(self.explained.mean())

    @property
    def rank(self) -> float:
        """What gazes are ordered by: the likeness where one is in mind, else the score."""
        return self.score if self.likeness is None else self.likeness

    def refined(self, posterior: Refined) -> "Found":
        """With what the chains that set out from it found."""
        return replace(self, u=posterior.u, trail=np.concatenate((self.trail, posterior.trail)), posterior=posterior)

    def moved(self, factor: float, x: float | int = 0, y: float | int = 0) -> "Found":
        """The same object in an image `factor` times the size, whose origin then lies at (-x, -y)."""
        posterior = self.posterior and self.posterior.moved(factor, x, y)
        u, trail = _moved(self.u, factor, x, y), _moved(self.trail, factor, x, y)
        return replace(self, u=u, trail=trail, posterior=posterior, region=self.region and self.region.moved(factor))

    @property
    def scale(self) -> float:
        """Half-side of its square, pixels."""
        return math.hypot(self.u[0], self.u[1])

    @property
    def angle(self) -> float:
        """Degrees in (-180, 180], clockwise on the screen."""
        angle = math.degrees(math.atan2(self.u[1], self.u[0]))
        return 180.0 if angle <= -180.0 else angle

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The upright square (x0, y0, x1, y1) around its centre, pixels."""
        (_, _, x, y), s = self.u.tolist(), self.scale
        return x - s, y - s, x + s, y + s

    @property
    def corners(self) -> Float[np.ndarray, "4 2"]:
        """Corners (x, y) of the turned square, pixels: the object's own upper left first, then clockwise."""
        return np.array(corners(self.u.tolist()))

    def crop(self, image: AnyImage, size: int = 192, margin: float | int = 0.0) -> "Image":
        """What it looks at in its image, however that is held, upright, as a PIL image of `size` pixels across.

        `margin` is what it has around the window on each side, as a share of the window's side.
        """
        u = self.u * np.array([1.0 + 2.0 * margin, 1.0 + 2.0 * margin, 1.0, 1.0])
        return crop(as_picture(image).pixels, u, size)

    def plot(self, image: AnyImage) -> "Image":
        """Its image with the gaze, its posterior and the way there drawn on it, as a PIL image."""
        return draw_overlay(as_picture(image).pixels, [self])

    def pictured(self, pixels: Shaped[np.ndarray, "h w 3"]) -> "Found":
        """The same with a small picture of what it looks at."""
        held = io.BytesIO()
        crop(pixels, self.u, THUMBNAIL).save(held, "JPEG", quality=80)
        return replace(self, thumbnail=held.getvalue())

    @property
    def rest(self) -> Float[np.ndarray, "4"]:
        """The gaze where the network left it."""
        return self.trail[self.network_steps]

    @property
    def std(self) -> Float[np.ndarray, "4"]:
        """Posterior standard deviations of (a, b, tx, ty), pixels; NaN without chains, and where they did not move."""
        return np.full(4, np.nan) if self.posterior is None else self.posterior.std

    @property
    def spread(self) -> Float[np.ndarray, "4"]:
        """Posterior standard deviations of (log s, angle in radians, tx, ty); NaN as for `std`."""
        return np.full(4, np.nan) if self.posterior is None else self.posterior.spread

    @property
    def spread_is_known(self) -> bool:
        """Whether there is a spread, and not that of chains that did not move: finite, and above `STILL`."""
        relative = self.spread / np.array([1.0, 1.0, max(self.scale, 1e-300), max(self.scale, 1e-300)])
        return bool((np.isfinite(relative) & (np.nan_to_num(relative) > STILL)).all())

    @property
    def flags(self) -> tuple[str, ...]:
        """What is wrong with the posterior's chains, in words."""
        return () if self.posterior is None else self.posterior.flags


def _moved(
    gazes: Float[np.ndarray, "*n 4"], factor: float, x: float | int, y: float | int
) -> Float[np.ndarray, "*n 4"]:
    return gazes * factor + np.array([0.0, 0.0, x, y])
