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

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveate.attention.evidence import HERE, NEAR
from foveate.attention.search import Canonical
from foveate.attention.shiftnet import ShiftNet, middle
from foveate.errors import NotFinite
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints
from foveate.training.descent import descend, finite
from foveate.training.gallery import Gallery
from foveate.training.labels import ELSEWHERE, UNCLEAR, Objects
from foveate.training.settings import PairSettings, VerifierSettings
from foveate.training.verifier_pairs import Pairs, draw

LAST = 100  # steps whose mistakes are counted in the figures

Shares = tuple[float, float, float]
"""What one step got wrong: of objects, of hard negatives, and of the answers to near."""


class State(NamedTuple):
    """Everything that the next step depends on.

    Attributes:
        net: The weights that are trained; its first two outputs are the log-odds.
        average: Their exponential moving average.
        velocity: The momentum of each weight.
        logit: What each hard negative last gave, a running mean.
        visits: How often it was drawn.
        median: Running median of the objects' log-odds.
        step: Steps done.
    """

    net: ShiftNet
    average: ShiftNet
    velocity: list[Tensor]
    logit: Float[Tensor, "negatives"]
    visits: Int[Tensor, "negatives"]
    median: float
    step: int


def begin(start: ShiftNet, again: bool, negatives: int) -> State:
    """The weights of `start`; the last layer is zero unless `start` is a verifier that learns `again`."""
    net, average = ShiftNet(), ShiftNet()
    for each in (net, average):
        each.channels_last().load_state_dict(start.state_dict())
        if not again:
            torch.nn.init.zeros_(each.shift.weight)
            torch.nn.init.zeros_(each.shift.bias)
        each.to(start.shift.weight.device)
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    visits = torch.zeros(negatives, dtype=torch.int64)
    return State(net, average.requires_grad_(False), velocity, torch.zeros(negatives), visits, 0.0, 0)


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
    count = len(negatives.image)
    state, wrong = _restore(checkpoints, count, start.shift.weight.device) or (begin(start, again, count), [])
    with progress.phase("verifier", settings.steps) as tick:
        while state.step < settings.steps:
            rng = generator(seed, "verifier", state.step)
            chosen = _choose(state, certain, settings, rng)
            pairs = draw(gallery, negatives, chosen, settings.pairs, pairing, rng, start.shift.weight.device)
            state, shares = _step(state, pairs, canonical, chosen, settings)
            wrong.append(shares)
            if state.step % settings.checkpoint_every == 0 or state.step == settings.steps:
                _save(checkpoints, state, wrong[-LAST:])
            tick(state.step)
    last = torch.tensor(wrong[-LAST:] or [(float("nan"),) * 3], dtype=torch.float64).mean(0)
    figures = {
        "verifier_negatives": count,
        "verifier_suspicious": int(_suspicious(state, certain, settings).sum()),
        "verifier_missed": round(float(last[0]), 4),
        "verifier_fooled": round(float(last[1]), 4),
        "verifier_near_wrong": round(float(last[2]), 4),
    }
    return finite(state.average, "the verifier").eval(), figures


def _suspicious(state: State, certain: Bool[Tensor, "negatives"], settings: VerifierSettings) -> Tensor:
    return (state.visits >= settings.suspicious) & (state.logit > state.median) & ~certain


def _choose(
    state: State, certain: Bool[Tensor, "negatives"], settings: VerifierSettings, rng: torch.Generator
) -> Int[Tensor, "n"]:
    """Which hard negatives a step sees."""
    weight = torch.sigmoid(state.logit) + settings.least
    weight[_suspicious(state, certain, settings)] = 0
    if not len(weight) or not weight.sum() > 0:
        return torch.zeros(0, dtype=torch.int64)
    return torch.multinomial(weight, settings.pairs.negatives, replacement=True, generator=rng)


def _step(
    state: State, pairs: Pairs, canonical: Canonical, chosen: Int[Tensor, "n"], settings: VerifierSettings
) -> tuple[State, Shares]:
    """One step; the networks and the negatives' records are changed in place.

    Also gives the shares on the wrong side: of objects, of hard negatives, and of the answers to near.
    """
    with torch.no_grad():
        v = canonical(middle(pairs.context, 1.0))
    odds = state.net.shift(state.net.features(pairs.context, v))
    near, here = pairs.near.to(v.device), pairs.here.to(v.device)
    loss = _loss(odds[:, NEAR], near, settings.soft) + _loss(odds[:, HERE], here, settings.soft)
    if not torch.isfinite(loss):
        raise NotFinite(f"the verifier's loss is {loss.item()} at step {state.step}: the learning rate is too high")
    weights: list[Tensor] = list(state.net.parameters())
    average: list[Tensor] = list(state.average.parameters())
    gradients = torch.autograd.grad(loss, weights)
    descend(weights, gradients, state.velocity, average, state.step, settings.steps, settings.descent)
    odds = odds.detach().cpu()
    there, fooled = odds[: settings.pairs.objects, HERE], odds[len(odds) - len(chosen) :, HERE]
    state.logit[chosen] = 0.5 * (state.logit[chosen] + fooled)
    state.visits[chosen] += 1
    median = state.median + 0.1 * (float(there.median()) - state.median)
    asked = pairs.near != UNCLEAR
    wrong = (odds[asked, NEAR] > 0) != (pairs.near[asked] > 0)
    return state._replace(median=median, step=state.step + 1), (_mean(there < 0), _mean(fooled > 0), _mean(wrong))


def _loss(odds: Float[Tensor, "n"], answer: Int[Tensor, "n"], soft: float) -> Float[Tensor, ""]:
    """Logistic loss where there is an answer, both answers weighing the same."""
    yes, no = (answer == 1).float(), (answer == ELSEWHERE).float()
    weight = 0.5 * yes / yes.sum().clamp(min=1) + 0.5 * no / no.sum().clamp(min=1)
    target = yes * (1 - 2 * soft) + soft
    return (F.binary_cross_entropy_with_logits(odds, target, reduction="none") * weight).sum()


def _mean(wrong: Tensor) -> float:
    return float(wrong.double().mean()) if len(wrong) else 0.0


def _save(checkpoints: Checkpoints | NoCheckpoints, state: State, wrong: list[Shares]) -> None:
    tensors = {f"net.{key}": value for key, value in state.net.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in state.average.state_dict().items()}
    tensors |= {f"velocity.{k}": value for k, value in enumerate(state.velocity)}
    tensors |= {"logit": state.logit, "visits": state.visits}
    checkpoints.save("verifier", tensors, {"step": state.step, "median": state.median, "wrong": wrong})


def _restore(
    checkpoints: Checkpoints | NoCheckpoints, negatives: int, device: torch.device
) -> tuple[State, list[Shares]] | None:
    found = checkpoints.load("verifier")
    if found is None:
        return None
    tensors, meta = found
    state = begin(ShiftNet().to(device), False, negatives)
    for prefix, net in (("net.", state.net), ("average.", state.average)):
        net.load_state_dict({key: tensors[prefix + key] for key in net.state_dict()})
    for k, value in enumerate(state.velocity):
        value.copy_(tensors[f"velocity.{k}"])
    state.logit.copy_(tensors["logit"])
    state.visits.copy_(tensors["visits"])
    wrong = [tuple(shares) for shares in meta["wrong"]]
    return state._replace(median=float(meta["median"]), step=int(meta["step"])), wrong
