"""One picture and what is annotated in it, and all pictures of a folder."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from foveate.scenes.annotations import Annotation
from foveate.scenes.doubts import Doubts
from foveate.scenes.layouts.periods import FULL, PERIODS, Symmetry
from foveate.scenes.layouts.shapes import Frame


@dataclass(frozen=True)
class Scene:
    """One picture and what is annotated in it."""

    name: str  # path below the folder, with forward slashes; unique
    path: str  # where the file is
    width: int  # size of the upright picture in pixels
    height: int
    annotations: tuple[Annotation, ...] = ()  # one record each, in pixels of the upright picture
    annotated: bool = False  # whether somebody looked at it: if so and there is no object, it is known to be empty
    group: str = ""  # what belongs together when scenes are held out; the name if empty

    @property
    def state(self) -> Literal["objects", "empty", "unannotated"]:
        """With objects, empty, or never looked at."""
        return "objects" if self.objects else "empty" if self.annotated else "unannotated"

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
        extents = [annotation.extent for annotation in self.annotations if annotation.kind != "object"]
        regions = [whole if extent is None else extent.upright() for extent in extents]
        return np.array(regions, dtype=np.float64).reshape(-1, 4)

    def moved(self, frame: Frame, width: int, height: int) -> "Scene":
        """What is annotated, in the pixels of another picture of this one, to which a frame carries those here."""
        annotations = tuple(annotation.moved(frame) for annotation in self.annotations)
        return replace(self, width=width, height=height, annotations=annotations)


@dataclass
class Scenes:
    """The pictures of a folder, sorted by name."""

    scenes: list[Scene]  # those that can be used
    category: str | None = None  # name of the kind of object, None without annotations
    layout: str = "images"  # name of the layout of its annotation files, "images" without any
    doubts: Doubts = field(default_factory=Doubts)  # what is doubtful about them
    grouping: str | None = None  # what belongs together when scenes are held out, in words; None where each is alone

    def of_symmetry(self, symmetry: Symmetry | None) -> "Scenes":
        """The same, of objects whose angles are known no further than a symmetry tells them apart."""
        period = PERIODS.get(symmetry or "none", FULL)
        if period == FULL:
            return self

        def coarser(each: Annotation) -> Annotation:
            return replace(each, angle_period=min(period, each.angle_period))

        return replace(self, scenes=[replace(s, annotations=tuple(map(coarser, s.annotations))) for s in self.scenes])

    @property
    def problems(self) -> list[str]:
        """What is doubtful, a line each."""
        return self.doubts.lines()
