"""What chains of gazes say: the mean, how sure it is, and whether the chains can be believed."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from foveate.attention.found import DISAGREEING, DIVERGING, FEW, NOT_MOVING
from foveate.attention.posterior.diagnostics import bulk_ess, moving, rhat
from foveate.scenes.gaze import angle, angle_difference, from_scale_angle, scale

_DIVERGENT_SHARE, _LARGEST_RHAT, _LEAST_ESS = 0.1, 1.1, 40.0


@dataclass(frozen=True)
class Posterior:
    """Posterior draws of a batch of gazes, and what they come to."""

    draws: Float[Tensor, "gaze chain draw 4"]  # u of every draw, in pixels
    mean: Float[Tensor, "gaze 4"]  # geometric mean scale, circular mean angle, mean centre, as a gaze
    # standard deviations of (a, b, tx, ty) in pixels; nan where a chain does not move, for that is no certainty
    std: Float[Tensor, "gaze 4"]
    spread: Float[Tensor, "gaze 4"]  # those of (log s, angle, tx, ty), circular of the angle in radians; nan likewise
    rhat: Float[Tensor, "gaze 4"]  # R-hat of (log s, angle, tx, ty)
    ess: Float[Tensor, "gaze 4"]  # bulk effective sample sizes of the same
    acceptance: Float[Tensor, "gaze chain"]  # mean acceptance probability of each chain
    divergences: Int64[Tensor, "gaze chain"]  # divergent transitions of each chain
    visible: Float[Tensor, "gaze chain D"]  # v of each chain's last sweep
    hidden: Float[Tensor, "gaze chain H"]  # h1 of each chain's last sweep
    flags: tuple[tuple[str, ...], ...]  # what is wrong with a gaze's chains, in words; empty where nothing is


def mean_gaze(
    draws: Float[Tensor, "*batch draw 4"], weight: Float[Tensor, "*batch draw"] | None = None
) -> Float[Tensor, "*batch 4"]:
    """Geometric mean scale, circular mean angle (of the mean unit vector), mean centre; by weights that sum to 1."""
    turn = angle(draws)
    middle = torch.atan2(_mean(torch.sin(turn), weight), _mean(torch.cos(turn), weight))
    x, y = (_mean(draws[..., k], weight) for k in (2, 3))
    return from_scale_angle(torch.exp(_mean(torch.log(scale(draws)), weight)), middle, x, y)


def circular_std(
    angles: Float[Tensor, "*batch draw"], weight: Float[Tensor, "*batch draw"] | None = None
) -> Float[Tensor, "*batch"]:
    """sqrt(-2 log R) in radians, R the length of the mean unit vector (Mardia & Jupp 2000).

    It equals the standard deviation of the normal density that is wrapped, also near the cut at 180 degrees.
    """
    length = torch.hypot(_mean(torch.sin(angles), weight), _mean(torch.cos(angles), weight))
    return torch.sqrt(-2 * torch.log(length.clamp(max=1)))


def _mean(values: Float[Tensor, "*batch draw"], weight: Float[Tensor, "*batch draw"] | None) -> Float[Tensor, "*batch"]:
    return values.mean(-1) if weight is None else (weight * values).sum(-1)


def coordinates(draws: Float[Tensor, "*batch chain draw 4"]) -> Float[Tensor, "*batch 4 chain draw"]:
    """(log s, angle, tx, ty), the angle taken around the circular mean of all draws: no chain jumps at 180 degrees."""
    turn = angle(draws)
    middle = angle(mean_gaze(draws.flatten(-3, -2)))
    turn = angle_difference(turn, middle[..., None, None])
    return torch.stack((torch.log(scale(draws)), turn, draws[..., 2], draws[..., 3]), dim=-3)


def summarise(
    draws: Float[Tensor, "gaze chain draw 4"],
    acceptance: Float[Tensor, "gaze chain"],
    divergences: Int64[Tensor, "gaze chain"],
    transitions: int,
    visible: Float[Tensor, "gaze chain D"],
    hidden: Float[Tensor, "gaze chain H"],
) -> Posterior:
    """Builds the `Posterior` of draws; `transitions` is how many a chain made, to judge the divergences by."""
    draws = draws.double()
    found = coordinates(draws)
    all_draws, (log_s, turn, *_) = draws.flatten(1, 2), found.flatten(2).unbind(1)
    gone = ~moving(found).all(1)
    std = all_draws.std(1)
    spread = torch.stack((log_s.std(1), circular_std(turn), std[:, 2], std[:, 3]), 1)
    found_rhat, found_ess = rhat(found), bulk_ess(found)
    signs = {
        NOT_MOVING: gone,
        DIVERGING: divergences.double().sum(1) > _DIVERGENT_SHARE * transitions * draws.shape[1],
        DISAGREEING: (found_rhat > _LARGEST_RHAT).any(1),
        FEW: ((found_ess < _LEAST_ESS) | torch.isnan(found_ess)).any(1) & ~gone,
    }
    return Posterior(
        draws=draws,
        mean=mean_gaze(all_draws),
        std=std.masked_fill(gone[:, None], torch.nan),
        spread=spread.masked_fill(gone[:, None], torch.nan),
        rhat=found_rhat,
        ess=found_ess,
        acceptance=acceptance,
        divergences=divergences,
        visible=visible,
        hidden=hidden,
        flags=tuple(tuple(w for w, sign in signs.items() if sign[g]) for g in range(len(draws))),
    )
