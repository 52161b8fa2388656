"""Learning a kind of object from scenes in which nobody has said where it is.

Rounds of an expectation and a maximisation step (Tang, Srivastava & Salakhutdinov 2014; here with the whole search
instead of a single start). Expectation (`expectation`): attend every scene and ask which gazes can be trusted.
Maximisation: the patch model on the trusted patches by the same training as with known locations, the ShiftNet on the
trusted gazes with its perturbations (without side views, by which so few steps gained nothing), the evidence
on what was attended and what was not. Annotated scenes of the run one starts from are mixed in, so that old knowledge
stays.

Inferred gazes are off by about as much as those of the known kind were found to be on scenes set aside (`spread` of the
evidence). The patch model sees the new objects through gazes that vary by that much, as the expectation over u asks.

A round whose patch model explains the attended patches of held-out scenes worse than the one before (`check`), or
whose weights are no longer finite, is undone, and learning ends there.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace

import torch

from foveate.attention.models import Models
from foveate.errors import BadInput, NotFinite
from foveate.learning.check import check
from foveate.learning.expectation import Attended, Places, Verdict, attend_scenes, judge
from foveate.learning.pseudo_labels import LearningScenes
from foveate.learning.reselection import reselected
from foveate.learning.rounds import RoundRun
from foveate.learning.settings import LearnSettings
from foveate.runtime.progress import Progress
from foveate.scenes.folder import Scenes
from foveate.storage.run import Run
from foveate.training.gallery import Gallery, load_gallery
from foveate.training.settings import TrainSettings
from foveate.training.train import train_models

SLOWER = 0.25  # learning rate of a periphery that has learned before, beside that of one that hasn't
SAVED = ("u", "score", "probability", "spread")  # of `Attended`, beside places and doubts


class TooFew(BadInput):
    """Too few scenes seem to hold the object."""


@dataclass(frozen=True)
class Round:
    """One round."""

    number: int  # from 1
    models: Models  # the models after it
    # the best gaze of every scene, by the models before and, among its places, a first new patch model
    attended: Attended
    verdict: Verdict  # which scenes taught, and why the others did not
    # importance-weighted bound of the patch model before, on attended patches of new scenes held out, nats a
    # standardised patch
    bound_before: float
    bound_after: float  # the same of the patch model after
    undone: str = ""  # why the round was undone; empty where it was not


def learn(
    source: Models,
    scenes: Scenes,
    run: Run,
    settings: LearnSettings,
    progress: Progress,
    replay: Scenes | None = None,
    keep: bool = False,
) -> tuple[Models, Gallery, list[Round]]:
    """Learns from scenes, most of which hold the object; their annotations, if any, are not looked at.

    Models start from `source`, on its device, and are written into the claimed `run`; those of `replay`, annotated, are
    mixed in. With `keep`, where too few scenes can be trusted, the models stay as they are, and it is said.

    Given are the models learned, the scenes as they were kept, and what happened in each round.

    Raises:
        BadInput: Too few scenes can be trusted to hold the object: nothing is learned.
    """
    largest, old = settings.train.largest, None
    new = load_gallery(scenes.scenes, progress, largest).without_objects()  # nothing of their annotations is kept
    if replay is not None:
        old = load_gallery(replay.scenes, progress, largest, fewest=1, store=new.pyramids.store)
    law = source.trained_evidence.law
    usual = torch.zeros(4, dtype=torch.float64) if law is None else torch.from_numpy(law.usual)
    period = 360 if source.periphery is None else source.periphery.period
    sources = LearningScenes(new, old, usual, period, settings.train.seed)
    models, rounds = source, []
    for number in range(1, settings.rounds + 1):
        try:
            done = _round(number, models, sources, run, settings, progress)
        except TooFew as error:
            if number == 1 and not keep:
                raise
            progress.say(f"nothing learned in round {number}: {error}")
            break
        rounds.append(done)
        models, rejected = done.models, dict(Counter(filter(None, done.verdict.reasons)))
        run.log({
            "phase": "learn", "round": number, "accepted": len(done.verdict.teaches), "rejected": rejected,
            "bound_before": done.bound_before, "bound_after": done.bound_after, "undone": done.undone,
        })  # fmt: skip
        if done.undone:
            progress.say(f"round {number} undone: {done.undone}")
            break
    models.save(run.path)
    return models, new, rounds


def _round(
    number: int, models: Models, scenes: LearningScenes, run: Run, settings: LearnSettings, progress: Progress
) -> Round:
    """One round; `TooFew` where too few scenes can be trusted."""
    new, inner = scenes.new, RoundRun.begin(run, number)
    attended = _attended(models, new, inner, settings, progress)
    verdict = judge(attended, settings.trust, number == 1)
    if len(verdict.teaches) < settings.trust.fewest:
        common = Counter(filter(None, verdict.reasons)).most_common(3)
        raise TooFew(
            f"{len(verdict.teaches)} of {len(new.names)} scenes seem to hold the object, {settings.trust.fewest} are "
            f"needed: {'; '.join(f'{reason}: {count}' for reason, count in common)}"
        )
    train = _maximisation(settings, models)
    try:
        part, fewest = inner.within("reselect-1"), settings.trust.fewest
        attended = reselected(models, scenes, attended, verdict.teaches, part, train, fewest, progress)
        data = scenes.pseudo_labelled(attended.u, verdict.teaches, train)
        learned = train_models(data, inner, train, progress, models, models.device)
    except NotFinite as error:
        return Round(number, models, attended, verdict, math.nan, math.nan, str(error))
    inferred = data.held_out_objects.take(data.held_out_objects.image < len(new.names))
    before, after, undone = check(models, learned, data.gallery, inferred, settings.tolerance, settings.seed)
    return Round(number, models if undone else learned, attended, verdict, before, after, undone)


def _maximisation(settings: LearnSettings, models: Models) -> TrainSettings:
    """How a round trains; a network that the models don't have is not begun."""
    train, fine_steps = settings.train, settings.fine_steps if models.fine is not None else 0
    rate, slow = settings.shiftnet_rate, SLOWER * train.periphery.rate
    return replace(
        train,
        seed=settings.seed,
        sideways=replace(train.sideways, share=0.0),
        shiftnet=replace(train.shiftnet, steps=settings.shiftnet_steps, rate=rate),
        fine=replace(train.fine, steps=fine_steps, rate=rate),
        periphery=replace(train.periphery, steps=settings.periphery_steps, pools=1, rate=slow),
    )


def _attended(models: Models, new: Gallery, run: RoundRun, settings: LearnSettings, progress: Progress) -> Attended:
    """The expectation step, taken from the checkpoint where it was done before."""
    kept = run.checkpoints.load("attended")
    if kept is not None:
        tensors, meta = kept
        if "names" not in meta:
            raise BadInput(f"round {run.number} was started by an earlier version: start again with --overwrite")
        if meta["names"] != new.names:
            raise BadInput(f"the scenes are not those that round {run.number} was started with")
        places = Places(*(tensors[f"places.{name}"] for name in Places._fields))
        return Attended(**{name: tensors[name] for name in SAVED}, doubt=list(meta["doubt"]), places=places)
    attend = replace(settings.train.attend, seed=settings.seed)
    attended = attend_scenes(models, new, attend, progress, f"round {run.number}: attending")
    tensors = {name: getattr(attended, name) for name in SAVED}
    tensors |= {f"places.{name}": value for name, value in attended.places._asdict().items()}
    run.checkpoints.save("attended", tensors, {"doubt": attended.doubt, "names": new.names})
    return attended
