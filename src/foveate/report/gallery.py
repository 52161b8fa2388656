"""Attended scenes as the page shows them: cards with the trail on each photograph, and what the player needs."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from foveate.report import drawing
from foveate.report.charts import Bins, number, percent
from foveate.report.drawing import finite, gaze_path, photograph, posterior_marks, trail_marks, truth_marks
from foveate.report.pictures import data_uri, jpeg
from foveate.report.story import Numbers, SceneStory, Step
from foveate.storage.files import strict

KINDS = {"start": "Start", "convnet": "ShiftNet step", "mean": "Posterior mean", "hmc": "HMC"}
ONCE = ("start", "mean")  # kinds of which a trail has one step
PATCH_ROWS = ("glimpse", "v", "reconstruction")
PLUS_MINUS, DEGREE = "\N{PLUS-MINUS SIGN}", "\N{DEGREE SIGN}"


@dataclass
class Photographs:
    """Every photograph of the page, embedded once and referred to by number."""

    uris: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, scene: SceneStory) -> str:
        """The identifier under which the page's figures use the photograph."""
        self.uris.append((data_uri(bytes(scene.thumbnail)), scene.width, scene.height))
        return f"photo-{len(self.uris) - 1}"


def step_names(steps: list[Step]) -> list[str]:
    """ "Start", "ShiftNet step 2 of 6", "Posterior mean" or "HMC 3 of 12"."""
    kinds = [step.kind for step in steps]
    return [
        KINDS[kind] + ("" if kind in ONCE else f" {kinds[: index + 1].count(kind)} of {kinds.count(kind)}")
        for index, kind in enumerate(kinds)
    ]


def sprite(steps: list[Step]) -> tuple[str | None, list[str]]:
    """All small pictures of the steps in one: a column a step, a row each for glimpse, v, reconstruction if there.

    JPEG blocks are 8 x 8 and colours are not subsampled, so pictures whose sides are multiples of 8 don't bleed.
    """
    shown = {row: [getattr(step, row) for step in steps] for row in PATCH_ROWS}
    shown = {row: patches for row, patches in shown.items() if any(patch is not None for patch in patches)}
    if not shown:
        return None, []
    blank = np.full((24, 24, 3), 128, dtype=np.uint8)
    rows = [np.hstack([blank if patch is None else patch for patch in patches]) for patches in shown.values()]
    return data_uri(jpeg(Image.fromarray(np.vstack(rows)))), list(shown)


def verdict(scene: SceneStory) -> str:
    """What came of it, in words."""
    if scene.success is None:
        return f"probability {percent(scene.found[0].probability)}" if scene.found else "nothing found"
    if scene.truths is None:
        return "used" if scene.success else "not used"
    overlap = f", IoU {scene.iou:.2f}" if scene.iou is not None else ""
    chance = f", P\N{NO-BREAK SPACE}{percent(scene.found[0].probability)}" if scene.found else ""
    return ("found" if scene.success else "missed") + overlap + chance


TROUBLES = ("Missed: not on the object", "Missed: on the object, IoU below 0.5", "Found, but P below 50 %", "Found", "")
UNLIKELY = 0.5


def trouble(scene: SceneStory) -> str:
    """What went wrong, one of TROUBLES; empty where nothing is known of it."""
    if scene.success is None or scene.truths is None:
        return ""
    if not scene.success:
        return TROUBLES[1 if (scene.iou or 0.0) >= 0.1 else 0]
    return TROUBLES[2 if scene.found and scene.found[0].probability < UNLIKELY else 3]


def by_trouble(scenes: list[SceneStory]) -> list[SceneStory]:
    """The worst kind first; within a kind in the order of the overlap, or of the probability if there is none."""

    def badness(scene: SceneStory) -> tuple[int, float]:
        chance = scene.found[0].probability if scene.found else 0.0
        kind = TROUBLES.index(trouble(scene))
        return kind, chance if scene.iou is None or kind == 2 else scene.iou

    return sorted(scenes, key=badness)


def unlikely(scene: SceneStory, bins: Bins) -> str:
    """Why a gaze that is right can have a low probability, from what became of others with such a probability."""
    if trouble(scene) != TROUBLES[2]:
        return ""
    stated = scene.found[0].probability
    alike = min(bins, key=lambda row: abs(row[0] - stated), default=None)
    told = f"P {percent(stated)} though found"
    if alike is None:
        return told
    return f"{told}: of {number(alike[2])} gazes stated at about {percent(alike[0])}, {percent(alike[1])} were right"


def where(u: Numbers) -> str:
    """A gaze in words."""
    if not finite(u):
        return "a gaze that is not finite"
    a, b, x, y = u
    turn = math.degrees(math.atan2(b, a))
    return (
        f"centre ({number(round(x))}, {number(round(y))}), half-side {number(round(drawing.scale(u), 1))}, "
        f"angle {number(round(turn, 1))}{DEGREE}"
    )


def description(scene: SceneStory) -> str:
    """A sentence that stands for the picture."""
    words = [f"Photograph {scene.name}, {scene.width} by {scene.height} pixels"]
    if scene.steps:
        words.append(f"start: {where(scene.steps[0].u)}; end: {where(scene.steps[-1].u)}")
    return "; ".join([*words, verdict(scene)]) + "."


def card(scene: SceneStory, photo: str, key: int | None) -> dict[str, Any]:
    """A scene among successes and failures: its whole trail on the photograph; `key` is its number in the player."""
    chosen = [index for index, step in enumerate(scene.steps) if step.kind != "hmc" or index == len(scene.steps) - 1]
    marks = truth_marks(scene) + trail_marks(scene.steps, chosen)
    if not scene.steps and scene.found:
        marks += drawing.stroke(gaze_path(scene.found[0].u), "last", drawing.hex_colour(1))
    return {
        "name": scene.name, "svg": photograph(photo, (0, 0, scene.width, scene.height), marks, description(scene)),
        "verdict": verdict(scene), "success": scene.success, "note": scene.note, "key": key, "link": ""
    }  # fmt: skip


def two_stages(scene: SceneStory, photo: str) -> dict[str, Any] | None:
    """The ShiftNet's big steps beside HMC's small adjustments; None if the scene has not both."""
    steps = scene.steps
    quick = [index for index, step in enumerate(steps) if step.kind != "hmc"]
    slow = [index for index, step in enumerate(steps) if step.kind == "hmc"]
    if not quick or len(slow) < 2 or not all(finite(step.u) for step in steps):
        return None
    arrived = steps[quick[-1]].u
    moved = math.dist(steps[quick[0]].u[2:], arrived[2:])
    adjusted = max(math.dist(arrived[2:], steps[index].u[2:]) for index in slow)
    view = drawing.close_up([arrived, *(steps[index].u for index in slow)], scene.width, scene.height)
    sure = "".join(f" {name}: {text}." for name, text in certainty(scene))
    whole, truth = (0, 0, scene.width, scene.height), truth_marks(scene)
    quick_words, slow_words = f"ShiftNet steps on {description(scene)}", f"HMC on {scene.name}, close up.{sure}"
    return {
        "name": scene.name,
        "quick": photograph(photo, whole, truth + trail_marks(steps, quick), quick_words),
        "slow": photograph(photo, view, truth + posterior_marks(scene) + trail_marks(steps, slow), slow_words),
        "quick_words": f"{len(quick) - 1} steps, {number(round(moved))} pixels",
        "slow_words": f"{len(slow)} moves, up to {number(round(adjusted, 1))} pixels",
    }


def certainty(scene: SceneStory) -> list[tuple[str, str]]:
    """How sure the inference is of the best gaze, in words: its probability, posterior standard deviations."""
    if not scene.found:
        return []
    rows, spread = [("P(object)", percent(scene.found[0].probability, 1))], scene.found[0].spread
    if spread is not None:
        x, y = np.sqrt(np.diag(np.array(spread.covariance, dtype=float)).clip(min=0.0)).tolist()
        rows.append(("Centre", f"{PLUS_MINUS}{number(x, 2)} and {PLUS_MINUS}{number(y, 2)} px"))
        rows.append(("Angle", f"{PLUS_MINUS}{number(math.degrees(spread.angle_std), 2)}{DEGREE}"))
        rows.append(("Scale", f"{PLUS_MINUS}{percent(spread.log_scale_std, 1)}"))
    return rows


def player_scene(scene: SceneStory, photo: str) -> dict[str, Any]:
    """What the player needs of a scene, as strict JSON."""
    small, rows = sprite(scene.steps)
    steps = [
        {"name": name, "kind": step.kind, "path": gaze_path(step.u), "colour": colour, "score": step.score}
        | {"words": where(step.u), "has": [getattr(step, row) is not None for row in rows]}
        for step, name, colour in zip(scene.steps, step_names(scene.steps), drawing.colours(scene.steps), strict=True)
    ]
    return strict(
        {
            "name": scene.name, "photo": photo, "view": [0, 0, scene.width, scene.height], "verdict": verdict(scene),
            "success": scene.success, "group": trouble(scene), "sure": certainty(scene), "truth": truth_marks(scene),
            "posterior": posterior_marks(scene), "sprite": small, "rows": rows, "steps": steps
        }
    )  # fmt: skip
