"""Objects found, made by hand."""

from collections.abc import Sequence

import numpy as np
import torch

from foveate.attention.attend import Seen
from foveate.attention.found import Found, Refined


def found(
    u: Sequence[float],
    score: float = 10.0,
    probability: float = 0.9,
    trail: Sequence[Sequence[float]] | None = None,
    posterior: Refined | None = None,
) -> Found:
    """An object whose trail, all of it the network's, is `u` alone where none is given."""
    steps = np.array([u] if trail is None else trail, dtype=np.float64)
    return Found(np.array(u, dtype=np.float64), score, probability, steps, len(steps) - 1, posterior=posterior)


def seen(found: Sequence[Found], others: Sequence[Found] = ()) -> Seen:
    """What attention makes of an image in which it finds these."""
    return Seen(list(found), list(others), torch.zeros(0, 4, dtype=torch.float64), np.zeros(0))


def chains(
    u: Sequence[float],
    spread: Sequence[float] = (0.1, 0.1, 1.0, 1.0),
    std: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    draws: np.ndarray | None = None,
    flags: tuple[str, ...] = (),
    weight: np.ndarray | None = None,
) -> Refined:
    """What chains of that spread say, whose mean is `u`."""
    at = np.array(u, dtype=np.float64)
    draws = at[None, None] if draws is None else draws
    rhat, ess = np.array([1.01, 1.0, 1.0, np.nan]), np.full(4, 90.0)
    widths = (np.array(part, dtype=np.float64) for part in (std, spread))
    return Refined(at, *widths, at[None], draws, rhat, ess, np.full(2, 0.8), flags, weight=weight)
