"""The posterior of gazes: u moved by Hamiltonian Monte Carlo, alternated with v and h1.

For every gaze several chains start at dispersed places and alternate, with x = x(u) the standardised glimpse,

    v | h1, u, I;    h1 | v    (`conditionals`);    u given the patch, by HMC (`hmc`),

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

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from foveate.attention.posterior import hmc
from foveate.attention.posterior.conditionals import PatchConditionals
from foveate.attention.posterior.summary import Posterior, summarise
from foveate.attention.posterior.target import GlimpseDensity, NormalDensity, gaze_targets, normal_around, of_glimpses
from foveate.attention.settings import PosteriorSettings
from foveate.errors import BadInput
from foveate.runtime.random import key, normals
from foveate.scenes.gaze import compose, from_chart, from_scale_angle, to_chart
from foveate.scenes.glimpse import glimpses, glimpses_with_jacobian
from foveate.scenes.pyramid import Pyramids

JITTER = 0.3  # random share by which step sizes vary: no trajectory keeps coming back to its start (Neal 2011)
ACCEPTANCE = 0.8  # what step sizes are adapted to (Betancourt, Byrne & Girolami 2014: between 0.6 and 0.9)
_WIDEST, _NARROWEST = 0.3, 1e-5  # of a scale: log s, radians, lengths


@dataclass(frozen=True)
class _Chains:
    """All chains of all gazes between two sweeps; gaze g's are rows g * chains to (g + 1) * chains."""

    position: Tensor
    visible: Tensor
    hidden: Tensor
    step_size: Tensor
    scale: Tensor


def sample(
    pyramids: Pyramids,
    index: Int64[np.ndarray, "gazes"],
    gazes: Float[Tensor, "gazes 4"],
    names: Sequence[str],
    patch: PatchConditionals,
    settings: PosteriorSettings | None = None,
    seed: int = 0,
    around: Float[Tensor, "gazes 4"] | None = None,
) -> Posterior:
    """Draws from the posterior of each gaze.

    Args:
        index: Which image each gaze looks at.
        gazes: Where the chains start, about; their scales are the lengths of the charts.
        names: A unique name a gaze, which with the seed keys its random numbers: the same name, the same stream.
        around: Standard deviations of (log s, angle, tx / L, ty / L) of a normal prior about each gaze; needs the
            target "collapsed".
    """
    settings = PosteriorSettings() if settings is None else settings
    if around is not None and settings.target != "collapsed":
        raise BadInput(f"a prior around gazes goes with the target 'collapsed', not with {settings.target!r}")
    sampler = _Sampler(pyramids, index, gazes.double(), names, patch, settings, seed, around)
    chains = sampler.warm_up(sampler.start())
    draws, acceptance, diverged = [], [], []
    last = settings.warm_up + settings.draws
    for sweep in range(settings.warm_up, last):
        chains, info = sampler.sweep(chains, sweep)
        draws.append(sampler.gazes(chains))
        acceptance.append(info.acceptance.mean(0))
        diverged.append(info.diverged.sum(0))
    if settings.target == "collapsed":  # v and h1 from what each chain sees
        x = sampler.see(chains)
        hidden = patch.sample_hidden(sampler.patch_keys, last + 1, x)
        chains = replace(chains, visible=patch.sample_visible(sampler.patch_keys, last + 1, hidden, x), hidden=hidden)

    def by_gaze(rows: Tensor) -> Tensor:
        return rows.unflatten(0, (len(gazes), settings.chains))

    return summarise(
        by_gaze(torch.stack(draws, 1)),
        acceptance=by_gaze(torch.stack(acceptance).mean(0)),
        divergences=by_gaze(torch.stack(diverged).sum(0)),
        transitions=settings.draws * settings.moves,
        visible=by_gaze(chains.visible),
        hidden=by_gaze(chains.hidden),
    )


class _Sampler:
    """The steps of `sample`, with what stays the same between them; arguments as there."""

    def __init__(
        self,
        pyramids: Pyramids,
        index: np.ndarray,
        gazes: Tensor,
        names: Sequence[str],
        patch: PatchConditionals,
        settings: PosteriorSettings,
        seed: int,
        around: Tensor | None,
    ):
        self.patch, self.settings, chains = patch, settings, settings.chains

        def keys(purpose: str) -> Tensor:
            return torch.tensor([key(seed, purpose, name, k) for name in names for k in range(chains)])

        self.start_keys, self.gaze_keys, self.patch_keys = keys("start"), keys("gaze"), keys("patch")
        self.centre = gazes.repeat_interleave(chains, 0)
        self.around = None if around is None else around.double().repeat_interleave(chains, 0)
        self.targets = gaze_targets(
            pyramids, np.repeat(index, chains), self.centre, patch.size, settings.prior, settings.pyramid,
            flat=around is None,
        )  # fmt: skip
        self.middle = to_chart(self.centre, self.targets.length)
        self.share = 1.0 if settings.target == "paper" else 0.5  # of 1 / sigma^2 that a pixel of the glimpse counts

    def start(self) -> _Chains:
        """Dispersed starts; v and h1 drawn from what each sees."""
        spread = self.settings.dispersion if self.around is None else self.around
        away = normals(self.start_keys, 0, 4) * spread
        starts = compose(self.centre, from_scale_angle(torch.exp(away[:, 0]), away[:, 1], away[:, 2], away[:, 3]))
        low, high = self.targets.box
        position = torch.minimum(torch.maximum(to_chart(starts, self.targets.length), low), high)
        nothing, step_size = torch.empty(0), torch.full((len(position),), 0.5, dtype=torch.float64)
        scale = self._fisher_scale() if self.around is None else self.around
        chains = _Chains(position, nothing, nothing, step_size, scale)
        x = self.see(chains)
        return replace(chains, visible=x, hidden=self.patch.sample_hidden(self.patch_keys, 0, x))

    def warm_up(self, chains: _Chains) -> _Chains:
        """Adapts step sizes in two halves, the second with scales taken from the draws of the first."""
        settings = self.settings
        half = settings.warm_up // 2
        for first, last in ((0, half), (half, settings.warm_up)):
            averaging, visited = hmc.DualAveraging.begin(chains.step_size), []
            for sweep in range(first, last):
                chains, info = self.sweep(replace(chains, step_size=averaging.log_step.exp()), sweep)
                for acceptance in info.acceptance:
                    averaging = averaging.update(acceptance, ACCEPTANCE)
                visited.append(chains.position)
            if visited:
                chains = replace(chains, step_size=averaging.log_average.exp())
            if first == 0 and len(visited) >= 10:
                later = torch.stack(visited[len(visited) // 3 :])
                chains = replace(chains, scale=self._scale_from(later, chains.scale))
        return chains

    def sweep(self, chains: _Chains, sweep: int) -> tuple[_Chains, hmc.HMCInfo]:
        """v given h1 and u, h1 given v, then moves of u. The info's fields are [moves, chains]."""
        patch, keys = self.patch, self.patch_keys
        if self.settings.target != "collapsed":
            # Sweep 0 of the stream made the first h1 (`start`).
            visible = patch.sample_visible(keys, sweep + 1, chains.hidden, self.see(chains))
            chains = replace(chains, visible=visible, hidden=patch.sample_hidden(keys, sweep + 1, visible))
        settings, first = self.settings, sweep * self.settings.moves
        density = of_glimpses(self.targets, self._density(chains), settings.temperature)
        if self.around is not None:
            density = normal_around(density, self.middle, self.around)
        state, infos = hmc.init(chains.position, density), []
        for t in range(first, first + settings.moves):
            state, info = hmc.step(
                hmc.Keyed(self.gaze_keys, t), state, density, chains.step_size, chains.scale, settings.n_leapfrog,
                JITTER, self.targets.box,
            )  # fmt: skip
            infos.append(info)
        info = hmc.HMCInfo(*(torch.stack(parts) for parts in zip(*infos, strict=True)))
        return replace(chains, position=state.position), info

    def _density(self, chains: _Chains) -> GlimpseDensity:
        """Log density of the glimpse, given v or h1 or neither as the target has it."""
        patch, machine, target = self.patch, self.patch.machine, self.settings.target
        if target == "collapsed":
            return lambda seen: -machine.free_energy(patch.scale.standardise(seen))
        centre = chains.visible if target == "paper" else machine.visible_mean(chains.hidden)
        precision = self.share * patch.precision(chains.hidden)
        if patch.diagonal:
            shape = (3, patch.size, patch.size)
            weight = precision.unflatten(1, shape) / patch.scale.std.view(3, 1, 1).square()
            return NormalDensity(patch.scale.to_pixels(centre).unflatten(1, shape), weight)
        return lambda seen: patch.misfit(patch.scale.standardise(seen), centre, -0.5 * precision)

    def gazes(self, chains: _Chains) -> Tensor:
        """u of every chain."""
        return from_chart(chains.position, self.targets.length)

    def see(self, chains: _Chains) -> Tensor:
        """The standardised glimpse of every chain."""
        pyramids, index = self.targets.pyramids, self.targets.index
        seen = glimpses(pyramids, index, self.gazes(chains), self.patch.size, pyramid=self.settings.pyramid)
        return self.patch.scale.standardise(seen)

    def _fisher_scale(self) -> Tensor:
        """1 / sqrt(information of dx/dq_d): the spread of each coordinate on its own, as the likelihood has it."""
        patch, chains, targets = self.patch, self.settings.chains, self.targets
        gazes, index = self.centre[::chains], targets.index[::chains]
        jacobian = glimpses_with_jacobian(targets.pyramids, index, gazes, patch.size, pyramid=targets.pyramid)[1]
        by_a, by_b, by_x, by_y = jacobian.unbind(1)
        a, b = (part.float().view(-1, 1, 1, 1) for part in gazes[:, :2].unbind(1))
        length = torch.hypot(a, b)
        in_chart = (a * by_a + b * by_b, a * by_b - b * by_a, length * by_x, length * by_y)
        precision = patch.precision(torch.full((1, patch.machine.n_hidden), 0.5))  # of h1 at its half
        nothing = torch.zeros(1, patch.machine.n_visible)
        changes = [(part / patch.scale.std.view(3, 1, 1)).flatten(1) for part in in_chart]
        information = torch.stack([patch.misfit(change, nothing, precision) for change in changes], 1)
        scale = (self.share / self.settings.temperature * information).clamp(min=1e-12).rsqrt()
        return scale.clamp(_NARROWEST, _WIDEST).repeat_interleave(chains, 0)

    def _scale_from(self, visited: Tensor, before: Tensor) -> Tensor:
        """Standard deviations within the chains of each gaze, shrunk towards the scale before as in Stan."""
        chains = self.settings.chains
        variance = visited.var(0).unflatten(0, (-1, chains)).mean(1).repeat_interleave(chains, 0)
        n = len(visited) * chains
        return torch.sqrt((n * variance + 5 * before.square()) / (n + 5)).clamp(_NARROWEST, _WIDEST)
