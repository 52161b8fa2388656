"""What a run keeps of a training for its page: patches, scenes attended step by step, figures.

Everything here is computed from the models and the scenes; nothing that computes needs it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.attend import attend
from foveate.attention.evidence import log_ratio
from foveate.attention.found import Found
from foveate.attention.models import Models
from foveate.attention.posterior.refine import TOGETHER
from foveate.attention.settings import AttendSettings
from foveate.evaluation.localization import measure
from foveate.evaluation.outcome import outcome
from foveate.report.results import LocalizationStory, TrainingStory
from foveate.report.story import FoundGaze, PatchStory, ScenesStory, SceneStory, Spread, Step
from foveate.runtime.progress import Progress
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.training.data import TrainingData
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.patches import aligned_patches

DETAILED = 48  # scenes of a training that are attended for its page, among which it chooses
WALL = 120  # aligned crops shown
AVERAGED = 400  # scenes and objects that an average is taken of
CROP = 64  # side of a crop, pixels


def tell_training(
    folder: Path,
    models: Models,
    data: TrainingData,
    settings: AttendSettings,
    progress: Progress,
    category: str = "",
) -> dict[str, Any]:
    """Saves the story of a training, and gives the figures of localization on the held-out scenes.

    The category is in it where no config.toml beside the story has it.
    """
    patch_story(data.gallery, data.objects, data.held_out_objects).save(folder)
    facts = {
        **({"category": category} if category else {}),
        "scenes": len(data.fit),
        "objects": len(data.objects.image),
        "scenes held out": len(data.held_out),
    }
    rejected = [(name, why) for name, _, why in (line.partition(": ") for line in data.gallery.problems)]
    TrainingStory(facts=facts, rejected=rejected, rejected_total=len(rejected)).save(folder)
    return tell_scenes(folder, models, data.gallery, data.held_out[:DETAILED], settings, progress, "held out")


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
    names, phase = {i: gallery.names[i] for i in images}, f"attending scenes {name}"
    seen = attend(models, gallery.pyramids, names, every, progress, phase, TOGETHER)
    results = [(image, each.founds) for image, each in zip(images, seen, strict=True)]
    figures = measure(
        [
            outcome(gallery.names[image], founds, gallery.of(image).numpy(), gallery.ignore[image].numpy())
            for image, founds in results
        ],
        settings.min_probability,
    )
    shown = [scene_story(models, gallery, *result, settings.min_probability) for result in results[:DETAILED]]
    missed = len(figures["wrong"])
    ScenesStory(shown, len(results), name, successes=len(results) - missed, failures=missed).save(folder)
    LocalizationStory(figures, name).save(folder)
    return figures


def patch_story(gallery: Gallery, objects: Objects, held_out: Objects) -> PatchStory:
    """The aligned patches, the wall of crops, and averages with and without alignment."""
    crops = glimpses(gallery.pyramids, objects.image[:AVERAGED], objects.gaze[:AVERAGED], CROP)
    return PatchStory(
        patches=aligned_patches(gallery.pyramids, objects),
        total=len(objects.image),
        crops=crops[:WALL],
        aligned_mean=crops.mean(0),
        scene_mean=scene_mean(gallery),
        validation=aligned_patches(gallery.pyramids, held_out),
    )


def scene_mean(gallery: Gallery) -> Float[Tensor, "3 side side"]:
    """The average of scenes, each seen through the upright gaze that shows most of it in one square."""
    count = min(len(gallery.names), AVERAGED)
    sides = [torch.from_numpy(side[:count, 0]).double() for side in (gallery.pyramids.width, gallery.pyramids.height)]
    boxes = torch.stack([torch.zeros(count), torch.zeros(count), *sides], dim=1)
    return glimpses(gallery.pyramids, torch.arange(count), gaze.from_boxes(boxes), CROP).mean(0)


def scene_story(
    models: Models, gallery: Gallery, image: int, founds: Sequence[Found], min_probability: float
) -> SceneStory:
    """One scene: the best gaze step by step, and all that were found."""
    pixels, truths = gallery.pyramids.level(image, 0), gallery.of(image)
    steps, overlap = [], None
    if founds:
        best = founds[0]
        kinds = ["start"] + ["convnet"] * best.network_steps + ["hmc"] * (len(best.trail) - 1 - best.network_steps)
        steps = story_steps(models, gallery, image, torch.from_numpy(best.trail), kinds)
        if len(truths):
            boxes = gaze.to_boxes(torch.from_numpy(best.u)[None].double())
            overlap = float(gaze.iou(boxes, gaze.to_boxes(truths)).max())
    shown = [f for f in founds if f.probability >= min_probability] or list(founds[:1])
    return SceneStory(
        name=gallery.names[image],
        thumbnail=pixels,
        width=pixels.shape[1],
        height=pixels.shape[0],
        truths=truths.tolist() if len(truths) else None,
        steps=steps,
        found=[FoundGaze(f.u.tolist(), f.probability, _spread(f)) for f in shown],
        success=None if not len(truths) else bool(overlap is not None and overlap >= 0.5),
        iou=overlap,
    )


def story_steps(
    models: Models, gallery: Gallery, image: int, trail: Float[Tensor, "steps 4"], kinds: Sequence[str]
) -> list[Step]:
    """What the models saw and made of it at every gaze of a trail."""
    seen = glimpses(gallery.pyramids, torch.full((len(trail),), image), trail)
    x = models.gdbn.standardise(seen)
    mean = models.gdbn.reconstruct(x)
    reconstruction, v = (models.gdbn.to_pixels(one).cpu().reshape(seen.shape) for one in (mean, (mean + x) / 2))
    scores: list[float | None] = [None] * len(trail)
    if models.evidence is not None:
        scores = log_ratio(models.gdbn, models.evidence.object_log_z, models.evidence.background, seen).tolist()
    return [Step(*step) for step in zip(trail.tolist(), kinds, seen, v, reconstruction, scores, strict=True)]


def _spread(found: Found) -> Spread | None:
    if found.posterior is None or len(found.posterior.draws) < 2:
        return None
    return Spread.from_draws(found.posterior.draws)
