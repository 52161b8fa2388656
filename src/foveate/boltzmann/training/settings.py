"""How machines and a Gaussian deep belief network are trained. Imports no torch."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from foveate.storage.config import AtLeast0, AtLeast1, BelowOne, NotNegative, Share, Unlisted, settings

Method = Literal["cd", "pcd", "fast_pcd"]


@settings
class Rule:
    """How a step learns."""

    rate: NotNegative = 0.01  # of W, b and c
    rate_log_sigma: Annotated[NotNegative, Unlisted] = 0.0  # of log sigma (Gaussian units only)
    sweeps: Annotated[AtLeast1, Unlisted] = 1  # Gibbs sweeps of the chains a step: k of CD-k
    momentum: Annotated[BelowOne, Unlisted] = 0.0  # share of the last change that is kept
    weight_decay: Annotated[NotNegative, Unlisted] = 0.0  # pull of W towards 0, per unit of rate
    log_sigma_floor: Annotated[float, Unlisted] = -5.0  # so that a constant pixel buys no infinite likelihood
    fast_rate: Annotated[NotNegative, Unlisted] = 0.0  # of the fast weights (`fast_persistent`); 0: `persistent`
    fast_decay: Annotated[Share, Unlisted] = 19 / 20  # what is left of the fast weights after a step
    centre: Annotated[Share, Unlisted] = 0.01  # how fast the gradient's offsets follow the means; 0: the plain gradient
    average: Annotated[BelowOne, Unlisted] = 0.999  # what averaged weights keep a step; 0: they are the last weights


@settings
class Plan:
    """How long and how a machine learns."""

    rule: Rule  # the step
    method: Method = "cd"
    epochs: AtLeast0 = 20
    batch_size: Annotated[AtLeast1, Unlisted] = 128
    chains: Annotated[AtLeast1, Unlisted] = 128  # persistent chains
    warm_up: Annotated[Share, Unlisted] = 0.05  # share of the epochs in which the rates rise linearly
    cool_from: Annotated[Share, Unlisted] = 0.5  # share of the epochs after which the rates fall linearly
    cool_to: Annotated[Share, Unlisted] = 0.02  # what is left of the rates at the end

    def steps(self, rows: int) -> int:
        """Steps of an epoch over so many rows; a last batch of less than half the size is left out."""
        return max(-(-(rows - self.batch_size // 2) // self.batch_size), 1)

    def rule_at(self, progress: float) -> Rule:
        """The rule when a share `progress` of all steps is done; every rate but the fast weights' follows a curve."""
        factor = min(1.0, (progress + 1e-3) / max(self.warm_up, 1e-3))
        if progress > self.cool_from:
            rest = (1 - progress) / (1 - self.cool_from)
            factor = min(factor, self.cool_to + (1 - self.cool_to) * rest)
        return replace(self.rule, rate=self.rule.rate * factor, rate_log_sigma=self.rule.rate_log_sigma * factor)


# The first layer's start by combs is better left alone: contrastive divergence lowers its bound, so it has no epochs.
FIRST = Plan(Rule(rate=1e-3, rate_log_sigma=1e-3, momentum=0.9, average=0.99, log_sigma_floor=-4.0), "cd", epochs=0)
SECOND = Plan(Rule(rate=1e-2, fast_rate=1e-2, average=0.99), "fast_pcd", epochs=60)


@settings
class GDBNSettings:
    """How a GDBN is trained; the defaults are the preset "standard"."""

    # First layer: "bands" of whitened pixels with precision units, or, plain, "combs" or "small" weights.
    start: Literal["bands", "combs", "small"] = "bands"
    n_hidden1: AtLeast1 = 500  # binary units of the first layer that move means
    n_hidden2: AtLeast1 = 500  # of the second; a start by combs needs nearly as many as the first has
    bands: Annotated[AtLeast1, Unlisted] = 4  # of whitened directions that share a scale
    gates: Annotated[int, Field(ge=1, le=12), Unlisted] = 7  # precision units of each band
    start_epochs: AtLeast1 = 16  # epochs' patches that make the start: directions, combs, levels
    first: Plan = FIRST
    second: Plan = SECOND
    look_temperatures: AtLeast1 = 500  # of each estimate of the second layer's held-out bound
    save_every: AtLeast1 = 10  # epochs between checkpoints


STANDARD = GDBNSettings()
PLAIN = GDBNSettings("combs", 2000, 2000)
QUICK = GDBNSettings(n_hidden1=200, n_hidden2=200, second=replace(SECOND, epochs=20), start_epochs=4)
