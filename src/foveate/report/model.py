"""What the patch model looks like, and whether it is in good health.

Health: dead units, chains that do not mix, samples that all look alike, overfitting. Each finding has a figure, the
range that is usual, and whether it lies in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.training.settings import STANDARD
from foveate.boltzmann.units import Visible
from foveate.report.charts import number, percent
from foveate.report.pictures import Picture, as_picture, data_uri, wall
from foveate.report.story import PatchStory
from foveate.runtime.random import generator

SATURATED = 0.999
COMPARED = 256  # vectors whose pairwise distances are averaged
CHAINS = 64
FILTERS, FILTER_COLUMNS = 96, 16
TILE_COLUMNS = 8


def examined_model(
    run: Path, patches: PatchStory | None, pictures: bool = True, seed: int = 0
) -> dict[str, Any] | None:
    """What the model section shows, with `pictures` or figures alone; None where RUN has no gdbn.safetensors."""
    path = run / "gdbn.safetensors"
    if not path.is_file():
        return None
    gdbn = GaussianDBN.load(path)
    chains = run_chains(gdbn, seed)
    data = held_out = None
    if patches is not None:
        data, held_out = as_vectors(gdbn, patches.patches), as_vectors(gdbn, patches.validation)
    d, h1 = gdbn.grbm.W.shape
    size, side = f"{d} pixels, {h1} and {gdbn.rbm.W.shape[1]} hidden units", round((d / 3) ** 0.5)
    findings = examine(gdbn, chains, data, held_out)
    section = {"size": size, "findings": findings, "sweeps": 2 * chains[2], "samples": None}
    drawn = pictures and 3 * side * side == d and side >= 4
    return section | (_pictures(gdbn, chains[1], data, side) if drawn else {})


def as_vectors(gdbn: GaussianDBN, pictures: Picture | None) -> Float[Tensor, "n visible"] | None:
    """Patches of a story as the model's v's; None where there are none, or of another size."""
    if pictures is None or not len(pictures) or as_picture(pictures)[0].size != gdbn.grbm.W.shape[0]:
        return None
    return gdbn.standardise(torch.from_numpy(np.moveaxis(as_picture(pictures), -1, 1).astype(np.float32) / 255.0))


def _pictures(gdbn: GaussianDBN, h1: Tensor, data: Tensor | None, side: int) -> dict[str, str | None]:
    def tiles(pixels: Tensor, columns: int = TILE_COLUMNS) -> str:
        return data_uri(wall(pixels.reshape(-1, 3, side, side), columns, scale=2))

    weights, samples = filters(gdbn), gdbn.grbm.visible_mean(h1)
    chosen = distinct(weights)
    strong = weights[:, chosen].T  # grey is zero, each is scaled by its own largest weight
    shown = data[np.linspace(0, len(data) - 1, min(CHAINS, len(data))).astype(int)] if data is not None else None
    return {
        "samples": tiles(gdbn.to_pixels(samples)),
        "data": tiles(gdbn.to_pixels(shown)) if shown is not None else None,
        "reconstructions": tiles(gdbn.to_pixels(gdbn.reconstruct(shown))) if shown is not None else None,
        "filters": tiles(0.5 + 0.5 * strong / strong.abs().amax(dim=1, keepdim=True).clamp_min(1e-12), FILTER_COLUMNS),
        "shown": f"{len(chosen)} of {number(weights.shape[1])}",
        "sigma": tiles(_stretched(gdbn.grbm.visible_deviation())),
        "mean": tiles(gdbn.to_pixels(samples.mean(dim=0, keepdim=True))),
    }


def filters(gdbn: GaussianDBN) -> Float[Tensor, "visible hidden"]:
    """What each unit that moves means adds to that of v on its own."""
    each = torch.eye(gdbn.grbm.n_hidden)[: gdbn.grbm.W.shape[1]]
    return (gdbn.grbm.visible_mean(each) - gdbn.grbm.visible_mean(torch.zeros_like(each[:1]))).T


def distinct(weights: Float[Tensor, "visible hidden"], most: int = FILTERS, alike: float = 0.9) -> list[int]:
    """The strongest columns of W, strongest first, without those that nearly repeat a stronger one.

    Two filters are alike where the cosine between them, whatever its sign, exceeds `alike`.
    """
    norms = weights.norm(dim=0)
    units = (weights / norms.clamp_min(1e-12)).T
    chosen: list[int] = []
    for column in norms.argsort(descending=True, stable=True).tolist():
        if len(chosen) == most or (chosen and norms[column] == 0):
            break
        if not chosen or float((units[chosen] @ units[column]).abs().max()) <= alike:
            chosen.append(column)
    return chosen


def _stretched(values: Float[Tensor, " visible"]) -> Float[Tensor, " visible"]:
    low, high = values.min(), values.max()
    if high - low <= 1e-6 * high:
        return torch.full_like(values, 0.5)  # all alike: grey, as what has no structure is
    return (values - low) / (high - low)


@dataclass
class Finding:
    """One sign of health."""

    name: str  # what was looked at
    text: str  # the figure in words
    good: bool  # whether it is as it should be
    hint: str  # what it means if it isn't


def unit_findings(gdbn: GaussianDBN, v: Visible) -> list[Finding]:
    """Hidden units of both layers that never change over the data."""
    h1 = gdbn.grbm.hidden_mean(v)
    findings = []
    for layer, mean in (("first", h1), ("second", gdbn.rbm.hidden_mean(h1))):
        on = float((mean > SATURATED).all(dim=0).float().mean())
        off = float((mean < 1 - SATURATED).all(dim=0).float().mean())
        at_once = float((mean > 0.5).float().mean())
        text = f"{percent(on, 1)} always on, {percent(off, 1)} always off, {percent(at_once)} on at a time"
        hint = "Units that never change carry no information: data on another scale, or too high a learning rate."
        findings.append(Finding(f"Hidden units of the {layer} layer", text, on <= 0.05 and off <= 0.2, hint))
    return findings


def sigma_finding(gdbn: GaussianDBN) -> Finding:
    """Standard deviations of the visible units: their range, and how many lie at their common floor.

    A start by combs lays out one for all; where none has been learned since, that is no floor.
    """
    name, log_sigma = "Standard deviations of the pixels", gdbn.grbm.visible_deviation().log()
    floor = log_sigma.min()
    at_floor = float((log_sigma < floor + 1e-4).float().mean())
    low, high = float(floor.exp()), float(log_sigma.max().exp())
    if at_floor == 1.0 and float(floor) > STANDARD.first.rule.log_sigma_floor + 0.01:
        return Finding(name, f"{low:.3g} (of standardised pixels), the same for all: as initialised", True, "")
    return Finding(
        name,
        f"{low:.3g} to {high:.3g} (of standardised pixels), {percent(at_floor, 1)} at the lowest value",
        at_floor <= 0.05 or len(log_sigma) < 20,
        "Many pixels are at the lowest standard deviation that is allowed, so the density depends on that limit.",
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

    A chain that mixes forgets: after enough sweeps it differs from its own past as much as from another chain.
    """
    own = float((middle != end).float().mean())
    others = float((middle != end.roll(1, dims=0)).float().mean())
    share = own / others if others > 0 else 0.0
    return Finding(
        "Mixing of the top layer's Gibbs chains",
        f"{sweeps} sweeps change {percent(own, 1)} of the units; two chains differ in {percent(others, 1)}",
        share >= 0.5,
        "Chains that do not mix make samples and log Z depend on where they started.",
    )


def diversity_finding(samples: Visible, data: Float[Tensor, "other visible"]) -> Finding:
    """Mean pairwise distance of samples against that of the data."""
    of_samples, of_data = (float(torch.pdist(some[:COMPARED].double()).mean()) for some in (samples, data))
    ratio = of_samples / max(of_data, 1e-12)
    return Finding(
        "Diversity of the samples",
        f"mean distance between two samples is {ratio:.2f} of that between two real patches",
        0.5 <= ratio <= 1.5,
        "Far below 1: the samples all look alike. Far above 1: they are noise.",
    )


def overfitting_finding(gdbn: GaussianDBN, training: Visible, held_out: Float[Tensor, "other visible"]) -> Finding:
    """Free energy of patches held out against that of training patches, in standard deviations of the latter."""
    seen, unseen = gdbn.grbm.free_energy(training), gdbn.grbm.free_energy(held_out)
    gap = float(unseen.mean() - seen.mean())
    size = gap / max(float(seen.std()), 1e-12)
    return Finding(
        "Free energy of held-out patches",
        f"{gap:+.0f} nats against training patches ({size:+.2f} of their standard deviation)",
        abs(size) <= 1.0,
        "Far above: the model has overfitted its training patches.",
    )


def examine(
    gdbn: GaussianDBN,
    chains: tuple[Tensor, Tensor, int],
    patches: Visible | None = None,
    held_out: Float[Tensor, "other visible"] | None = None,
) -> list[Finding]:
    """All that can be said with the chains of `run_chains`, and v's that the model was trained on and others."""
    findings = [sigma_finding(gdbn), chain_finding(*chains)]
    if patches is not None:
        findings = unit_findings(gdbn, patches) + findings
        if len(patches) > 1:
            findings.append(diversity_finding(gdbn.grbm.visible_mean(chains[1]), patches))
            if held_out is not None:
                findings.append(overfitting_finding(gdbn, patches, held_out))
    return findings
