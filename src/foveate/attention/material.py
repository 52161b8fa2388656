"""What a new kind is learned from: scenes in which gazes were inferred, beside annotated ones."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.gallery import Gallery, hold_out, join
from foveate.attention.pairs import Objects
from foveate.attention.presets import TrainSettings
from foveate.attention.training import Split


class Material(NamedTuple):
    """Scenes to learn from.

    Attributes:
        new: Scenes in which nobody has said where the object is.
        old: Annotated ones that teach beside them, if any.
        spread: How far inferred gazes are off: standard deviations of (log s, angle, x / s, y / s).
    """

    new: Gallery
    old: Gallery | None
    spread: Float[Tensor, "4"]

    def pseudo_annotated(
        self, u: Float[Tensor, "n 4"], teaches: Sequence[int], settings: TrainSettings
    ) -> tuple[Gallery, Split, Float[Tensor, "objects 4"]]:
        """The new scenes that teach, the gazes found in them taken for annotations, and the old ones after them.

        Args:
            u: The gaze found in each new scene.
            teaches: The new scenes that teach.
            settings: Say which scenes are held out.

        Returns:
            All scenes; those that train and those held out; how far the gaze of each object that trains may be off
            (`jittered_patches`), nothing where it was annotated.
        """
        chosen = torch.tensor(teaches, dtype=torch.int64)
        gallery, annotated = self.new._replace(objects=Objects(chosen, u[chosen])), []
        if self.old is not None:
            annotated = [len(self.new.names) + k for k in torch.unique(self.old.objects.image).tolist()]
            gallery = join(gallery, self.old)
        images = [*teaches, *annotated]
        fit, held_out = hold_out([gallery.names[k] for k in images], settings.held_out, settings.seed)
        fit, held_out = [images[k] for k in fit], [images[k] for k in held_out]
        split = Split(fit, held_out, gallery.subset(fit), gallery.subset(held_out))
        return gallery, split, self.spread * (split.objects.image < len(self.new.names)).double()[:, None]
