"""Lower bounds on a Gaussian deep belief network's log density, patch by patch.

With q(h1 | v) the first layer's factorial posterior (Tang, Srivastava, Salakhutdinov 2014, supplement):

    log p(v) >= E_q[ log p(v | h1) + log p*(h1) ] + H(q) - log Z                                 (variational)
    log p(v) >= E[ log 1/K sum_k p(v | h1_k) p*(h1_k) / q(h1_k | v) ] - log Z,    h1_k ~ q         (K samples)

The second is the importance-weighted bound of Burda, Grosse, Salakhutdinov (2016): the first one at K = 1, rising with
K to log p(v). Here both come without log Z, which `bracket.py` has.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.log_z.weights import log_mean_exp
from foveate.boltzmann.units import BINARY
from foveate.errors import BadInput
from foveate.runtime.precision import full_precision
from foveate.runtime.random import generator
from foveate.runtime.workers import map_images

_ROWS = 1000  # Draws of h1 that are worked on at once


class BoundTerms(NamedTuple):
    """What each patch adds to the bounds, before log Z, in nats."""

    variational: Float[Tensor, " n"]  # E_q[log p(v | h1) + log p*(h1)] + H(q)
    sampling_variance: Float[Tensor, " n"]  # of that average, from the spread of its samples; NaN for a single one
    weighted: Float[Tensor, " n"]  # the importance-weighted bound


def bound_terms(
    gdbn: GaussianDBN,
    patches: Float[Tensor, "n visible"],
    ids: Sequence[int],
    samples: int = 100,
    importance_samples: int = 1000,
    seed: int = 0,
    tick: Callable[[int], None] = lambda done: None,
) -> BoundTerms:
    """Both bounds of some patches, without log Z.

    Each patch has random numbers of its own, drawn on the CPU whatever the device, and products of its own, so that its
    figures are the same in any selection.

    Args:
        gdbn: The model.
        patches: [N, D] standardised.
        ids: Which of them; their places in `patches`, on which the random numbers are keyed, and on `seed`.
        samples: M, draws of h1 for the variational bound.
        importance_samples: K, draws for the importance-weighted bound; the two share their draws.
        tick: Called with the number of patches done.

    Raises:
        BadInput: No samples asked for.
    """
    for name, count in (("samples", samples), ("importance_samples", importance_samples)):
        if count < 1:
            raise BadInput(f"{name} = {count}: expected at least 1")
    rows, recognition = [torch.empty((0, 3), dtype=torch.float64)], gdbn.grbm.exactly()

    def of_patch(index: int) -> Tensor:
        # In float64: with small sigma log-odds are sums of large numbers.
        (logits,) = recognition.hidden_natural(patches[index].detach().to("cpu", torch.float64)[None])[0]
        v = patches[index].to(gdbn.grbm.W.device, torch.float32)
        return _patch_terms(gdbn, v, logits.to(v.device), generator(seed, "bound", index), samples, importance_samples)

    with full_precision(), torch.no_grad(), closing(map_images(of_patch, ids)) as found:
        for done, terms in enumerate(found, start=1):
            rows.append(terms)
            tick(done)
    return BoundTerms(*torch.cat(rows).T.contiguous())


def _patch_terms(
    gdbn: GaussianDBN, v: Tensor, logits: Tensor, random: torch.Generator, samples: int, importance_samples: int
) -> Tensor:
    """[1, 3] variational term, its sampling variance, importance-weighted term of one patch, from q's log-odds."""
    draws, log_normaliser = max(samples, importance_samples), BINARY.log_normaliser((logits,))
    joint, log_q = [], []
    for first in range(0, draws, _ROWS):
        uniform = torch.rand((min(_ROWS, draws - first), len(logits)), generator=random, dtype=torch.float64)
        h1 = (uniform.to(logits.device) < torch.sigmoid(logits)).float()
        joint.append(gdbn.log_joint(v[None], h1))
        log_q.append(h1.double() @ logits - log_normaliser)
    log_joint, log_posterior = torch.cat(joint), torch.cat(log_q)
    entropy = log_normaliser - logits @ torch.sigmoid(logits)
    used = log_joint[:samples]
    variance = used.var() / samples if samples > 1 else torch.full_like(entropy, torch.nan)
    weighted = log_mean_exp((log_joint - log_posterior)[:importance_samples])
    return torch.stack([used.mean() + entropy, variance, weighted]).cpu()[None]
