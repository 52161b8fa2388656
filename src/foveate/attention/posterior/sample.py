"""The posterior of gazes: u moved by Hamiltonian Monte Carlo, alternated with v and h1.

For every gaze several chains start at dispersed places and alternate, with x = x(u) the standardised glimpse,

    v | h1, u, I;    h1 | v    (`conditionals`);    u given the patch, by HMC (`hmc_kernels`),

all chains of all gazes at once. What u's density is:

- "paper": log p(u | v, I) = -1/2 sum_i (x_i(u) - v_i)^2 / sigma_i^2 + log p(u).
- "marginal": v integrated out, x_i | h1 ~ N(mu_i(h1), 2 sigma_i^2). The same posterior of u (u and v are drawn jointly
  given h1), reached sooner, since v no longer holds u in place.
- "collapsed": h1 summed out too, log p(x(u)) = -F(x(u)) of the GRBM, with the pixels taken for v themselves; v and h1
  are drawn from what is seen at the end. Where the patch model has thousands of hidden units, h1 holds u in place as v
  does: chains of the other two are where they began for hundreds of sweeps.

The prior p(u) is the settings'; beside it the caller may say where the network came to rest and how far off it usually
is (`around`): a normal density of (log s, angle, tx / L, ty / L) about the gaze, L its scale, in place of the prior.

`temperature` T divides u's log-likelihood. sigma describes pixels as independent; real misfit is shared by neighbours,
so D pixels are worth fewer than D observations, and the spread of u at T = 1 is too small. T is one number, fitted so
that stated spreads are true on photographs set aside. T = 1 is the model's own posterior; with T > 1 u is drawn from
its tempered conditional while v and h1 keep theirs.

Each chain's scale comes from the Fisher information of its gaze at the start, then from the warm-up's draws; its step
size from dual averaging. Both are fixed after the warm-up. A chain's draws depend on (seed, name, chain) and its image
alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from foveate.attention.posterior import hmc, hmc_kernels
from foveate.attention.posterior.conditionals import Patches
from foveate.attention.posterior.precision_conditionals import PrecisionConditionals
from foveate.attention.posterior.summary import Posterior, summarise
from foveate.attention.posterior.target import GazeTargets, GlimpseDensity, gaze_targets, normal_around, of_glimpses
from foveate.attention.settings import PosteriorSettings
from foveate.errors import BadInput
from foveate.runtime.random import key, normals
from foveate.scenes.gaze import compose, from_chart, from_scale_angle, to_chart
from foveate.scenes.glimpse import glimpses, glimpses_with_jacobian
from foveate.scenes.pyramid import Pyramids

JITTER = 0.3  # random share by which step sizes vary: no trajectory keeps coming back to its start (Neal 2011)
ACCEPTANCE = 0.8  # what step sizes are adapted to (Betancourt, Byrne & Girolami 2014: between 0.6 and 0.9)
_WIDEST = torch.tensor([0.3, 0.3, 0.3, 0.3], dtype=torch.float64)  # of a scale: log s, radians, lengths
_NARROWEST = 1e-5


@dataclass(frozen=True)
class _Chains:
    """All chains of all gazes between two sweeps; gaze g's are rows g * chains to (g + 1) * chains."""

    state: hmc.HMCState
    targets: GazeTargets
    visible: Tensor
    hidden: Tensor
    mu: Tensor  # b + W h1
    step_size: Tensor
    scale: Tensor


def sample(
    pyramids: Pyramids,
    index: Int64[np.ndarray, "gazes"],
    gazes: Float[Tensor, "gazes 4"],
    names: Sequence[str],
    patch: Patches,
    settings: PosteriorSettings | None = None,
    seed: int = 0,
    tick: Callable[[int], None] = lambda done: None,
    around: Float[Tensor, "gazes 4"] | None = None,
) -> Posterior:
    """Draws from the posterior of each gaze.

    Args:
        pyramids: The images.
        index: Which image each gaze looks at.
        gazes: Where the chains start, about; their scales are the lengths of the charts.
        names: A unique name a gaze, which with the seed keys its random numbers: the same name, the same stream.
        patch: The patch model.
        settings: See `PosteriorSettings`.
        seed: Of the random numbers.
        tick: Called with the number of sweeps done; may raise to stop.
        around: Standard deviations of (log s, angle, tx / L, ty / L) of a normal prior about each gaze; needs the
            target "collapsed".
    """
    settings = PosteriorSettings() if settings is None else settings
    if around is not None and settings.target != "collapsed":
        raise BadInput(f"a prior around gazes goes with the target 'collapsed', not with {settings.target!r}")
    sampler = _Sampler(np.repeat(index, settings.chains), names, patch, settings, seed, around)
    chains = sampler.start(pyramids, gazes.double())
    chains = sampler.warm_up(chains, tick)
    draws, acceptance, diverged = [], [], []
    for sweep in range(settings.warm_up, settings.warm_up + settings.draws):
        chains, info = sampler.sweep(chains, sweep)
        draws.append(sampler.gazes(chains))
        acceptance.append(info.acceptance.mean(0))
        diverged.append(info.diverged.sum(0))
        tick(sweep + 1)
    if settings.target == "collapsed":
        chains = sampler.patch_seen(chains, settings.warm_up + settings.draws)

    def by_gaze(rows: Tensor) -> Tensor:
        return rows.unflatten(0, (len(gazes), settings.chains))

    return summarise(
        by_gaze(torch.stack(draws, 1)),
        acceptance=by_gaze(torch.stack(acceptance).mean(0)),
        divergences=by_gaze(torch.stack(diverged).sum(0)),
        transitions=settings.draws * settings.moves,
        step_size=by_gaze(chains.step_size),
        visible=by_gaze(chains.visible),
        hidden=by_gaze(chains.hidden),
    )


class _Sampler:
    """The steps of `sample`, with what stays the same between them."""

    def __init__(
        self,
        index: np.ndarray,
        names: Sequence[str],
        patch: Patches,
        settings: PosteriorSettings,
        seed: int,
        around: Tensor | None,
    ):
        self.index, self.patch, self.settings = index, patch, settings
        self.around = None if around is None else around.double().repeat_interleave(settings.chains, 0)

        def keys(purpose: str) -> Tensor:
            return torch.tensor([key(seed, purpose, name, k) for name in names for k in range(settings.chains)])

        self.start_keys, self.gaze_keys, self.patch_keys = keys("start"), keys("gaze"), keys("patch")
        self.share = 1.0 if settings.target == "paper" else 0.5
        self.weight = patch.pixel_precision() * self.share / settings.temperature

    def start(self, pyramids: Pyramids, gazes: Tensor) -> _Chains:
        """Dispersed starts; v and h1 drawn from what each sees."""
        n, settings = len(gazes) * self.settings.chains, self.settings
        centre = gazes.repeat_interleave(settings.chains, 0)
        away = normals(self.start_keys, 0, 4) * (settings.dispersion if self.around is None else self.around)
        starts = compose(centre, from_scale_angle(torch.exp(away[:, 0]), away[:, 1], away[:, 2], away[:, 3]))
        blank = torch.zeros(n, 3, self.patch.size, self.patch.size)
        targets = gaze_targets(pyramids, self.index, centre, blank, self.weight, settings.prior, 1.0, settings.pyramid)
        if self.around is not None:
            targets.prior[:, 0] = 0.0  # no flat prior beside the normal one
        length = torch.from_numpy(targets.length)
        self.middle = to_chart(centre, length)
        position = to_chart(starts, length)
        low, high = targets.box
        position = torch.minimum(torch.maximum(position, low), high)
        x = self._see(targets, from_chart(position, length))
        hidden = self.patch.sample_hidden(self.patch_keys, 0, x)
        state = hmc.HMCState(position, torch.zeros(n), torch.zeros(n, 4))
        if self.around is None:
            scale = self._fisher_scale(pyramids, gazes).repeat_interleave(settings.chains, 0)
        else:
            scale = self.around
        mu = self.patch.visible_mean(hidden)
        return _Chains(state, targets, x, hidden, mu, torch.full((n,), 0.5, dtype=torch.float64), scale)

    def warm_up(self, chains: _Chains, tick: Callable[[int], None]) -> _Chains:
        """Adapts step sizes in two halves, the second with scales taken from the draws of the first."""
        settings = self.settings
        half = settings.warm_up // 2
        for first, last in ((0, half), (half, settings.warm_up)):
            averaging, visited = hmc.DualAveraging.begin(chains.step_size), []
            for sweep in range(first, last):
                chains, info = self.sweep(replace(chains, step_size=averaging.step_size), sweep)
                for acceptance in info.acceptance:
                    averaging = averaging.update(acceptance, ACCEPTANCE)
                visited.append(chains.state.position)
                tick(sweep + 1)
            if visited:
                chains = replace(chains, step_size=averaging.final)
            if first == 0 and len(visited) >= 10:
                later = torch.stack(visited[len(visited) // 3 :])
                chains = replace(chains, scale=self._scale_from(later, chains.scale))
        return chains

    def sweep(self, chains: _Chains, sweep: int) -> tuple[_Chains, hmc.HMCInfo]:
        """v given h1 and u, h1 given v, then moves of u. The info's fields are [moves, chains]."""
        settings, patch = self.settings, self.patch
        first = sweep * settings.moves
        if settings.target == "collapsed":
            return self._moves(chains, first, patch.log_density)
        x = self._see(chains.targets, self.gazes(chains))
        # Sweep 0 of the stream made the first h1 (`start`).
        visible = patch.sample_visible(self.patch_keys, sweep + 1, chains.mu, chains.hidden, x)
        hidden = patch.sample_hidden(self.patch_keys, sweep + 1, visible)
        mu = patch.visible_mean(hidden)
        centre = visible if settings.target == "paper" else mu
        chains = replace(chains, visible=visible, hidden=hidden, mu=mu)
        if isinstance(patch, PrecisionConditionals):  # pixels that are not independent have no compiled trajectories
            return self._moves(chains, first, lambda x: patch.log_density_given(x, centre, hidden, self.share))
        targets = chains.targets.with_means(patch.to_pixels(centre))
        state = hmc_kernels.init(chains.state.position, targets)
        state, moves = hmc_kernels.transitions(
            self.gaze_keys, first, settings.moves, state, targets, chains.step_size, chains.scale,
            settings.n_leapfrog, JITTER,
        )  # fmt: skip
        return replace(chains, state=state, targets=targets), moves.info

    def gazes(self, chains: _Chains) -> Tensor:
        """u of every chain."""
        return from_chart(chains.state.position, torch.from_numpy(chains.targets.length))

    def _moves(self, chains: _Chains, first: int, of: GlimpseDensity) -> tuple[_Chains, hmc.HMCInfo]:
        settings = self.settings
        density = of_glimpses(chains.targets, self.patch, of, settings.temperature)
        if self.around is not None:
            density = normal_around(density, self.middle, self.around)
        state, infos = hmc.init(chains.state.position, density), []
        for t in range(first, first + settings.moves):
            state, info = hmc.step(
                hmc.Keyed(self.gaze_keys, t), state, density, chains.step_size, chains.scale, settings.n_leapfrog,
                JITTER, chains.targets.box,
            )  # fmt: skip
            infos.append(info)
        info = hmc.HMCInfo(*(torch.stack(parts) for parts in zip(*infos, strict=True)))
        return replace(chains, state=state), info

    def patch_seen(self, chains: _Chains, sweep: int) -> _Chains:
        """v and h1 from what each chain sees: h1 given v = x, then v given h1 and x."""
        x = self._see(chains.targets, self.gazes(chains))
        hidden = self.patch.sample_hidden(self.patch_keys, sweep + 1, x)
        mu = self.patch.visible_mean(hidden)
        visible = self.patch.sample_visible(self.patch_keys, sweep + 1, mu, hidden, x)
        return replace(chains, visible=visible, hidden=hidden, mu=mu)

    def _see(self, targets: GazeTargets, gazes: Tensor) -> Tensor:
        seen = glimpses(targets.pyramids, self.index, gazes, self.patch.size, 1.0, self.settings.pyramid)
        return self.patch.standardise(seen)

    def _fisher_scale(self, pyramids: Pyramids, gazes: Tensor) -> Tensor:
        """1 / sqrt(information of dx/dq_d): the spread of each coordinate on its own, as the likelihood has it."""
        index = self.index[:: self.settings.chains]
        jacobian = glimpses_with_jacobian(pyramids, index, gazes, self.patch.size, 1.0, self.settings.pyramid)[1]
        by_a, by_b, by_x, by_y = jacobian.double().unbind(1)
        a, b = (part.view(-1, 1, 1, 1) for part in gazes[:, :2].unbind(1))
        length = torch.hypot(a, b)
        in_chart = (a * by_a + b * by_b, a * by_b - b * by_a, length * by_x, length * by_y)
        weight = self.share / self.settings.temperature
        information = weight * torch.stack([self.patch.information(part) for part in in_chart], 1)
        scale = information.clamp(min=1e-12).rsqrt()
        return torch.minimum(scale, _WIDEST).clamp(min=_NARROWEST)

    def _scale_from(self, visited: Tensor, before: Tensor) -> Tensor:
        """Standard deviations within the chains of each gaze, shrunk towards the scale before as in Stan."""
        chains = self.settings.chains
        variance = visited.var(0).unflatten(0, (-1, chains)).mean(1).repeat_interleave(chains, 0)
        n = len(visited) * chains
        scale = torch.sqrt((n * variance + 5 * before.square()) / (n + 5))
        return torch.minimum(scale, _WIDEST).clamp(min=_NARROWEST)
