"""How machines and a Gaussian deep belief network are trained. Imports no torch."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from foveate.storage.config import AtLeast0, AtLeast1, NotNegative, Positive, Share, settings

Method = Literal["cd", "pcd", "fast_pcd"]
BelowOne = Annotated[float, Field(ge=0, lt=1)]


@settings
class Rule:
    """How a step learns.

    Attributes:
        rate: Of W, b and c.
        rate_log_sigma: Of log sigma (Gaussian units only).
        sweeps: Gibbs sweeps of the chains a step: k of CD-k.
        momentum: Share of the last change that is kept.
        weight_decay: Pull of W towards 0, per unit of rate.
        log_sigma_floor: log sigma never falls below it, so that a constant pixel buys no infinite likelihood.
        fast_rate: Rate of the fast weights (`fast_persistent`); 0 makes it `persistent`.
        fast_decay: What is left of the fast weights after a step.
        centre: How fast the offsets of the centred gradient follow the means, a step; 0 is the plain gradient.
        average: What the averaged weights keep of themselves a step; 0 means that they are the last weights.
    """

    rate: NotNegative = 0.01
    rate_log_sigma: NotNegative = 0.0
    sweeps: AtLeast1 = 1
    momentum: BelowOne = 0.0
    weight_decay: NotNegative = 0.0
    log_sigma_floor: float = -5.0
    fast_rate: NotNegative = 0.0
    fast_decay: Share = 19 / 20
    centre: Share = 0.01
    average: BelowOne = 0.999


@settings
class Plan:
    """How long and how a machine learns."""

    rule: Rule  # the step
    method: Method = "cd"
    epochs: AtLeast0 = 20
    batch_size: AtLeast1 = 128
    chains: AtLeast1 = 128  # persistent chains
    warm_up: Share = 0.05  # share of the epochs in which the rates rise linearly
    cool_from: Share = 0.5  # share of the epochs after which the rates fall linearly
    cool_to: Share = 0.02  # what is left of the rates at the end
    persistent_from: Share = 1.0  # share of the epochs after which cd goes on as pcd

    def steps(self, rows: int) -> int:
        """Steps of an epoch over so many rows; a last batch of less than half the size is left out."""
        return max(-(-(rows - self.batch_size // 2) // self.batch_size), 1)

    def method_at(self, epoch: int) -> Method:
        return "pcd" if self.method == "cd" and epoch >= self.persistent_from * self.epochs else self.method

    def rule_at(self, progress: float) -> Rule:
        """The rule when a share `progress` of all steps is done; every rate but the fast weights' follows a curve."""
        factor = min(1.0, (progress + 1e-3) / max(self.warm_up, 1e-3))
        if progress > self.cool_from:
            rest = (1 - progress) / (1 - self.cool_from)
            factor = min(factor, self.cool_to + (1 - self.cool_to) * rest)
        return replace(self.rule, rate=self.rule.rate * factor, rate_log_sigma=self.rule.rate_log_sigma * factor)


@settings
class GDBNSettings:
    """How a GDBN is trained; the defaults are the preset "standard"."""

    n_hidden1: AtLeast1 = 2000  # binary units of the first layer
    n_hidden2: AtLeast1 = 2000  # of the second; a start by combs needs nearly as many as the first has
    start: Literal["combs", "small"] = "combs"  # first layer: "combs" along principal directions, or "small" weights
    start_epochs: AtLeast1 = 16  # epochs' patches that make the start: directions, combs, levels
    log_sigma_floor: float = -4.0  # of the first layer, in units of the data's deviation
    batch_size: AtLeast1 = 128
    chains: AtLeast1 = 128  # persistent chains

    epochs1: AtLeast0 = 0  # of contrastive divergence after the start; a start by combs is better left alone
    rate1: NotNegative = 1e-3  # of W, b and c
    rate_log_sigma: NotNegative = 1e-3
    sweeps1: AtLeast1 = 1  # k of CD-k
    persistent_from1: Share = 1.0  # share of the epochs after which CD goes on as PCD
    momentum1: BelowOne = 0.9
    weight_decay1: NotNegative = 0.0
    average1: BelowOne = 0.99  # what the averaged weights keep, a step

    method2: Method = "fast_pcd"
    epochs2: AtLeast0 = 60
    rate2: Positive = 1e-2
    fast_rate2: NotNegative = 1e-2
    sweeps2: AtLeast1 = 1
    momentum2: BelowOne = 0.0
    weight_decay2: NotNegative = 0.0
    average2: BelowOne = 0.99
    looks2: AtLeast0 = 3  # epochs at which the held-out bound is estimated, beside the start; the best one is kept
    look_temperatures2: AtLeast1 = 500  # of each estimate

    save_every: AtLeast1 = 10  # epochs between checkpoints

    def plan1(self) -> Plan:
        """The first layer's plan."""
        rule = Rule(
            rate=self.rate1, rate_log_sigma=self.rate_log_sigma, sweeps=self.sweeps1, momentum=self.momentum1,
            weight_decay=self.weight_decay1, log_sigma_floor=self.log_sigma_floor, average=self.average1,
        )  # fmt: skip
        return Plan(rule, "cd", self.epochs1, self.batch_size, self.chains, persistent_from=self.persistent_from1)

    def plan2(self) -> Plan:
        """The second layer's plan."""
        rule = Rule(
            rate=self.rate2, sweeps=self.sweeps2, momentum=self.momentum2, weight_decay=self.weight_decay2,
            fast_rate=self.fast_rate2, average=self.average2,
        )  # fmt: skip
        return Plan(rule, self.method2, self.epochs2, self.batch_size, self.chains)


STANDARD = GDBNSettings()
QUICK = GDBNSettings(n_hidden1=500, n_hidden2=500, epochs2=20, start_epochs=4)
