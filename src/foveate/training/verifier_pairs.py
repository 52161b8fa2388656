"""Training pairs of the verifier: contexts, and whether an object is near and whether it is here."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.attention import shiftnet
from foveate.scenes import gaze
from foveate.training.appearance import composite, mirror, recolour
from foveate.training.gallery import Gallery
from foveate.training.labels import ELSEWHERE, UNCLEAR, Objects, label_each
from foveate.training.pairs import REACH, SEARCH_TURN, search_starts
from foveate.training.settings import PairSettings, VerifierPairSettings

LOG_SCALE = 0.8  # by which an object's log scale may differ from that of a gaze that it is in reach of
SMALLEST = 8.0  # half-side of the smallest start, pixels


class Pairs(NamedTuple):
    """One minibatch, objects first and hard negatives last. Answers are 1, 0, or -1 where they are open."""

    context: Float[Tensor, "n 3 72 72"]
    near: Int[Tensor, "n"]
    here: Int[Tensor, "n"]


def draw(
    gallery: Gallery,
    negatives: Objects,
    chosen: Int[Tensor, "n"],
    settings: VerifierPairSettings,
    pairing: PairSettings,
    rng: torch.Generator,
    device: str | torch.device = "cpu",
) -> Pairs:
    """The pairs of one minibatch, contexts on the device."""
    objects, counts = gallery.objects, (settings.objects, settings.misses, settings.reaching)
    which = torch.randint(len(objects.image), (sum(counts),), generator=rng)
    there, missed, reached = objects.gaze[which].split(counts)
    size = settings.imprecise * torch.rand(counts[0], 1, generator=rng, dtype=torch.float64)
    off = size * torch.randn(counts[0], 4, generator=rng, dtype=torch.float64).clamp(-2, 2)
    jitter = settings.jitter * torch.randn(len(chosen), 4, generator=rng, dtype=torch.float64)
    anywhere = torch.randint(len(gallery.names), (settings.starts,), generator=rng)
    with_object = torch.cat(
        (
            gaze.compose(there, gaze.invert(shiftnet.to_gaze(off))),
            gaze.compose(missed, shiftnet.to_gaze(_misses(counts[1], rng))),
            search_starts(reached, rng),
        )
    )
    others = torch.cat(
        (
            _anywhere(gallery, anywhere, rng),
            gaze.compose(negatives.gaze[chosen], shiftnet.to_gaze(jitter)),
        )
    )
    image = torch.cat((objects.image[which], anywhere, negatives.image[chosen]))
    start, target = torch.cat((with_object, others)), torch.cat((objects.gaze[which], others))
    context = composite(gallery.pyramids, objects, image, start, target, pairing.appearance, rng)
    context = recolour(context.to(device), pairing.appearance, rng)
    context = mirror(context, torch.zeros(len(context), 4), pairing.appearance, rng)[0]
    near, here = _answers(gallery, image, start)
    near[len(with_object) :][near[len(with_object) :] == 1] = UNCLEAR  # other surroundings may have hidden it
    near[: settings.objects], here[: settings.objects] = 1, 1
    return Pairs(context, near, here)


def _anywhere(gallery: Gallery, image: Int[Tensor, "n"], rng: torch.Generator) -> Float[Tensor, "n 4"]:
    """Gazes of every size at every angle, with their centres in the image."""
    uniform = torch.rand(4, len(image), generator=rng, dtype=torch.float64)
    width = torch.from_numpy(gallery.pyramids.width[image.numpy(), 0]).double()
    height = torch.from_numpy(gallery.pyramids.height[image.numpy(), 0]).double()
    largest = torch.maximum(width, height) / 3
    s = SMALLEST * (largest / SMALLEST).clamp(min=1) ** uniform[0]
    return gaze.from_scale_angle(s, 2 * math.pi * uniform[1], width * uniform[2], height * uniform[3])


def _answers(
    gallery: Gallery, image: Int[Tensor, "n"], gazes: Float[Tensor, "n 4"]
) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"]]:
    """Whether an object is within the ShiftNet's reach of each gaze, and whether the gaze is at one."""
    reach = torch.tensor([LOG_SCALE, SEARCH_TURN, REACH, REACH], dtype=torch.float64)
    of, which = torch.nonzero(image[:, None] == gallery.objects.image[None], as_tuple=True)
    objects, ignore = gallery.objects.gaze[which], [gallery.ignore[number] for number in image.tolist()]
    here = label_each(gazes, of, objects, ignore)
    away = (shiftnet.change_between(gazes[of], objects).abs() / reach).amax(1)
    nearest = torch.full((len(gazes),), torch.inf, dtype=away.dtype).scatter_reduce_(0, of, away, "amin")
    near = torch.where(nearest <= 1, 1, torch.where(nearest > 1.4, ELSEWHERE, UNCLEAR))
    near[(near == ELSEWHERE) & torch.tensor([len(regions) > 0 for regions in ignore])] = UNCLEAR
    return near, here


def _misses(count: int, rng: torch.Generator) -> Float[Tensor, "n 4"]:
    """Changes away from an object by size, by angle or by position, a third each."""
    kind = torch.randint(3, (count,), generator=rng)
    u = 2 * torch.rand(count, 4, generator=rng, dtype=torch.float64) - 1
    scale = torch.where(kind == 0, u[:, 0].sign() * (0.5 + 0.8 * u[:, 0].abs()), 0.3 * u[:, 0])
    angle = torch.where(kind == 1, u[:, 1].sign() * (0.7 + 2.4 * u[:, 1].abs()), 0.4 * u[:, 1])
    far = torch.where(kind == 2, 0.75 + 1.5 * u[:, 3].abs(), 0.2 * u[:, 3].abs())
    where = math.pi * u[:, 2]
    return torch.stack((scale, angle, far * torch.cos(where), far * torch.sin(where)), 1)
