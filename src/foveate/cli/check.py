"""`foveate check`: what a folder of annotated images contains, and what looks wrong."""

import math
from typing import TYPE_CHECKING, Any

from foveate.cli.options import Category, Common, ConfigFile, Group, Select, Unannotated, print_figures
from foveate.cli.recipe import gather, read_quietly
from foveate.errors import BadInput

if TYPE_CHECKING:
    from foveate.scenes.folder import Scenes


def check(
    scenes: str,
    /,
    *,
    select: Select = None,
    category: Category = None,
    unannotated: Unannotated = None,
    group: Group = None,
    config: ConfigFile = None,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """Report what a folder of annotated images contains, and what looks wrong, before anything is trained.

    Takes seconds. The exit status is 0 if the folder can be trained on, 2 if not.

    Args:
        scenes: A folder of images with their annotations: COCO, Pascal VOC, YOLO, labelme, Label Studio, CVAT.
    """
    from foveate.scenes.doubts import Refused
    from foveate.scenes.examination import require_objects

    recipe = gather(config, None, select, category, None, common, unannotated=unannotated, group=group)
    try:
        read = read_quietly(scenes, recipe)
    except Refused as error:
        show({**_NOTHING, **error.figures}, error.doubts, [], common.json, str(error))
        raise
    except BadInput as error:
        show(_NOTHING, None, [], common.json, str(error))
        raise
    show(describe(read), read.doubts, [read.grouping] if read.grouping else [], common.json)
    require_objects(read.scenes, read.doubts, scenes)


_NOTHING = {"layout": None, "images": 0, "objects": 0, "empty": 0, "unannotated": 0}


def describe(read: "Scenes") -> dict[str, Any]:
    """The figures of a folder: counts, and the least, middle and largest of sizes and angles."""
    states = [scene.state for scene in read.scenes]
    placed = [(a.gaze, a.angle_period) for scene in read.scenes for a in scene.objects if a.gaze]
    gazes, known = [u for u, _ in placed], [u for u, period in placed if period == 360]
    return {
        "layout": read.layout,
        "images": len(states),
        "objects": len(gazes),
        "empty": states.count("empty"),
        "unannotated": states.count("unannotated"),
        "category": read.category,
        "image_sizes": _spread([float(max(scene.width, scene.height)) for scene in read.scenes]),
        "object_sizes": _spread([2 * math.hypot(u[0], u[1]) for u in gazes]),
        "angles": _spread([math.degrees(math.atan2(u[1], u[0])) for u in known]),
        "groups": len({scene.group for scene in read.scenes}),
    }


def show(figures: dict[str, Any], doubts: Any, said: list[str], as_json: bool, refused: str | None = None) -> None:
    """Print what was found: figures and doubts, as one JSON object or for people."""
    found = [] if doubts is None else doubts.found()
    if as_json:
        problems = [doubt.to_json() for doubt in found]
        if refused is not None:
            problems.append({"kind": "refused", "count": 1, "examples": [refused]})
        print_figures({**figures, "problems": problems}, as_json=True)
        return
    if refused is None:
        print_figures(figures, as_json=False)
    for line in [doubt.line() for doubt in found] + said:
        print(f"- {line}", flush=True)


def _spread(values: list[float]) -> list[float] | None:
    """Least, middle, largest."""
    ordered = sorted(round(value, 1) for value in values)
    return [ordered[k] for k in (0, len(ordered) // 2, -1)] if ordered else None
