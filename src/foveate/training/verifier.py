"""A second network of the ShiftNet's architecture, which says whether an object is in sight, and whether it is here.

The ShiftNet answers "where to?", always: every gaze converges to something. The verifier sees the same context and
canonical image, begins with the same weights, and gives two log-odds in place of the change of gaze:

- near: somewhere in the context is an object that the ShiftNet can reach. Of the many gazes that set out over an image,
  those that see nothing of the kind stop before their first step;
- here: the gaze has arrived at an object.

It learns from pairs of five origins, in the same surroundings, light and cover as the ShiftNet's:

- objects, seen through gazes as imprecise as those that a search ends with;
- near misses: an object at another size, turned, or beside the gaze;
- starts from which the object is in reach;
- starts of searches, anywhere;
- places elsewhere to which the ShiftNet was itself drawn (hard negatives). Those that the verifier still takes for
  objects are drawn more often; those that it takes for more of an object than most objects are not drawn at all: they
  are objects that nobody annotated.

The loss is logistic for either output, both of its classes weighing the same; where geometry leaves the answer open (an
overlap that is neither large nor small, an object that other surroundings may have hidden) there is none.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveate.attention.evidence import HERE, NEAR
from foveate.attention.shiftnet import Canonical, ShiftNet, middle
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints
from foveate.training.gallery import Gallery
from foveate.training.labels import ELSEWHERE, UNCLEAR, Objects
from foveate.training.networks import Books, Memory, Recipe, train_network
from foveate.training.settings import PairSettings, VerifierSettings
from foveate.training.verifier_pairs import Pairs, draw

LAST = 100  # steps whose mistakes are counted in the figures


def begin(start: ShiftNet, again: bool) -> ShiftNet:
    """The weights of `start`; the last layer is zero unless `start` is a verifier that learns `again`."""
    net = ShiftNet().channels_last()
    net.load_state_dict(start.state_dict())
    if not again:
        torch.nn.init.zeros_(net.shift.weight)
        torch.nn.init.zeros_(net.shift.bias)
    return net.to(start.shift.weight.device)


def nothing_known(negatives: int) -> Memory:
    """What is remembered of the negatives before the first step.

    logit: what each last gave, a running mean; visits: how often it was drawn; median: running median of the objects'
    log-odds; wrong: shares on the wrong side in each of the last steps, of objects, negatives and answers to near.
    """
    return {
        "logit": torch.zeros(negatives),
        "visits": torch.zeros(negatives, dtype=torch.int64),
        "median": torch.zeros((), dtype=torch.float64),
        "wrong": torch.zeros(0, 3, dtype=torch.float64),
    }


def train_verifier(
    gallery: Gallery,
    negatives: Objects,
    certain: Bool[Tensor, "negatives"],
    canonical: Canonical,
    start: ShiftNet,
    again: bool,
    settings: VerifierSettings,
    pairing: PairSettings,
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | NoCheckpoints,
) -> tuple[ShiftNet, dict[str, float | int]]:
    """Trains a verifier; goes on from a checkpoint where there is one.

    Args:
        gallery: The scenes, and the objects in them.
        negatives: Gazes at which no object is annotated, to which the ShiftNet was drawn.
        certain: Where there is none for certain: however much like an object it looks, it is not dropped.
        canonical: Glimpse in [0, 1] -> v, as inference computes it.
        start: The ShiftNet, or an earlier verifier, whose weights it begins with; it is trained where that is.
        again: Whether it is an earlier verifier.
        settings: How.
        pairing: How the ShiftNet's pairs are drawn: what is in its reach, and augmentation.
        seed: Of everything random.
        progress: Shows how far it is, and may stop it.
        checkpoints: Where the state is kept, as "verifier".

    Returns:
        The averaged network, whose first two outputs are the log-odds of near and here, and figures about it.
    """
    memory, device = nothing_known(len(negatives.image)), start.shift.weight.device

    def draw_batch(step: int) -> tuple[Pairs, Int[Tensor, "n"]]:
        rng = generator(seed, "verifier", step)
        chosen = _choose(memory, certain, settings, rng)
        return draw(gallery, negatives, chosen, settings.pairs, pairing, rng, device), chosen

    def loss(net: ShiftNet, batch: tuple[Pairs, Int[Tensor, "n"]]) -> Float[Tensor, ""]:
        pairs, chosen = batch
        with torch.no_grad():
            v = canonical(middle(pairs.context, 1.0))
        odds = net.shift(net.features(pairs.context, v))
        _remember(memory, odds.detach().cpu(), pairs, chosen, settings.pairs.objects)
        near, here = pairs.near.to(v.device), pairs.here.to(v.device)
        return _loss(odds[:, NEAR], near, settings.soft) + _loss(odds[:, HERE], here, settings.soft)

    books = Books("verifier", "verifier", progress, checkpoints, checkpoint_every=settings.checkpoint_every)
    recipe = Recipe.sgd(settings.steps, settings.rate, settings.warm_up, settings.decay)
    net = train_network(begin(start, again), draw_batch, loss, recipe, books, memory)
    last = memory["wrong"].mean(0).tolist()
    figures = {
        "verifier_negatives": len(negatives.image),
        "verifier_suspicious": int(_suspicious(memory, certain, settings).sum()),
        "verifier_missed": round(last[0], 4),
        "verifier_fooled": round(last[1], 4),
        "verifier_near_wrong": round(last[2], 4),
    }
    return net, figures


def _suspicious(memory: Memory, certain: Bool[Tensor, "negatives"], settings: VerifierSettings) -> Tensor:
    return (memory["visits"] >= settings.suspicious) & (memory["logit"] > memory["median"]) & ~certain


def _choose(
    memory: Memory, certain: Bool[Tensor, "negatives"], settings: VerifierSettings, rng: torch.Generator
) -> Int[Tensor, "n"]:
    """Which hard negatives a step sees."""
    weight = torch.sigmoid(memory["logit"]) + settings.least
    weight[_suspicious(memory, certain, settings)] = 0
    if not len(weight) or not weight.sum() > 0:
        return torch.zeros(0, dtype=torch.int64)
    return torch.multinomial(weight, settings.pairs.negatives, replacement=True, generator=rng)


def _remember(memory: Memory, odds: Float[Tensor, "n 4"], pairs: Pairs, chosen: Int[Tensor, "k"], objects: int) -> None:
    """Keeps what a step saw of the negatives, and what it got wrong."""
    there, fooled = odds[:objects, HERE], odds[len(odds) - len(chosen) :, HERE]
    memory["logit"][chosen] = 0.5 * (memory["logit"][chosen] + fooled)
    memory["visits"][chosen] += 1
    memory["median"] = memory["median"] + 0.1 * (there.median().double() - memory["median"])
    asked = pairs.near != UNCLEAR
    near = (odds[asked, NEAR] > 0) != (pairs.near[asked] > 0)
    shares = torch.stack([_mean(there < 0), _mean(fooled > 0), _mean(near)])
    memory["wrong"] = torch.cat((memory["wrong"], shares[None]))[-LAST:]


def _loss(odds: Float[Tensor, "n"], answer: Int[Tensor, "n"], soft: float) -> Float[Tensor, ""]:
    """Logistic loss where there is an answer, both answers weighing the same."""
    yes, no = (answer == 1).float(), (answer == ELSEWHERE).float()
    weight = 0.5 * yes / yes.sum().clamp(min=1) + 0.5 * no / no.sum().clamp(min=1)
    target = yes * (1 - 2 * soft) + soft
    return (F.binary_cross_entropy_with_logits(odds, target, reduction="none") * weight).sum()


def _mean(wrong: Tensor) -> Float[Tensor, ""]:
    return wrong.double().mean() if len(wrong) else torch.zeros((), dtype=torch.float64)
