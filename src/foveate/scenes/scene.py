"""One picture and what is annotated in it, and all pictures of a folder."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from foveate.scenes.annotations import Annotation
from foveate.scenes.doubts import Doubts
from foveate.scenes.layouts.shapes import Frame


@dataclass(frozen=True)
class Scene:
    """One picture and what is annotated in it.

    Attributes:
        name: Path below the folder, with forward slashes; unique.
        path: Where the file is.
        width, height: Size of the upright picture in pixels.
        annotations: One record each, in pixels of the upright picture.
        annotated: Whether somebody looked at it: if so and there is no object, it is known to be empty.
        group: What belongs together when scenes are held out; the name if empty.
    """

    name: str
    path: str
    width: int
    height: int
    annotations: tuple[Annotation, ...] = ()
    annotated: bool = False
    group: str = ""

    @property
    def state(self) -> Literal["objects", "empty", "unannotated"]:
        """With objects, empty, or never looked at."""
        if any(annotation.kind == "object" for annotation in self.annotations):
            return "objects"
        return "empty" if self.annotated else "unannotated"

    @cached_property
    def objects(self) -> list[Annotation]:
        """The annotations that are objects."""
        return [annotation for annotation in self.annotations if annotation.kind == "object"]

    @cached_property
    def gazes(self) -> Float[np.ndarray, "objects 4"]:
        """(a, b, tx, ty) of every object."""
        return np.array([annotation.gaze for annotation in self.objects], dtype=np.float64).reshape(-1, 4)

    @cached_property
    def ignore(self) -> Float[np.ndarray, "regions 4"]:
        """Boxes (x0, y0, x1, y1) of regions that are neither object nor background: crowds, unusable annotations."""
        whole = (0.0, 0.0, float(self.width), float(self.height))
        regions = [
            whole if annotation.extent is None else annotation.extent.upright()
            for annotation in self.annotations
            if annotation.kind != "object"
        ]
        return np.array(regions, dtype=np.float64).reshape(-1, 4)

    def moved(self, frame: Frame, width: int, height: int) -> "Scene":
        """What is annotated, in the pixels of another picture of this one, to which a frame carries those here."""
        annotations = tuple(annotation.moved(frame) for annotation in self.annotations)
        return Scene(self.name, self.path, width, height, annotations, self.annotated, self.group)


@dataclass
class Scenes:
    """The pictures of a folder, sorted by name.

    Attributes:
        scenes: Those that can be used.
        category: Name of the kind of object, None without annotations.
        layout: Name of the layout of its annotation files, "images" without any.
        doubts: What is doubtful about them.
        grouping: What belongs together when scenes are held out, in words; None where each stands alone.
    """

    scenes: list[Scene]
    category: str | None = None
    layout: str = "images"
    doubts: Doubts = field(default_factory=Doubts)
    grouping: str | None = None

    @property
    def problems(self) -> list[str]:
        """What is doubtful, a line each."""
        return self.doubts.lines()
