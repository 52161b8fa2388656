"""Whether a round of learning stays: what it did to the density of patches that trained nothing.

With w_i and w'_i the importance-weighted bounds (Burda, Grosse, Salakhutdinov 2016) of the models before and after on
patch i of n attended in held-out scenes, the round is undone if

    mean_i (w_i - w'_i) > tolerance + 2 sd_i (w_i - w'_i) / sqrt(n).

The difference is taken patch by patch, since both models see the same patches; few patches say little, and undo a
round by a large fall only. What isn't finite is undone.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.models import Models
from foveate.boltzmann.log_z.bound import bound_terms
from foveate.boltzmann.log_z.bracket import forward_log_z
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.patches import aligned_patches

ANNEALING = 3000  # temperatures
CHAINS = 50
DRAWS = 100  # of h1 a patch, for the importance weights
MARGIN = 2.0  # standard errors


def check(
    before: Models, after: Models, gallery: Gallery, held_out: Objects, tolerance: float, seed: int
) -> tuple[float, float, str]:
    """Bounds of the models before and after, nats a standardised patch, on aligned patches of the objects that a round
    inferred in held-out scenes; and why the round is undone, if the bound fell by more than `tolerance`."""
    first, second = (bounds(models, gallery, held_out, seed) for models in (before, after))
    return float(first.mean()), float(second.mean()), verdict(first, second, tolerance)


def verdict(before: Float[Tensor, " n"], after: Float[Tensor, " n"], tolerance: float) -> str:
    """Why a round is undone by the rule of the module's docstring; nothing if it stays."""
    fall = before - after
    error = float(fall.std()) / math.sqrt(len(fall)) if len(fall) > 1 else 0.0
    if bool(torch.isfinite(fall).all()) and float(fall.mean()) <= tolerance + MARGIN * error:
        return ""
    was, now = float(before.mean()), float(after.mean())
    return f"the bound on held-out attended patches fell from {was:.1f} to {now:.1f} nats"


def bounds(models: Models, gallery: Gallery, objects: Objects, seed: int) -> Float[Tensor, " n"]:
    """Importance-weighted bound of the patch model on each aligned patch, good enough to compare two models."""
    gdbn = models.gdbn
    v = gdbn.standardise(aligned_patches(gallery.pyramids, objects))
    weighted = bound_terms(gdbn, v, range(len(v)), 1, DRAWS, seed).weighted
    found = forward_log_z(gdbn.rbm, gdbn.grbm.hidden_mean(v), CHAINS, ANNEALING, seed=seed, stream="held-out patches")
    return weighted - found.log_z
