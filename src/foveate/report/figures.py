"""Pictures made of pictures: a trail of gazes on a photograph, a wall of patches, their average."""

import math

import numpy as np
from PIL import Image, ImageDraw

from foveate.attention.overlay import trail_colour
from foveate.report.pictures import Picture, Stack, as_picture
from foveate.report.story import Number, Numbers, numbers

CASING = (16, 20, 28)
TICK = 0.34


def square(u: Numbers) -> list[tuple[float, float]]:
    """Corners of the window of a gaze in pixels, [4][2]: w(p) for p = (-1, -1), (1, -1), (1, 1), (-1, 1).

    w(p) = [[a, -b], [b, a]] p + t; the first two corners are its top edge.
    """
    return [_carry(u, x, y) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def tick(u: Numbers) -> list[tuple[float, float]]:
    """The short line that stands on the middle of the window's top edge and points inwards, [2][2]."""
    return [_carry(u, 0.0, -1.0), _carry(u, 0.0, -1.0 + TICK)]


def _carry(u: Numbers, x: Number, y: Number) -> tuple[float, float]:
    a, b, tx, ty = numbers(u)
    return a * x - b * y + tx, b * x + a * y + ty


def trail_figure(image: Picture, trail: Stack | list, truths: Stack | list | None = None) -> Image.Image:
    """A photograph with a trail of gazes drawn on it, the first yellow, later ones turning blue.

    Args:
        image: The photograph.
        trail: Gazes in its pixels, first to last, [T, 4]. The last is drawn boldest; a tick marks each window's top.
        truths: Annotated gazes, drawn in dashed white, [K, 4].
    """
    photograph = Image.fromarray(as_picture(image))
    width, height = photograph.size
    finer = max(1, min(4, int(math.sqrt(3e7 / (width * height)))))
    layer = Image.new("RGBA", (width * finer, height * finer), (*CASING, 0))
    draw = ImageDraw.Draw(layer)
    line = max(1.5, 0.0075 * min(width, height)) * finer
    for truth in [] if truths is None else truths:
        _dashes(draw, _scaled(square(truth), finer), line * 0.8)
    gazes = [numbers(u) for u in trail if all(math.isfinite(number) for number in numbers(u))]
    for step, u in enumerate(gazes):
        colour = trail_colour(step / max(1, len(gazes) - 1))
        thick = line * (1.6 if step == len(gazes) - 1 else 1.0)
        outline = _scaled(square(u), finer)
        for ink, pen in ((CASING, thick * 1.9), (colour, thick)):
            draw.line([*outline, outline[0], outline[1]], fill=(*ink, 255), width=max(1, round(pen)), joint="curve")
            draw.line(_scaled(tick(u), finer), fill=(*ink, 255), width=max(1, round(pen)))
    if finer > 1:
        layer = layer.resize((width, height), Image.Resampling.BOX)
    return Image.alpha_composite(photograph.convert("RGBA"), layer).convert("RGB")


def _scaled(points: list[tuple[float, float]], factor: Number) -> list[tuple[float, float]]:
    limit = 1e6  # a window far outside must not overflow the drawing's integers
    return [(min(max(x * factor, -limit), limit), min(max(y * factor, -limit), limit)) for x, y in points]


def _dashes(draw: ImageDraw.ImageDraw, corners: list[tuple[float, float]], line: float) -> None:
    pieces = 9
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        for piece in range(0, pieces, 2):
            ends = [(x0 + (x1 - x0) * at / pieces, y0 + (y1 - y0) * at / pieces) for at in (piece, piece + 1)]
            draw.line(ends, fill=(*CASING, 255), width=max(1, round(line * 1.9)))
            draw.line(ends, fill=(255, 255, 255, 255), width=max(1, round(line)))


def wall(patches: Stack, columns: int | None = None, gap: int = 2, scale: int = 1) -> Image.Image:
    """A grid of patches, row by row.

    Args:
        patches: [N, 3, h, w] in [0, 1] or uint8 [N, h, w, 3].
        columns: Patches a row; by default as many as make the wall about 3:2.
        gap: Pixels between patches, transparent.
        scale: Each pixel becomes scale x scale of them.

    Returns:
        An RGBA picture where there are gaps or cells that stay empty, otherwise RGB.
    """
    pictures = as_picture(patches)
    if pictures.ndim != 4 or not len(pictures):
        raise ValueError(f"a wall is made of at least one patch, [N, 3, h, w], not {list(pictures.shape)}")
    pictures = pictures.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, _ = pictures.shape
    across = min(count, columns or max(1, round(math.sqrt(1.5 * count * height / width))))
    rows = -(-count // across)
    grid = np.zeros((rows * (height + gap) - gap, across * (width + gap) - gap, 4), dtype=np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (index // across) * (height + gap), (index % across) * (width + gap)
        grid[top : top + height, left : left + width, :3] = picture
        grid[top : top + height, left : left + width, 3] = 255
    full = bool((grid[..., 3] == 255).all())
    return Image.fromarray(np.ascontiguousarray(grid[..., :3]) if full else grid)


def average(patches: Stack) -> Image.Image:
    """The mean of the patches, pixel by pixel."""
    pictures = as_picture(patches)
    if pictures.ndim != 4 or not len(pictures):
        raise ValueError(f"an average is taken of at least one patch, [N, 3, h, w], not {list(pictures.shape)}")
    return Image.fromarray((pictures.mean(axis=0, dtype=np.float64) + 0.5).astype(np.uint8))
