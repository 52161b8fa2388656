"""A trained run in Python, and what it found as a table and as a picture."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from foveate.attention.attend import Attention
from foveate.attention.found import Found
from foveate.attention.output import to_json
from foveate.attention.overlay import draw_overlay
from foveate.errors import BadInput, extra
from foveate.runtime.devices import resolve
from foveate.scenes.inputs import AnyImage, as_picture
from foveate.scenes.layouts.writing import GAZE_COLUMNS, gaze_rows

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image

DEMO = "demo"
UNKNOWN = ("inside", "crop", "category")  # columns of the CSV that need the image, or what only a command writes


def load(run: str | os.PathLike[str], device: str = "auto") -> Attention:
    """A trained run, ready to find objects.

    Args:
        run: A RUN folder, as `foveate train` writes it; or "demo" for a model of handwritten digits to try at once,
            which is trained at the first call (minutes) and kept in the user's cache.
        device: Where to compute: "auto" is a GPU if there is one, else the CPU.

    Returns:
        An `Attention` that finds what `foveate attend` finds, to the last digit.

    Raises:
        BadInput: No such folder, it isn't a whole RUN, or there is no such device.
    """
    where = str(resolve(device))
    if run == DEMO:
        from foveate.api.demo import demo_run

        run = demo_run()
    return Attention.load(os.fspath(run), where)


def to_dataframe(
    found: Sequence[Found] | Sequence[Sequence[Found]], images: Iterable[Any] | None = None
) -> "DataFrame":
    """What was found as a table of pandas: one row per gaze, with the columns of `foveate attend --csv`.

    Args:
        found: What `attend` gave for one image or for several.
        images: Names for the column `image`, such as the paths that were attended; by default their numbers, from 0.

    Raises:
        BadInput: There is not one name for each image, or pandas is not installed.
    """
    pandas = extra("pandas", "pandas", "tables")
    each: list[Any] = [found] if any(isinstance(one, Found) for one in found) else list(found)
    names = list(range(len(each))) if images is None else list(images)
    if len(names) != len(each):
        raise BadInput(f"{len(each)} images were attended, {len(names)} named")
    rows = []
    for name, gazes in zip(names, each, strict=True):
        label = os.fspath(name) if isinstance(name, (str, os.PathLike)) else name
        rows += gaze_rows({"image": label, "gazes": [to_json(one, 0, 0) for one in gazes]})
    columns = [name for name in GAZE_COLUMNS if name not in UNKNOWN]
    return pandas.DataFrame(rows, columns=columns)


def plot(image: AnyImage, found: Sequence[Found]) -> "Image":
    """An image with everything that was found in it drawn on it, as a PIL image.

    Args:
        image: As it was attended.
        found: What `attend` gave for it.
    """
    return draw_overlay(as_picture(image).pixels, found)
