"""Pictures without an object: noise, gratings, leaves, writing, and the spectrum of a photograph without its phase.

Annotated scenes show what their photographers cared for. Nothing in them says that a screen of noise, a wall of bricks
or a tray of coins holds no object, and a network that never saw the like may answer anything. These pictures are
searched as scenes are, and where the search ends are hard negatives.

- noise: pixels, or blocks of pixels, that know nothing of each other;
- gratings: a few waves, some of them as steps, whose products are stripes, checks and bricks;
- leaves: discs with radii r of density ~ r^-3 that fall on each other, the model of natural images that is invariant
  to scale (Lee, Mumford and Huang 2001, "Occlusion models for natural images"), in the colours of a scene, each shaded
  from one side as a ball or a coin is;
- spectrum: a scene whose Fourier coefficients keep their modulus and take the phases of white noise. What made an
  object is in the phases (Oppenheim and Lim 1981, "The importance of phase in signals");
- writing: lines of signs that nobody can read, each of a few strokes, as on a page or a screen.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image, ImageDraw

from foveate.runtime.progress import Progress, Quiet
from foveate.runtime.random import key
from foveate.scenes.pyramid import Store
from foveate.training.gallery import Gallery, Shown, make
from foveate.training.settings import ClutterSettings

Picture = Float[ndarray, "h w 3"]
FINE = 2  # by which writing is drawn larger, so that its edges are smooth
Colours = Float[ndarray, "H W 3"]  # a scene, which need not be as large


def clutter(
    gallery: Gallery,
    images: Sequence[int],
    count: int,
    seed: int,
    settings: ClutterSettings | None = None,
    progress: Progress | None = None,
    store: Store | None = None,
) -> Gallery:
    """`count` pictures without an object, the five kinds in turn, in colours and spectra of some of a gallery's scenes.
    Picture k depends on the seed, k and the scenes alone."""
    how = settings or ClutterSettings()

    def picture(k: int) -> Shown:
        rng = np.random.default_rng(key(seed, "clutter", k))
        scene = gallery.pyramids.level(images[int(rng.integers(len(images)))], 0).astype(np.float32) / 65535.0
        shape = (how.long, how.short) if rng.random() < 0.5 else (how.short, how.long)
        shown = KINDS[k % len(KINDS)](shape, scene, rng, how)
        if rng.random() < how.grey:
            shown = np.repeat(shown.mean(2, keepdims=True), 3, 2)
        return Shown(f"clutter {k}", np.rint(255 * shown.clip(0, 1)).astype(np.uint8))

    return make("clutter", range(count), picture, progress or Quiet(), store)


def _noise(shape: tuple[int, int], scene: Colours, rng: np.random.Generator, settings: ClutterSettings) -> Picture:
    """Blocks of independent grey values: uniform, normal around a scene's mean, or black and white."""
    block = int(rng.integers(1, settings.block + 1)) if rng.random() < 0.5 else 1
    h, w = (-(-side // block) for side in shape)
    kind = rng.integers(3)
    if kind == 0:
        values = rng.random((h, w, 3))
    elif kind == 1:
        values = rng.random() + rng.uniform(0.05, 0.4) * rng.normal(size=(h, w, 3))
    else:
        values = (rng.random((h, w, 1)) < rng.uniform(0.2, 0.8)).repeat(3, 2).astype(np.float64)
    return values.repeat(block, 0).repeat(block, 1)[: shape[0], : shape[1]]


def _gratings(shape: tuple[int, int], scene: Colours, rng: np.random.Generator, settings: ClutterSettings) -> Picture:
    """A product of waves from one colour of a scene to another."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    wave = np.ones(shape)
    for _ in range(int(rng.integers(1, settings.waves + 1))):
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(4), np.log(96)))
        one = np.cos(2 * np.pi * ((x * np.cos(angle) + y * np.sin(angle)) / period + rng.random()))
        wave = wave * (np.sign(one) if rng.random() < 0.4 else one)
    low, high = _colours(scene, 2, rng)
    return low + (high - low) * (0.5 + 0.5 * wave)[..., None] + rng.uniform(0, 0.08) * rng.normal(size=(*shape, 3))


def _leaves(shape: tuple[int, int], scene: Colours, rng: np.random.Generator, settings: ClutterSettings) -> Picture:
    """Discs that fall on each other, lit from one side."""
    picture = np.broadcast_to(_colours(scene, 1, rng)[0], (*shape, 3)).copy()
    radius = _radii(settings.leaves, rng, settings)
    centre = rng.random((settings.leaves, 2)) * shape
    colour, shade, light = _colours(scene, settings.leaves, rng), rng.uniform(0, 0.5), rng.uniform(0, 2 * np.pi)
    for (cy, cx), r, c in zip(centre, radius, colour, strict=True):
        top, left = max(int(cy - r), 0), max(int(cx - r), 0)
        y, x = np.mgrid[top : min(int(cy + r) + 2, shape[0]), left : min(int(cx + r) + 2, shape[1])]
        dy, dx = (y - cy) / r, (x - cx) / r
        inside = dx * dx + dy * dy < 1
        lit = c * (1 + shade * (dx * np.cos(light) + dy * np.sin(light)))[..., None]
        window = picture[top : top + len(y), left : left + x.shape[1]]
        window[inside] = lit[inside]
    return picture + rng.uniform(0, 0.05) * rng.normal(size=picture.shape)


def _radii(count: int, rng: np.random.Generator, settings: ClutterSettings) -> Float[ndarray, "count"]:
    """Of density ~ r^-3 between the smallest and the largest: r^-2 is uniform."""
    return rng.uniform(settings.largest**-2, settings.smallest**-2, count) ** -0.5


def _spectrum(shape: tuple[int, int], scene: Colours, rng: np.random.Generator, settings: ClutterSettings) -> Picture:
    """A scene's moduli with the phases of white noise, one for all three channels, so that colours go together."""
    h, w = min(shape[0], scene.shape[0]), min(shape[1], scene.shape[1])
    y, x = rng.integers(scene.shape[0] - h + 1), rng.integers(scene.shape[1] - w + 1)
    window = scene[y : y + h, x : x + w].astype(np.float64)
    mean = window.mean((0, 1))
    phase = np.exp(1j * np.angle(np.fft.rfft2(rng.normal(size=(h, w)))))
    turned = np.fft.rfft2(window - mean, axes=(0, 1)) * phase[..., None]
    return mean + np.fft.irfft2(turned, s=(h, w), axes=(0, 1))


def _writing(shape: tuple[int, int], scene: Colours, rng: np.random.Generator, settings: ClutterSettings) -> Picture:
    """Words of twenty signs in lines that are about level, in dark ink on light paper or in two colours of a scene."""
    paper, ink = _colours(scene, 2, rng) if rng.random() < 0.5 else (rng.uniform(0.8, 1, 3), rng.uniform(0, 0.35, 3))
    signs, high = [_sign(rng) for _ in range(20)], np.exp(rng.uniform(np.log(6), np.log(48)))
    sheet = Image.new("L", (FINE * shape[1], FINE * shape[0]))
    pen, unit = ImageDraw.Draw(sheet), FINE * high
    width = max(1, round(unit * rng.uniform(0.08, 0.2)))
    for top in np.arange(rng.random() * unit, sheet.height, rng.uniform(1.3, 2.0) * unit):
        left = rng.uniform(-1, 2) * unit
        while left < sheet.width:
            for sign in rng.integers(len(signs), size=rng.integers(1, 10)):
                for stroke in signs[sign]:
                    pen.line([(left + 0.6 * unit * x, top + unit * y) for x, y in stroke], 255, width, "curve")
                left += 0.8 * unit
            left += 0.6 * unit
    turned = sheet.rotate(float(rng.normal(0, 5)), Image.Resampling.BILINEAR).resize(
        (shape[1], shape[0]), Image.Resampling.BOX
    )
    covered = np.asarray(turned)[..., None] / 255
    return paper + (ink - paper) * covered + rng.uniform(0, 0.04) * rng.normal(size=(*shape, 3))


def _sign(rng: np.random.Generator) -> list[Float[ndarray, "points 2"]]:
    """Two to four strokes in the unit square, straight or bent, between points of a grid of 3 x 3."""
    t, strokes = np.linspace(0, 1, 7)[:, None], []
    for _ in range(rng.integers(2, 5)):
        begin, bend, end = rng.integers(3, size=(3, 2)) / 2
        bend = bend if rng.random() < 0.5 else (begin + end) / 2
        strokes.append((1 - t) ** 2 * begin + 2 * t * (1 - t) * bend + t**2 * end)  # a quadratic Bezier curve
    return strokes


def _colours(scene: Colours, count: int, rng: np.random.Generator) -> Float[ndarray, "count 3"]:
    """Colours of a scene's pixels."""
    flat = scene.reshape(-1, 3)
    return flat[rng.integers(len(flat), size=count)].astype(np.float64)


Kind = Callable[[tuple[int, int], Colours, np.random.Generator, ClutterSettings], Picture]
KINDS: tuple[Kind, ...] = (_noise, _leaves, _spectrum, _gratings, _writing)
