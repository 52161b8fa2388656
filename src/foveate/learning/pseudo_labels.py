"""What a new kind is learned from: scenes whose inferred gazes are taken for annotations, beside annotated ones."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.training.data import TrainingData
from foveate.training.gallery import Gallery, hold_out, join
from foveate.training.labels import Objects
from foveate.training.settings import TrainSettings

FEWEST = 2
"""New scenes that are held out at least: of one patch nothing could be said of its bound's error."""


class LearningScenes(NamedTuple):
    """Scenes to learn from; all lie in one store."""

    new: Gallery  # scenes in which nobody has said where the object is
    old: Gallery | None  # annotated ones that teach beside them, if any
    spread: Float[Tensor, "4"]  # how far inferred gazes are off: standard deviations of (log s, angle, x / s, y / s)
    period: int = 360  # of the angles of what is inferred; see `Objects`
    old_seed: int = 0  # of the training that the old ones come from: what it held out stays held out

    def pseudo_labelled(self, u: Float[Tensor, "n 4"], teaches: Sequence[int], settings: TrainSettings) -> TrainingData:
        """The new scenes that teach, the gazes found in them taken for annotations, and the old ones after them.

        New and old scenes are held out apart, and as long as enough of them teach, the same in each round: what trained
        a network in one round, or the models that learning began with, calibrates and checks nothing in another.
        """
        chosen = torch.tensor(teaches, dtype=torch.int64)
        periods = torch.full_like(chosen, self.period)
        gallery, images = self.new._replace(objects=Objects(chosen, u[chosen], periods)), list(teaches)
        held_out = self._new_held_out(teaches, settings)
        if self.old is not None:
            count, annotated = len(self.new.names), torch.unique(self.old.objects.image).tolist()
            apart = set(self.old.hold_out(settings.held_out, self.old_seed)[1])
            images += [count + k for k in annotated]
            held_out += [count + k for k in annotated if k in apart]
            gallery = join(gallery, self.old)
        unsure = torch.zeros(len(gallery.names), 4, dtype=torch.float64)
        unsure[: len(self.new.names)] = self.spread
        return TrainingData(gallery, sorted(set(images) - set(held_out)), held_out, unsure)

    def _new_held_out(self, teaches: Sequence[int], settings: TrainSettings) -> list[int]:
        """Those of the new scenes held out that teach; FEWEST by the same hash where they are fewer, half at most."""
        groups = self.new.held_together()
        apart = set(hold_out(groups, settings.held_out, settings.seed)[1])
        count = min(max(len(apart & set(teaches)), FEWEST), len(teaches) // 2)
        _, first = hold_out([groups[k] for k in teaches], count / len(teaches), settings.seed)
        return [teaches[k] for k in first]
