"""Computes what the page shows of a training and of learning, from models and scenes, and saves it as the run's story.

Nothing that computes anything else needs it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.attend import attend
from foveate.attention.evidence import log_ratio
from foveate.attention.found import Found
from foveate.attention.models import Models
from foveate.attention.posterior.refine import TOGETHER
from foveate.attention.settings import AttendSettings
from foveate.attention.shiftnet import follow
from foveate.boltzmann.dbn import GaussianDBN
from foveate.evaluation.detections import Detections
from foveate.evaluation.localization import measure
from foveate.evaluation.verdict import verdict
from foveate.learning.learn import Round
from foveate.report.results import LearnRound, LearnStory, LocalizationStory, TrainingStory
from foveate.report.story import FoundGaze, PatchStory, ScenesStory, SceneStory, Spread, Step
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses, sizes_of
from foveate.training.data import TrainingData
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.patches import aligned_patches

DETAILED = 48  # scenes of a training that are attended for its page, among which it chooses
WALL = 120  # aligned crops shown
AVERAGED = 400  # scenes and objects that an average is taken of
CROP = 64  # side of a crop, pixels
ROUND_SCENES = 8  # scenes of a round of learning
ROUND_STEPS = 8  # of the ShiftNet, repeated for the page
SAMPLES = 36


def save_training_story(
    folder: Path, models: Models, data: TrainingData, settings: AttendSettings, progress: Progress, category: str = ""
) -> dict[str, Any]:
    """Saves the story of a training, and gives the figures of localization on the held-out scenes.

    The category is in it where no config.toml beside the story has it.
    """
    patch_story(data.gallery, data.objects, data.held_out_objects).save(folder)
    facts = {"category": category} if category else {}
    facts |= {"scenes": len(data.fit), "objects": len(data.objects.image), "scenes held out": len(data.held_out)}
    rejected = [(name, why) for name, _, why in (line.partition(": ") for line in data.gallery.problems)]
    told = save_scenes_story(folder, models, data.gallery, data.held_out[:DETAILED], settings, progress, "held out")
    regions = len(models.trained_evidence.errors)
    said = verdict(told, len(data.fit) + len(data.held_out), len(data.held_out), regions)
    TrainingStory(facts=facts, verdict=said, rejected=rejected, rejected_total=len(rejected)).save(folder)
    for line in said:
        progress.say(line)
    return told


def save_scenes_story(
    story: Path,
    models: Models,
    gallery: Gallery,
    images: Sequence[int],
    settings: AttendSettings,
    progress: Progress,
    name: str,
    order: int = 0,
    folder: str = "",
) -> dict[str, Any]:
    """Attends scenes of a gallery, saves what happened and the figures, and gives the figures."""
    every = replace(settings, min_probability=0.0, max_gazes=max(settings.max_gazes, 1))
    names, phase = {i: gallery.names[i] for i in images}, f"attending scenes {name}"
    seen = attend(models, gallery.pyramids, names, every, progress, phase, TOGETHER)
    results = [(image, each.founds) for image, each in zip(images, seen, strict=True)]
    detections = []
    for image, founds in results:
        truths, ignore = gallery.of(image).numpy(), gallery.ignore[image].numpy()
        periods = gallery.subset([image]).periods().tolist()
        detections.append(Detections.of(gallery.names[image], founds, truths, ignore, periods))
    figures = measure(detections, settings.min_probability)
    shown = [scene_story(models, gallery, *result, settings.min_probability) for result in results[:DETAILED]]
    missed = len(figures["wrong"])
    ScenesStory(shown, len(results), name, len(results) - missed, missed, order, folder).save(story)
    LocalizationStory(figures, name, order).save(story)
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
    sides = sizes_of(gallery.pyramids, torch.arange(count))
    boxes = torch.stack([torch.zeros(count), torch.zeros(count), *sides], dim=1)
    return glimpses(gallery.pyramids, torch.arange(count), gaze.from_boxes(boxes), CROP).mean(0)


def scene_story(
    models: Models, gallery: Gallery, image: int, founds: Sequence[Found], min_probability: float
) -> SceneStory:
    """One scene: the best gaze step by step, and all that were found."""
    truths, steps, overlap = gallery.of(image), [], None
    if founds:
        best = founds[0]
        moves = len(best.trail) - 1 - best.network_steps  # a single one is to the mean of the points of importance
        kinds = ["start"] + ["convnet"] * best.network_steps + (["mean"] if moves == 1 else ["hmc"] * moves)
        steps = story_steps(models, gallery, image, torch.from_numpy(best.trail), kinds)
        if len(truths):
            boxes = gaze.to_boxes(torch.from_numpy(best.u)[None].double())
            overlap = float(gaze.iou(boxes, gaze.to_boxes(truths)).max())
    shown = [f for f in founds if f.probability >= min_probability] or list(founds[:1])
    return _story_of(
        gallery,
        image,
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
    draws = np.empty((0, 4)) if found.posterior is None else found.posterior.unweighed().reshape(-1, 4)
    return None if len(draws) < 2 else Spread.from_draws(draws)


def save_learning_story(
    folder: Path, source: Models, learned: Models, new: Gallery, rounds: Sequence[Round], progress: Progress
) -> LearnStory:
    """Saves the story of learning; its bounds on known patches are filled in by who has such patches."""
    before = [source, *(done.models for done in rounds)]
    told = []
    with progress.phase("report of the rounds", len(rounds) + 1) as tick:
        for done, models in zip(rounds, before, strict=False):
            told.append(_round(models, new, done))
            tick(len(told))
        last = rounds[-1].verdict.reasons if rounds else []
        rejected = [(name, why) for name, why in zip(new.names, last, strict=False) if why]
        story = LearnStory(
            rounds=told,
            start_mean=scene_mean(new),
            samples_before=_samples(source.gdbn),
            samples_after=_samples(learned.gdbn),
            rejected=rejected,
            rejected_total=len(rejected),
        )
        story.save(folder)
        tick(len(rounds) + 1)
    return story


def _round(models: Models, new: Gallery, done: Round) -> LearnRound:
    teaches = done.verdict.teaches
    chosen = torch.tensor(teaches, dtype=torch.int64)
    crops = glimpses(new.pyramids, chosen, done.attended.u[chosen], CROP)
    refused = [k for k, why in enumerate(done.verdict.reasons) if why]
    shown = sorted(teaches[: ROUND_SCENES - min(len(refused), ROUND_SCENES // 2)] + refused[: ROUND_SCENES // 2])
    return LearnRound(
        number=done.number,
        attended_mean=crops.mean(0) if len(crops) else None,
        scenes=[_scene(models, new, k, done) for k in shown],
        accepted=len(teaches),
        rejected=len(refused),
        reasons=dict(Counter(done.verdict.reasons[k] for k in refused)),
        bound=done.bound_before if done.undone else done.bound_after,
        undone=done.undone,
        bound_before=done.bound_before,
    )


def _scene(models: Models, new: Gallery, image: int, done: Round) -> SceneStory:
    """A scene with the trail of the network from the single start, and the gaze that the search ended on."""
    why, sides = done.verdict.reasons[image], (new.pyramids.width[image, 0], new.pyramids.height[image, 0])
    start, index = gaze.covering(*map(int, sides)), torch.tensor([image])
    trail = follow(models.shiftnet, models.canonical, new.pyramids, index, start, ROUND_STEPS)[:, 0]
    u, found = done.attended.u[image], []
    if torch.isfinite(u).all():
        trail = torch.cat((trail, u[None]))
        found = [FoundGaze(u=u.tolist(), probability=float(done.attended.probability[image]))]
    kinds = ["start", *["convnet"] * (len(trail) - 1)]  # the search too ends where the network left it
    steps, unused = story_steps(models, new, image, trail, kinds), f"not used: {why}" if why else ""
    return _story_of(new, image, steps=steps, found=found, success=not why, note=unused)


def _story_of(gallery: Gallery, image: int, **more: Any) -> SceneStory:
    pixels = gallery.pyramids.level(image, 0)
    return SceneStory(gallery.names[image], pixels, pixels.shape[1], pixels.shape[0], **more)


def _samples(gdbn: GaussianDBN) -> Float[Tensor, "n 3 24 24"]:
    drawn = gdbn.sample(SAMPLES, generator(0, "samples"), 200)
    return gdbn.to_pixels(drawn).cpu().reshape(-1, 3, 24, 24)
