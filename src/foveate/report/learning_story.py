"""What is kept of learning without locations for its page: each round's expectation step, and what it changed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.models import Models
from foveate.attention.shiftnet import follow
from foveate.boltzmann.dbn import GaussianDBN
from foveate.learning.learn import Round
from foveate.report.results import LearnRound, LearnStory
from foveate.report.story import FoundGaze, SceneStory
from foveate.report.training_story import CROP, scene_mean, story_steps
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.training.gallery import Gallery

SHOWN = 8  # scenes of a round
SAMPLES = 36
STEPS = 8  # of the network, redone for the page


def tell_learning(
    folder: Path, source: Models, learned: Models, new: Gallery, rounds: Sequence[Round], progress: Progress
) -> LearnStory:
    """Saves the story of learning; its bounds on known patches are filled in by who has such patches."""
    before = [source, *(done.models for done in rounds)]
    told = []
    with progress.phase("the rounds, for the page", len(rounds) + 1) as tick:
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
    shown = sorted(teaches[: SHOWN - min(len(refused), SHOWN // 2)] + refused[: SHOWN // 2])
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
    pixels, why = new.pyramids.level(image, 0), done.verdict.reasons[image]
    start = gaze.covering(pixels.shape[1], pixels.shape[0])
    index = torch.tensor([image])
    trail = follow(models.shiftnet, models.canonical, new.pyramids, index, start, STEPS)[:, 0]
    u, found = done.attended.u[image], []
    if torch.isfinite(u).all():
        trail = torch.cat((trail, u[None]))
        found = [FoundGaze(u=u.tolist(), probability=float(done.attended.probability[image]))]
    kinds = ["start", *["convnet"] * (len(trail) - 1)]  # the search too ends where the network left it
    return SceneStory(
        name=new.names[image],
        thumbnail=pixels,
        width=pixels.shape[1],
        height=pixels.shape[0],
        steps=story_steps(models, new, image, trail, kinds),
        found=found,
        success=not why,
        note=f"not used: {why}" if why else "",
    )


def _samples(gdbn: GaussianDBN) -> Float[Tensor, "n 3 24 24"]:
    drawn = gdbn.sample(SAMPLES, generator(0, "samples"), 200)
    return gdbn.to_pixels(drawn).cpu().reshape(-1, 3, 24, 24)
