"""Training of the periphery: AdamW on patches that are made in pools.

A pool of patches is made, used for its share of the steps, and makes room for the next, so memory stays that of one.
Before a pool is made, the network as it is then looks at the scenes. What it takes for an object where none is
annotated is one that nobody annotated, if it looks more like one than many that are: no patch teaches the network
otherwise. The rest are hard negatives, and shown often (`mine`). What a step sees depends on the seed, its number, the
scenes, and these.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.optim import AdamW

from foveate.attention.periphery import CONTRAST, GREY, STRIDE, Periphery, standard
from foveate.attention.proposals import Answers, glance, propose
from foveate.attention.settings import SearchSettings
from foveate.runtime.precision import look_dtype
from foveate.runtime.progress import Progress, Quiet
from foveate.runtime.random import generator
from foveate.runtime.workers import map_images
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints
from foveate.training.gallery import Gallery
from foveate.training.labels import ELSEWHERE, NOWHERE, OBJECT, Objects
from foveate.training.networks import Books, Memory, Recipe, train_network
from foveate.training.periphery.loss import periphery_loss, targets
from foveate.training.periphery.patches import Patches, make_patches
from foveate.training.periphery.views import SIDE, Source
from foveate.training.settings import PeripherySettings, TrainSettings
from foveate.training.synthetic.clutter import clutter
from foveate.training.synthetic.sideways import sideways

WEIGHT_DECAY, CLIP = 0.02, 5.0  # of AdamW; largest norm of a gradient
AVERAGED = 12.0  # the average forgets e times so often in a training
WITHOUT_COLOUR = 0.15  # share of patches
GAIN, TINT, BIAS = 0.25, 0.08, 0.1  # standard deviations of log contrast, of each channel's, and of brightness
MINED = SearchSettings(most=20, floor=0.05)  # what is looked at of each scene
DOUBTED = 0.3  # share of the objects that look less like one than what is one that nobody annotated
FEWEST = 10  # objects of which that share is stated
MODERATE = 40.0  # half-side of objects at which side views are made, pixels


class Batch(NamedTuple):
    """What one step sees: patches as the network takes them, their objects, and blocks in which nothing is asked."""

    planes: Float[Tensor, "n 3 128 128"]
    objects: Float[Tensor, "n 16 5"]
    ignored: Bool[Tensor, "n 32 32"]


def train_periphery(
    gallery: Gallery,
    images: Sequence[int],
    settings: TrainSettings,
    progress: Progress | None = None,
    checkpoints: Checkpoints | NoCheckpoints | None = None,
    log: Callable[[dict[str, Any]], None] = lambda record: None,
    start: Periphery | None = None,
    device: str | torch.device = "cpu",
) -> Periphery:
    """Trains a network from scratch, or from `start`, on scenes by their numbers, and returns the averaged one; goes on
    from a checkpoint. See `networks.train_network`."""
    progress, device, how, seed = progress or Quiet(), torch.device(device), settings.periphery, settings.seed
    pools: dict[int, Patches] = {}
    mined = {f"{kind}.{name}": getattr(NOWHERE, name) for kind in ("hard", "likely") for name in ("image", "gaze")}
    memory = {"pool": torch.tensor(0 if start is None else -1), **mined}

    def draw(step: int) -> Batch:
        pool = step * how.pools // how.steps
        if int(memory["pool"]) != pool:
            memory.update(mine(net, gallery, images, progress), pool=torch.tensor(pool))
        if pool not in pools:
            pools.clear()  # before the next is made
            sources = sources_of(gallery, images, memory, settings, pool, progress)
            pools[pool] = make_patches(sources, how.patches, seed, pool, how.turn, progress)
        batch = draw_batch(pools[pool], how, settings.patches.mirror, seed, step)
        return Batch(*(part.to(device) for part in batch))

    def loss(net: Periphery, batch: Batch) -> Float[Tensor, ""]:
        half = look_dtype(device) == torch.bfloat16
        with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
            outputs = net(batch.planes)
        told = targets(batch.objects, batch.ignored, SIDE // STRIDE)
        return periphery_loss(outputs, batch.objects, told, net.harmonic)

    net = Periphery(period_of(gallery.subset(images)) if how.turn > 0 else 0).channels_last()
    if start is None:
        net.reset(generator(seed, "periphery"))
    else:
        net.load_state_dict(start.state_dict())
    net = net.to(device)
    # Warm-up, and the time over which weights are averaged, are short beside the steps.
    warm_up, decay = min(100, 1 + how.steps // 10), max(0.5, 1 - AVERAGED / how.steps)
    adam = partial(AdamW, lr=how.rate, weight_decay=WEIGHT_DECAY)
    recipe, often = Recipe(adam, how.steps, how.rate, warm_up, CLIP, decay), (how.report_every, how.checkpoint_every)
    books = Books("periphery", "periphery", progress, checkpoints or NoCheckpoints(), log, *often)
    return train_network(net, draw, loss, recipe, books, memory).eval()


def period_of(objects: Objects) -> int:
    """The period of the angle that a network for these objects predicts: the longest of theirs, degrees."""
    return int(objects.periods().max()) if len(objects.image) else 360


@torch.no_grad()
def mine(net: Periphery, gallery: Gallery, images: Sequence[int], progress: Progress) -> Memory:
    """Image and gaze of what the network takes for objects where none is annotated: "likely" those that look more like
    one than a share `DOUBTED` of the objects that it finds, "hard" the others."""
    looking = net.folded(look_dtype(net.head.weight.device))
    at_objects, elsewhere = [torch.zeros(0)], []

    def looked(image: int) -> tuple[int, Answers, Int[Tensor, "n"]]:
        found = propose(glance(looking, gallery.pyramids, image), MINED)
        return image, found, gallery.label(image, found.gazes)

    for image, found, labels in progress.over("periphery: hard negatives", map_images(looked, images), len(images)):
        at_objects.append(found.logit[labels == OBJECT])
        away = labels == ELSEWHERE
        elsewhere.append((torch.full((int(away.sum()),), image), found.gazes[away], found.logit[away]))
    image, gazes, logit = (torch.cat(parts) for parts in zip(*elsewhere, strict=True))
    objects = torch.cat(at_objects)
    likely = logit >= (torch.quantile(objects, DOUBTED) if len(objects) >= FEWEST else torch.inf)
    if likely.any():
        progress.say(f"{int(likely.sum())} places where nothing is annotated look like objects: not taken as empty")
    parts = {"hard.image": image[~likely], "hard.gaze": gazes[~likely]}
    return parts | {"likely.image": image[likely], "likely.gaze": gazes[likely]}


def sources_of(
    gallery: Gallery, images: Sequence[int], mined: Memory, settings: TrainSettings, pool: int, progress: Progress
) -> list[Source]:
    """What the patches of one pool are made of: the scenes, side views of some of them, and clutter."""
    ignore, seed, count = list(gallery.ignore), settings.seed + pool, settings.periphery.clutter
    for image, box in zip(mined["likely.image"].tolist(), gaze.to_boxes(mined["likely.gaze"]), strict=True):
        ignore[image] = torch.cat((ignore[image], box[None]))
    gallery = gallery._replace(ignore=ignore)
    hard, made = Objects(mined["hard.image"], mined["hard.gaze"]), []
    if settings.sideways.share > 0:
        made.append(sideways(_moderate(gallery), list(images), settings.sideways, seed, progress))
    if count:
        made.append(clutter(gallery, images, count, seed, settings.ranking.empty, progress))
    return [Source(gallery, images, hard), *(Source(each, range(len(each.names))) for each in made)]


def _moderate(gallery: Gallery) -> Gallery:
    """The gallery from the level on at which objects are of a moderate size; no pixel is copied."""
    p, s = gallery.pyramids, torch.linalg.vector_norm(gallery.objects.gaze[:, :2], dim=1)
    wanted = math.log2(float(s.median()) / MODERATE) if len(s) else 0.0
    level = int(min(max(wanted, 0), int(p.levels.min()) - 1))
    offset, height, width = (each[:, level:] for each in (p.offset, p.height, p.width))
    pyramids = Pyramids(p.store, offset, height, width, p.levels - level, p.fill)
    shrink = 2.0**-level
    objects = gallery.objects._replace(gaze=gallery.objects.gaze * shrink)
    return gallery._replace(pyramids=pyramids, objects=objects, ignore=[each * shrink for each in gallery.ignore])


def draw_batch(patches: Patches, settings: PeripherySettings, mirror: bool, seed: int, step: int) -> Batch:
    """What step number `step` sees of a pool: some of its patches, turned by right angles, mirrored, in other light.

    Where objects are looked for within some angle alone patches are not turned.
    """
    rng = generator(seed, "periphery batch", step)
    rows = torch.randint(len(patches.pixels), (settings.batch,), generator=rng)
    turns = torch.randint(4, (settings.batch,), generator=rng) * (settings.turn >= 180)
    turns += 4 * torch.randint(2, (settings.batch,), generator=rng) * mirror
    pixels, objects, ignored = patches.pixels[rows], patches.objects[rows], patches.ignored[rows]
    for k in range(1, 8):
        some = torch.nonzero(turns == k)[:, 0]
        pixels[some], ignored[some] = turned(pixels[some], k), turned(ignored[some], k)
        objects[some] = turned_objects(objects[some], k)
    planes = _relit(standard(pixels, torch.float32), rng)
    return Batch(planes.contiguous(memory_format=torch.channels_last), objects, ignored)


def turned(planes: Shaped[Tensor, "*n side side"], k: int) -> Shaped[Tensor, "*n side side"]:
    """Planes after k quarter turns clockwise, those of k - 4 and a mirror image before them from 4 on."""
    return (planes.flip(-1) if k >= 4 else planes).rot90(-(k % 4), (-2, -1))


def turned_objects(objects: Float[Tensor, "n k 5"], k: int) -> Float[Tensor, "n k 5"]:
    """Where the objects of patches are after `turned`; the mirror image of an object is taken for an object."""
    a, b, x, y, period = objects.unbind(-1)
    if k >= 4:
        b, x = -b, SIDE - x
    for _ in range(k % 4):
        a, b, x, y = -b, a, SIDE - y, x
    return torch.stack((a, b, x, y, period), -1)


def _relit(planes: Float[Tensor, "n 3 h w"], rng: torch.Generator) -> Float[Tensor, "n 3 h w"]:
    """Other contrast, tint and brightness, some without colour; in the bounds that pixels have."""
    n = len(planes)
    grey = torch.nonzero(torch.rand(n, generator=rng) < WITHOUT_COLOUR)[:, 0]
    planes[grey] = planes[grey].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    gain = torch.exp(GAIN * torch.randn(n, 1, 1, 1, generator=rng) + TINT * torch.randn(n, 3, 1, 1, generator=rng))
    bias = BIAS * 255 / CONTRAST * torch.randn(n, 1, 1, 1, generator=rng)
    mean = planes.mean((1, 2, 3), keepdim=True)
    return torch.addcmul(mean + bias - mean * gain, planes, gain).clamp_(-GREY / CONTRAST, (255 - GREY) / CONTRAST)
