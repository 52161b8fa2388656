"""Is the patch model in good health? Dead units, frozen chains, samples that all look alike, memorised patches.

Each finding has a figure, the range that is usual, and whether it lies in it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.training.settings import STANDARD
from foveate.report.charts import percent
from foveate.runtime.random import generator

SATURATED = 0.999
CHAINS = 64


@dataclass
class Finding:
    """One sign of health.

    Args:
        name: What was looked at.
        text: The figure in words.
        good: Whether it is as it should be; None where there is nothing to compare it with.
        hint: What it means if it isn't.
        value: The figure itself.
    """

    name: str
    text: str
    good: bool | None
    hint: str = ""
    value: float | None = None


def mean_distance(vectors: Float[Tensor, "batch dim"]) -> float:
    """Mean Euclidean distance between two different ones of the vectors (at most 256 of them are compared)."""
    some = vectors[:256].double()
    return float(torch.pdist(some).mean()) if len(some) > 1 else float("nan")


def unit_findings(gdbn: GaussianDBN, v: Float[Tensor, "batch visible"]) -> list[Finding]:
    """Hidden units of both layers that never change over the data v [N, D]."""
    h1 = gdbn.grbm.hidden_mean(v)
    h2 = gdbn.rbm.hidden_mean(h1)
    findings = []
    for layer, mean in (("first", h1), ("second", h2)):
        on = float((mean > SATURATED).all(dim=0).float().mean())
        off = float((mean < 1 - SATURATED).all(dim=0).float().mean())
        at_once = float((mean > 0.5).float().mean())
        findings.append(
            Finding(
                f"Units of the {layer} layer",
                f"{percent(on, 1)} always on, {percent(off, 1)} always off, {percent(at_once)} on at a time",
                on <= 0.05 and off <= 0.2,
                "Units that never change carry nothing: data on another scale, or too high a rate of learning.",
                on + off,
            )
        )
    return findings


def sigma_finding(gdbn: GaussianDBN) -> Finding:
    """Standard deviations of the visible units: their range, and how many lie at their common floor.

    A start by combs lays out one deviation for all; where none has been learned since, that is no floor.
    """
    log_sigma = gdbn.grbm.log_sigma.detach()
    floor = log_sigma.min()
    at_floor = float((log_sigma < floor + 1e-4).float().mean())
    low, high = float(floor.exp()), float(log_sigma.max().exp())
    if at_floor == 1.0 and float(floor) > STANDARD.log_sigma_floor + 0.01:
        told = f"{low:.3g} (of standardised pixels), the same for all: as the model began"
        return Finding("Standard deviations of the pixels", told, True, "", 0.0)
    return Finding(
        "Standard deviations of the pixels",
        f"{low:.3g} to {high:.3g} (of standardised pixels), {percent(at_floor, 1)} at the lowest value",
        at_floor <= 0.05 or len(log_sigma) < 20,
        "Many pixels at the floor: they are predicted as finely as is allowed, so the nats hang on the floor's value.",
        at_floor,
    )


def run_chains(gdbn: GaussianDBN, seed: int, chains: int = CHAINS) -> tuple[Tensor, Tensor, int]:
    """States [chains, H1] of the top layer's Gibbs chains after some sweeps and after as many again, and that number.

    200 sweeps, fewer for big layers, so that a page takes seconds.
    """
    work = 4.0 * chains * gdbn.rbm.W.numel()
    sweeps = int(min(200, max(20, 2e10 / work)))
    rng = generator(seed, "report", "chains")
    middle = gdbn.sample_h1(chains, rng, sweeps)
    return middle, gdbn.sample_h1(chains, rng, sweeps, start=middle), sweeps


def chain_finding(middle: Float[Tensor, "chains hidden"], end: Float[Tensor, "chains hidden"], sweeps: int) -> Finding:
    """Share of the first layer's units that `sweeps` sweeps changed, against the share that differ between two chains.

    A chain that moves forgets: after enough sweeps it differs from its own past as much as from another chain.
    """
    own = float((middle != end).float().mean())
    others = float((middle != end.roll(1, dims=0)).float().mean())
    share = own / others if others > 0 else 0.0
    return Finding(
        "Chains of the top layer",
        f"{sweeps} sweeps change {percent(own, 1)} of the units; two chains differ in {percent(others, 1)}",
        share >= 0.5,
        "Chains that don't move make samples and log Z depend on where they started.",
        share,
    )


def diversity_finding(samples: Float[Tensor, "batch visible"], data: Float[Tensor, "other visible"]) -> Finding:
    """Mean pairwise distance of samples against that of the data."""
    ratio = mean_distance(samples) / max(mean_distance(data), 1e-12)
    return Finding(
        "Variety of the samples",
        f"mean distance between two samples is {ratio:.2f} of that between two real patches",
        0.5 <= ratio <= 1.5,
        "Far below 1: the samples all look alike. Far above 1: they are noise.",
        ratio,
    )


def memory_finding(
    gdbn: GaussianDBN, training: Float[Tensor, "batch visible"], held_out: Float[Tensor, "other visible"]
) -> Finding:
    """Free energy of patches held out against that of training patches, in standard deviations of the latter."""
    seen, unseen = gdbn.grbm.free_energy(training), gdbn.grbm.free_energy(held_out)
    gap = float(unseen.mean() - seen.mean())
    size = gap / max(float(seen.std()), 1e-12)
    return Finding(
        "Held-out patches",
        f"free energy {gap:+.0f} nats against training patches ({size:+.2f} of their standard deviation)",
        abs(size) <= 1.0,
        "Far above: the model has learned its training patches by heart.",
        size,
    )


def examine(
    gdbn: GaussianDBN,
    chains: tuple[Tensor, Tensor, int],
    patches: Tensor | None = None,
    held_out: Tensor | None = None,
) -> list[Finding]:
    """All that can be said with what is at hand.

    Args:
        gdbn: The model.
        chains: From `run_chains`; the samples are the means of their last states.
        patches, held_out: v's that it was trained on, and others, [N, D].
    """
    findings = [sigma_finding(gdbn), chain_finding(*chains)]
    if patches is not None and len(patches):
        findings = unit_findings(gdbn, patches) + findings
        if len(patches) > 1:
            findings.append(diversity_finding(gdbn.grbm.visible_mean(chains[1]), patches))
        if held_out is not None and len(held_out) and len(patches) > 1:
            findings.append(memory_finding(gdbn, patches, held_out))
    return findings
