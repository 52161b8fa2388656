"""Attended scenes as the page draws them: a trail on each photograph, and what the player needs of each step."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from foveate.attention.overlay import trail_colour
from foveate.report.charts import number, percent
from foveate.report.overlay import close_up, ellipse_path, finite, gaze_path, scale, wedge_path
from foveate.report.pictures import data_uri, jpeg
from foveate.report.story import FoundGaze, SceneStory, Step, numbers
from foveate.storage.files import strict

KINDS = {"start": "Start", "convnet": "ConvNet step", "hmc": "HMC"}
PATCH_ROWS = ("glimpse", "v", "reconstruction")


@dataclass
class Photographs:
    """Every photograph of the page, embedded once and referred to by number."""

    uris: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, scene: SceneStory) -> str:
        """The identifier under which the page's figures use the photograph."""
        self.uris.append((data_uri(bytes(scene.thumbnail)), scene.width, scene.height))  # type: ignore[arg-type]
        return f"photo-{len(self.uris) - 1}"


def hex_colour(position: float | int) -> str:
    """Colour at a position of a trail, 0 to 1, as the page writes it."""
    return "#{:02x}{:02x}{:02x}".format(*trail_colour(position))


def positions(steps: list[Step]) -> list[float]:
    """Where each step stands in its trail's colours, 0 to 1.

    The many small moves of HMC share the last quarter, so that the few big ones of the ConvNet can be told apart.
    """
    slow = sum(step.kind == "hmc" for step in steps)
    quick = len(steps) - slow - 1
    weights = [quick / (3.0 * slow) if step.kind == "hmc" and quick > 0 else 1.0 for step in steps]
    ends = np.cumsum(weights) - weights[0] if steps else np.zeros(0)
    return (ends / max(float(ends[-1]), 1e-9)).tolist() if len(ends) else []


def step_names(steps: list[Step]) -> list[str]:
    """ "Start", "ConvNet step 2 of 6", "HMC 3 of 12"."""
    totals = {kind: sum(step.kind == kind for step in steps) for kind in {step.kind for step in steps}}
    seen: dict[str, int] = {}
    names = []
    for step in steps:
        seen[step.kind] = seen.get(step.kind, 0) + 1
        name = KINDS.get(step.kind, step.kind)
        names.append(name if step.kind == "start" else f"{name} {seen[step.kind]} of {totals[step.kind]}")
    return names


def sprite(steps: list[Step]) -> tuple[str, list[str]] | None:
    """All small pictures of the steps in one: a column a step, a row each for glimpse, v, reconstruction if there.

    JPEG blocks are 8 x 8 and colours are not subsampled, so pictures whose sides are multiples of 8 don't bleed.
    """
    rows = [row for row in PATCH_ROWS if any(getattr(step, row) is not None for step in steps)]
    if not rows:
        return None
    shape = next(getattr(step, row).shape for step in steps for row in rows if getattr(step, row) is not None)
    blank = np.full(shape, 128, dtype=np.uint8)
    grid = [np.concatenate([_sized(getattr(step, row), blank) for step in steps], axis=1) for row in rows]
    return data_uri(jpeg(Image.fromarray(np.concatenate(grid, axis=0)), quality=90)), rows


def _sized(picture: Any, blank: np.ndarray) -> np.ndarray:
    return blank if picture is None or picture.shape != blank.shape else picture


def verdict(scene: SceneStory) -> str:
    """What came of it, in words."""
    if scene.success is None:
        best = scene.found[0].probability if scene.found else None
        return "nothing found" if not scene.found else f"probability {percent(best)}" if best is not None else ""
    if scene.truths is None:
        return "taught" if scene.success else "rejected"
    overlap = f", IoU {scene.iou:.2f}" if scene.iou is not None else ""
    return ("found" if scene.success else "missed") + overlap


def description(scene: SceneStory) -> str:
    """A sentence that stands for the picture."""
    words = [f"Photograph {scene.name}, {scene.width} by {scene.height} pixels"]
    if scene.steps and finite(scene.steps[0].u) and finite(scene.steps[-1].u):
        first, last = numbers(scene.steps[0].u), numbers(scene.steps[-1].u)
        turn = math.degrees(math.atan2(last[1], last[0]))
        words.append(
            f"the gaze starts at ({number(round(first[2]))}, {number(round(first[3]))}) with half-side "
            f"{number(round(scale(first)))} and ends at ({number(round(last[2]))}, {number(round(last[3]))}) with "
            f"half-side {number(round(scale(last)))}, turned {number(round(turn))} degrees"
        )
    words.append(verdict(scene))
    return ", ".join(word for word in words if word) + "."


def stroke(path: str, style: str, colour: str = "") -> str:
    """A line with a dark casing under it, so that it shows on any photograph."""
    if not path:
        return ""
    ink = f' style="stroke:{colour}"' if colour else ""
    return f'<path class="casing {style}" d="{path}"/><path class="ink {style}" d="{path}"{ink}/>'


def truth_marks(scene: SceneStory) -> str:
    """The annotated gazes."""
    return "".join(stroke(gaze_path(truth), "truth") for truth in scene.truths or [])


def posterior_marks(found: FoundGaze | None) -> str:
    """The ellipse of the centre and the wedge of the angle."""
    if found is None or found.spread is None:
        return ""
    wedge, ellipse = wedge_path(found.spread, 0.92 * scale(found.u)), ellipse_path(found.spread)
    marks = f'<path class="wedge" d="{wedge}"/>' if wedge else ""
    return marks + (f'<path class="ellipse" d="{ellipse}"/>' if ellipse else "")


def trail_marks(steps: list[Step], chosen: list[int]) -> str:
    """The windows of some of the steps, coloured by their place in the whole trail, the last one boldest."""
    marks, places = [], positions(steps)
    for index in chosen:
        style = "last" if index == chosen[-1] else "first" if index == 0 else "between"
        marks.append(stroke(gaze_path(steps[index].u), style, hex_colour(places[index])))
    return "".join(marks)


def picture(photo: str, view: tuple[float, float, float, float], marks: str, words: str) -> Markup:
    """A photograph, or a part of it, with marks drawn on it."""
    box = " ".join(f"{value:.1f}".removesuffix(".0") for value in view)
    return Markup(
        f'<svg class="photo" viewBox="{box}" role="img" aria-label="{escape(words)}">'
        f'<use href="#{photo}"/>{marks}</svg>'
    )


def card(scene: SceneStory, photo: str, key: int | None) -> dict[str, Any]:
    """A scene among successes and failures: its whole trail on the photograph.

    Args:
        scene: The scene.
        photo: Its identifier among the page's photographs.
        key: Its number in the player; None if it isn't there.
    """
    chosen = [index for index, step in enumerate(scene.steps) if step.kind != "hmc" or index == len(scene.steps) - 1]
    found = scene.found[0] if scene.found else None
    marks = truth_marks(scene) + trail_marks(scene.steps, chosen)
    if not scene.steps and found is not None:
        marks += stroke(gaze_path(found.u), "last", hex_colour(1.0))
    words = description(scene)
    view = (0.0, 0.0, float(scene.width), float(scene.height))
    return {
        "name": scene.name,
        "svg": picture(photo, view, marks, words),
        "verdict": verdict(scene),
        "success": scene.success,
        "note": scene.note,
        "key": key,
        "wide": scene.width >= scene.height,
    }


def two_stages(scene: SceneStory, photo: str) -> dict[str, Any] | None:
    """The ConvNet's big steps beside HMC's small adjustments; None if the scene has not both."""
    steps = scene.steps
    quick = [index for index, step in enumerate(steps) if step.kind != "hmc"]
    slow = [index for index, step in enumerate(steps) if step.kind == "hmc"]
    if not quick or len(slow) < 2:
        return None
    found = scene.found[0] if scene.found else None
    moved = math.dist(numbers(steps[quick[0]].u)[2:], numbers(steps[quick[-1]].u)[2:])
    adjusted = max(math.dist(numbers(steps[quick[-1]].u)[2:], numbers(steps[index].u)[2:]) for index in slow)
    if not (math.isfinite(moved) and math.isfinite(adjusted)):
        return None
    view = close_up([steps[index].u for index in [quick[-1], *slow]], scene.width, scene.height)
    whole = (0.0, 0.0, float(scene.width), float(scene.height))
    last = steps[slow[-1]].u
    spread_words = ""
    if found is not None and found.spread is not None and math.isfinite(found.spread.angle_std):
        spread_words = f" Posterior standard deviation of the angle {math.degrees(found.spread.angle_std):.1f} degrees."
    return {
        "name": scene.name,
        "quick": picture(
            photo,
            whole,
            truth_marks(scene) + trail_marks(steps, quick),
            f"ConvNet steps on {scene.name}: {description(scene)}",
        ),
        "slow": picture(
            photo,
            view,
            truth_marks(scene) + posterior_marks(found) + trail_marks(steps, slow),
            f"Close-up of HMC's moves on {scene.name}, around ({last[2]:.0f}, {last[3]:.0f}).{spread_words}",
        ),
        "quick_words": f"{len(quick) - 1} steps, {number(round(moved))} pixels",
        "slow_words": f"{len(slow)} moves, up to {number(round(adjusted, 1))} pixels",
    }


def certainty(found: FoundGaze | None) -> list[tuple[str, str]]:
    """How sure the inference is of what it found, in words."""
    if found is None:
        return []
    rows = []
    if found.probability is not None:
        rows.append(("P(object)", percent(found.probability, 1)))
    spread, std = found.spread, found.std
    if spread is not None:
        deviations = np.sqrt(np.diag(np.array(spread.covariance, dtype=float)).clip(min=0.0))
        rows.append(
            ("Centre", " and ".join(f"\N{PLUS-MINUS SIGN}{number(float(one), 2)}" for one in deviations) + " px")
        )
        rows.append(("Angle", f"\N{PLUS-MINUS SIGN}{number(math.degrees(spread.angle_std), 2)}\N{DEGREE SIGN}"))
        if spread.log_scale_std is not None:
            rows.append(("Scale", f"\N{PLUS-MINUS SIGN}{percent(spread.log_scale_std, 1)}"))
    elif std is not None:
        rows.append(
            ("Centre", " and ".join(f"\N{PLUS-MINUS SIGN}{number(one, 2)}" for one in numbers(std)[2:]) + " px")
        )
    return rows


def player_scene(scene: SceneStory, photo: str) -> dict[str, Any]:
    """What the player needs of a scene, as strict JSON."""
    steps = scene.steps
    small, places = sprite(steps), positions(steps)
    found = scene.found[0] if scene.found else None
    return strict(
        {
            "name": scene.name,
            "photo": photo,
            "view": [0, 0, scene.width, scene.height],
            "verdict": verdict(scene),
            "success": scene.success,
            "sure": certainty(found),
            "truth": truth_marks(scene),
            "posterior": posterior_marks(found),
            "sprite": small[0] if small else None,
            "rows": small[1] if small else [],
            "steps": [
                {
                    "name": name,
                    "kind": step.kind,
                    "path": gaze_path(step.u),
                    "colour": hex_colour(places[index]),
                    "score": step.score,
                    "words": _gaze_words(step.u),
                    "has": [getattr(step, row) is not None for row in (small[1] if small else [])],
                }
                for index, (step, name) in enumerate(zip(steps, step_names(steps), strict=True))
            ],
        }
    )


def _gaze_words(u: Any) -> str:
    a, b, x, y = numbers(u)
    if not finite(u):
        return "a gaze that is not finite"
    turn = math.degrees(math.atan2(b, a))
    return (
        f"centre ({number(round(x))}, {number(round(y))}), half-side {number(round(scale(u), 1))}, "
        f"turned {number(round(turn, 1))}\N{DEGREE SIGN}"
    )
