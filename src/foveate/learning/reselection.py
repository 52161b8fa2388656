"""Choosing again among the places in each scene, once a patch model of the new kind is there.

Which of the places in a scene is the object is first judged by a score that knows another kind. A patch model learned
from what was taken for objects, most of it rightly, knows the new kind: to the score, whose log-odds are those of the
old kind, comes the log-ratio of the new patch model and the background, divided by the temper T as in the posterior,

    score(u) + (log p_new(x(u)) - log p_background(x(u))) / T.

log Z of the new model is the same for all places of a scene and left out.

A model that was trained on a patch explains it well, whatever the patch shows: it would confirm the choice that it
learned from. So the scenes are parted in two, and the places in each part are weighed with a model that was trained on
the other part (cross-fitting).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from foveate.attention.evidence import log_ratio
from foveate.attention.models import Models
from foveate.boltzmann.dbn import GaussianDBN
from foveate.learning.expectation import Attended, best_places
from foveate.learning.pseudo_labels import LearningScenes
from foveate.learning.rounds import RoundRun
from foveate.runtime.progress import Progress
from foveate.runtime.random import key
from foveate.scenes.glimpse import glimpses
from foveate.training.gallery import Gallery, hold_out
from foveate.training.settings import TrainSettings
from foveate.training.train import patch_model


def parts(names: Sequence[str], teaches: Sequence[int], fewest: int, seed: int) -> Int[Tensor, "n"]:
    """The part of each scene, 0 or 1, by a hash of its name; all 0 where a part would teach by fewer than `fewest`."""
    part = torch.zeros(len(names), dtype=torch.int64)
    part[hold_out(names, 0.5, key(seed, "part"))[1]] = 1  # another seed than that by which training holds scenes out
    counts = torch.bincount(part[torch.tensor(teaches, dtype=torch.int64)], minlength=2)
    return part if int(counts.min()) >= fewest else torch.zeros_like(part)


def reselected(
    models: Models,
    scenes: LearningScenes,
    attended: Attended,
    teaches: Sequence[int],
    run: RoundRun,
    settings: TrainSettings,
    fewest: int,
    progress: Progress,
) -> Attended:
    """Trains a patch model for each part of the scenes on the others that teach, and chooses anew with them.

    Where a part would teach by fewer than `fewest` scenes, one model, of all of them, weighs all; where each scene has
    a single place, as from the paper's single start, there is nothing to choose, and none is trained.
    """
    if len(torch.unique(attended.places.scene)) == len(attended.places.scene):
        return attended
    part, gdbns = parts(scenes.new.names, teaches, fewest, settings.seed), []
    both = bool(part.any())
    for number in range(1 + both):
        others = [k for k in teaches if part[k] != number] if both else teaches
        data, inner = scenes.pseudo_labelled(attended.u, others, settings), run.within(f"part-{number + 1}")
        gdbns.append(patch_model(data, inner, settings, progress, models.gdbn, models.device))
    return reselect(models, gdbns, part, scenes.new, attended)


def reselect(
    models: Models, gdbns: Sequence[GaussianDBN], part: Int[Tensor, "n"], gallery: Gallery, attended: Attended
) -> Attended:
    """What was found, with the best gaze of every scene by the sum of the module's docstring.

    `gdbns` are the new patch models of each part, which standardise pixels as that of `models` does. Score and
    probability become those of the place chosen, by the models before; the spread stays that of the first choice.
    """
    scene, gazes, score = attended.places
    evidence = models.trained_evidence
    weighed = score.clone()
    for number, gdbn in enumerate(gdbns):
        mine = torch.nonzero(part[scene] == number)[:, 0]
        seen = glimpses(gallery.pyramids, scene[mine], gazes[mine])
        weighed[mine] += log_ratio(gdbn, 0.0, evidence.background, seen).double() / evidence.temper
    u, scores, probability = attended.u.clone(), attended.score.clone(), attended.probability.clone()
    best = best_places(scene, weighed)
    seen_in, chosen = list(best), list(best.values())
    u[seen_in], scores[seen_in] = gazes[chosen], score[chosen].to(scores.dtype)
    probability[seen_in] = torch.from_numpy(evidence.probability(score[chosen].numpy())).to(probability.dtype)
    return attended._replace(u=u, score=scores, probability=probability)
