"""From an image to what the page shows of it: the picture itself, gazes with their posteriors, aligned crops."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import Any

from PIL import Image

from foveate.attention.attend import Attention
from foveate.attention.found import Found
from foveate.errors import BadInput
from foveate.report.drawing import ellipse_path, gaze_path, hex_colour, wedge_path
from foveate.report.pictures import as_picture, data_uri, jpeg
from foveate.report.story import Spread
from foveate.scenes.image import open_picture

SHOWN = 1600  # pixels, the longer side of the picture on the page
CROP = 96


def answering(attention: Attention) -> Callable[[bytes, bytes], dict[str, Any]]:
    """Attends to the bytes of an image file as `foveate attend` would to the file, with `--like` where a crop comes
    with it."""

    def answer(content: bytes, like: bytes = b"") -> dict[str, Any]:
        with _held(content) as name, _held(like) as crop:
            try:
                found = attention.attend(name, like=crop if like else None, progress=False)
                picture = open_picture(name, SHOWN)
            except BadInput as error:
                told = str(error).replace(name, "the image").replace(crop, "the one to look for")
                raise BadInput(told) from error
            gazes = [described(one, name) for one in found]
        return {
            "width": picture.width,
            "height": picture.height,
            "picture": data_uri(jpeg(Image.fromarray(as_picture(picture.pixels)), 88)),
            "gazes": gazes,
        }

    return answer


@contextmanager
def _held(content: bytes) -> Iterator[str]:
    """A file of a name of ours, which its user alone may read; gone afterwards."""
    with NamedTemporaryFile(prefix="foveate-") as held:
        held.write(content)
        held.flush()
        yield held.name


def described(found: Found, image: str) -> dict[str, Any]:
    """One gaze: its marks as paths in the image's pixels, its figures, and its crop."""
    u, marks = found.u.tolist(), {"gaze": gaze_path(found.u.tolist())}
    if found.posterior is not None and len(found.posterior.draws) > 1:
        spread = Spread.from_draws(found.posterior.draws)
        marks |= {"ellipse": ellipse_path(spread), "wedge": wedge_path(spread, 0.92 * found.scale)}
    steps = found.trail[: found.network_steps + 1].tolist()  # Monte Carlo's small ones are in the ellipse
    log_s, angle, x, y = (float(value) if math.isfinite(value) else None for value in found.spread)
    return {
        "probability": found.probability,
        "likeness": found.likeness,
        "centre": u[2:],
        "scale": found.scale,
        "angle": found.angle,
        "std": {
            "centre": [x, y],
            "scale": None if log_s is None else log_s * found.scale,
            "angle": None if angle is None else math.degrees(angle),
        },
        "flags": list(found.flags),
        "marks": marks,
        "trail": [[gaze_path(step), hex_colour(k / max(len(steps) - 1, 1))] for k, step in enumerate(steps)],
        "crop": data_uri(jpeg(found.crop(image, CROP))),
    }
