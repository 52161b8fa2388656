"""What is kept of a training for its page: patches, scenes attended step by step, figures.

Everything here is computed from the models and the scenes and saved as the run's story; nothing that computes needs it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.attend import Found, attend_pyramids
from foveate.attention.background import log_ratio
from foveate.attention.models import Models
from foveate.attention.settings import AttendSettings
from foveate.evaluation.localization import measure
from foveate.evaluation.outcome import Outcome, outcome
from foveate.report.results import LocalizationStory, TrainingStory
from foveate.report.story import FoundGaze, PatchStory, ScenesStory, SceneStory, Spread, Step
from foveate.runtime.progress import Progress
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.patches import aligned_patches
from foveate.training.train import Split

DETAILED = 48  # scenes of a training that are attended for its page, among which it chooses
WALL = 120  # aligned crops shown
CROP = 64  # their side, pixels


def tell_training(
    folder: Path,
    models: Models,
    gallery: Gallery,
    split: Split,
    settings: AttendSettings,
    progress: Progress,
    category: str = "",
) -> dict[str, Any]:
    """Saves the story of a training, and gives the figures of localization on the held-out scenes.

    The category is told where no config.toml beside the story tells it.
    """
    patch_story(gallery, split.objects, split.held_out_objects).save(folder)
    facts = {
        **({"category": category} if category else {}),
        "scenes": len(split.fit),
        "objects": len(split.objects.image),
        "scenes held out": len(split.held_out),
    }
    rejected = [(name, why) for name, _, why in (line.partition(": ") for line in gallery.problems)]
    TrainingStory(facts=facts, rejected=rejected, rejected_total=len(rejected)).save(folder)
    return tell_scenes(folder, models, gallery, split.held_out[:DETAILED], settings, progress, "held out")


def tell_scenes(
    folder: Path,
    models: Models,
    gallery: Gallery,
    images: Sequence[int],
    settings: AttendSettings,
    progress: Progress,
    name: str,
) -> dict[str, Any]:
    """Attends scenes of a gallery, saves what happened and the figures, and gives the figures."""
    every = replace(settings, min_probability=0.0, max_gazes=max(settings.max_gazes, 1))
    outcomes, stories = [], []
    names = [gallery.names[i] for i in images]
    attended = attend_pyramids(models, gallery.pyramids, images, names, every, progress, f"attending scenes {name}")
    for number, (image, founds) in enumerate(zip(images, attended, strict=True)):
        result = outcome(gallery.names[image], founds, gallery.of(image).numpy(), gallery.ignore[image].numpy(), None)
        outcomes.append(result)
        if number < DETAILED:
            stories.append(scene_story(models, gallery, image, founds, settings.min_probability))
    figures = measure(outcomes, settings.min_probability)
    hits = len(outcomes) - len(figures["wrong"])
    ScenesStory(scenes=stories, total=len(images), name=name, successes=hits, failures=len(outcomes) - hits).save(
        folder
    )
    LocalizationStory(figures=figures, name=name).save(folder)
    return figures


def patch_story(gallery: Gallery, objects: Objects, held_out: Objects) -> PatchStory:
    """The aligned patches, the wall of crops, and averages with and without alignment."""
    crops = glimpses(gallery.pyramids, objects.image[:WALL], objects.gaze[:WALL], CROP)
    every = range(min(len(gallery.names), 400))
    whole = glimpses(gallery.pyramids, torch.tensor(list(every)), torch.cat([_cover(gallery, i) for i in every]), CROP)
    aligned = glimpses(gallery.pyramids, objects.image[:400], objects.gaze[:400], CROP)
    return PatchStory(
        patches=aligned_patches(gallery.pyramids, objects).clamp(0, 1),
        total=len(objects.image),
        crops=crops.clamp(0, 1),
        aligned_mean=aligned.mean(0),
        scene_mean=whole.mean(0),
        validation=aligned_patches(gallery.pyramids, held_out).clamp(0, 1),
    )


def scene_story(
    models: Models, gallery: Gallery, image: int, founds: Sequence[Found], min_probability: float
) -> SceneStory:
    """One scene: the best gaze step by step, and all that were found."""
    pixels, truths = picture(gallery, image), gallery.of(image)
    steps, overlap = [], None
    if founds:
        best = founds[0]
        kinds = ["start"] + ["convnet"] * best.network_steps + ["hmc"] * (len(best.trail) - 1 - best.network_steps)
        steps = story_steps(models, gallery, image, torch.from_numpy(best.trail), kinds)
        if len(truths):
            boxes = gaze.to_boxes(torch.from_numpy(np.asarray(best.u, dtype=np.float64))[None])
            overlap = float(gaze.iou(boxes, gaze.to_boxes(truths)).max())
    shown = [f for f in founds if f.probability >= min_probability] or list(founds[:1])
    return SceneStory(
        name=gallery.names[image],
        thumbnail=pixels,
        width=pixels.shape[1],
        height=pixels.shape[0],
        truths=truths.tolist() if len(truths) else None,
        steps=steps,
        found=[
            FoundGaze(u=f.u.tolist(), probability=f.probability, std=f.std.tolist(), score=f.score, spread=_spread(f))
            for f in shown
        ],
        success=None if not len(truths) else bool(overlap is not None and overlap >= 0.5),
        iou=overlap,
    )


def story_steps(
    models: Models, gallery: Gallery, image: int, trail: Float[Tensor, "steps 4"], kinds: Sequence[str]
) -> list[Step]:
    """What the models saw and made of it at every gaze of a trail."""
    seen = glimpses(gallery.pyramids, torch.full((len(trail),), image), trail)
    x = models.gdbn.standardise(seen)
    mean = models.gdbn.grbm.visible_mean(models.gdbn.grbm.hidden_mean(x))
    reconstruction, v = models.gdbn.to_pixels(mean).cpu(), models.gdbn.to_pixels((mean + x) / 2).cpu()
    scores: list[float | None] = [None] * len(trail)
    if models.evidence is not None:
        scores = log_ratio(models.gdbn, models.evidence.object_log_z, models.evidence.background, seen).tolist()
    return [
        Step(u=u, kind=kind, glimpse=g, v=_picture(c), reconstruction=_picture(r), score=score)
        for u, kind, g, c, r, score in zip(trail.tolist(), kinds, seen, v, reconstruction, scores, strict=True)
    ]


def picture(gallery: Gallery, image: int) -> np.ndarray:
    """The pixels of a scene as it is kept, 16 bits."""
    return gallery.pyramids.level(image, 0)


def _picture(pixels: Tensor) -> Tensor:
    return pixels.reshape(3, 24, 24).clamp(0, 1)


def _cover(gallery: Gallery, image: int) -> Float[Tensor, "1 4"]:
    """The gaze that shows most of a scene in one square."""
    height, width = float(gallery.pyramids.height[image, 0]), float(gallery.pyramids.width[image, 0])
    return torch.tensor([[min(height, width) / 2, 0.0, width / 2, height / 2]], dtype=torch.float64)


def _spread(found: Found) -> Spread | None:
    if found.posterior is None or len(found.posterior.draws) < 2:
        return None
    return Spread.from_draws(found.posterior.draws)


__all__ = ["Outcome", "patch_story", "scene_story", "story_steps", "tell_scenes", "tell_training"]
