"""Which layout a folder of annotated images has."""

import os

from foveate.scenes.layouts import coco
from foveate.scenes.layouts.shapes import Document

ANNOTATIONS = "annotations.json"


def read_document(folder: str) -> Document | None:
    """What the annotation files of a folder tell; None where there are none.

    Raises:
        BadInput: They can't be used.
    """
    place = os.path.join(folder, ANNOTATIONS)
    return coco.read(place) if os.path.lexists(place) else None
