"""The Gaussian deep belief network: p(v, h1, h2) = p(v | h1) p(h1, h2).

The directed bottom layer p(v | h1) is that of a Gaussian-Bernoulli RBM, or of one with precision units over whitened
pixels, whose h1 holds both kinds of units; the undirected top p(h1, h2) is a Bernoulli RBM (Hinton, Osindero, Teh 2006;
Tang, Srivastava, Salakhutdinov 2014, supplement).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.draws import Generated
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.precision import PrecisionRBM
from foveate.boltzmann.units import Hidden, Mask, Visible
from foveate.errors import BadInput
from foveate.storage.files import load_tensors, save_tensors

_BLOCK = 16  # Hidden units, about, that a move of `inpaint` proposes at once

FirstLayer = GaussianBernoulliRBM | PrecisionRBM

_SHAPES = {
    "grbm.W": ("D", "H1"), "grbm.b": ("D",), "grbm.c": ("H1",), "grbm.log_sigma": ("D",),
    "rbm.W": ("H1", "H2"), "rbm.b": ("H1",), "rbm.c": ("H2",), "patch.mean": (3,), "patch.std": (3,),
}  # fmt: skip

_PRECISION_SHAPES = _SHAPES | {
    "grbm.W": ("D", "M"), "grbm.c": ("M",), "whiten.mean": ("D",), "whiten.W": ("D", "D"),
    "precision.lambda": ("B", "K"), "precision.c": ("B", "K"), "precision.band": ("D",),
}  # fmt: skip
"""With precision units H1 is M mean units and B K others; `precision.band` is each direction's band, -1 for none."""

_INSIDE = {
    "whiten.mean": "grbm.mean", "whiten.W": "grbm.whiten", "precision.lambda": "grbm.precisions",
    "precision.c": "grbm.precision_c", "precision.band": "grbm.band",
}  # fmt: skip


class PatchScale(nn.Module):
    """How pixels in [0, 1] become v: v = (pixel - mean) / std, channel by channel; both [3], of the training pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Float[Tensor, "3"] | None = None, std: Float[Tensor, "3"] | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3) if mean is None else mean.clone())
        self.register_buffer("std", torch.ones(3) if std is None else std.clone())

    @classmethod
    def of(cls, pixels: Float[Tensor, "batch 3 h w"]) -> "PatchScale":
        """That of the patches themselves; flat ones, which have no deviation, buy no infinite likelihood."""
        std, mean = torch.std_mean(pixels, dim=(0, 2, 3))
        return cls(mean, std.clamp(min=0.02))

    def standardise(self, pixels: Float[Tensor, "batch *shape"]) -> Visible:
        """Pixels in [0, 1], [N, 3, h, w] or flattened channel first, to v [N, D], where the scale is."""
        flat = pixels.to(self.mean.device).flatten(1)
        planes = flat.unflatten(1, (3, flat.shape[1] // 3))  # a size that is told: there may be no patch at all
        return ((planes - self.mean[:, None]) / self.std[:, None]).flatten(1)

    def to_pixels(self, v: Visible) -> Visible:
        """v [N, D] back to flattened pixels; not clipped to [0, 1]."""
        planes = v.unflatten(1, (3, -1))
        return (planes * self.std[:, None] + self.mean[:, None]).flatten(1)


class GaussianDBN(nn.Module):
    """Two RBMs joined into one generative model of patches, flattened channel first.

    Attributes:
        grbm: The first layer; p(v | h1) and the recognition q(h1 | v) = grbm.hidden_mean are its.
        rbm: The second layer, whose visible units are h1; p(h1, h2) is its.
        patch: `PatchScale`.
    """

    grbm: FirstLayer

    def __init__(self, n_visible: int, n_hidden1: int, n_hidden2: int):
        super().__init__()
        self.grbm = GaussianBernoulliRBM(n_visible, n_hidden1)
        self.rbm = BernoulliRBM(n_hidden1, n_hidden2)
        self.patch = PatchScale()

    @classmethod
    def of(cls, grbm: FirstLayer, rbm: BernoulliRBM, patch: PatchScale | None = None) -> "GaussianDBN":
        """One made of these layers.

        Raises:
            BadInput: The second layer hasn't a visible unit for each hidden unit of the first.
        """
        if grbm.n_hidden != rbm.n_visible:
            raise BadInput(f"{grbm.n_hidden} hidden units below {rbm.n_visible} visible ones: expected as many")
        made = cls(1, 1, 1)
        made.grbm, made.rbm, made.patch = grbm, rbm, patch or PatchScale()
        return made

    def standardise(self, pixels: Float[Tensor, "batch *shape"]) -> Visible:
        """`PatchScale.standardise`: pixels in [0, 1] to v on the model's device."""
        return self.patch.standardise(pixels)

    def to_pixels(self, v: Visible) -> Visible:
        """`PatchScale.to_pixels`: v back to pixels."""
        return self.patch.to_pixels(v)

    def reconstruct(self, v: Visible) -> Visible:
        """One mean-field pass up and down the first layer: mu(h1) at h1 = E[h1 | v]."""
        return self.grbm.visible_mean(self.grbm.hidden_mean(v))

    def log_joint(self, v: Float[Tensor, "#batch visible"], h1: Hidden) -> Float64[Tensor, " batch"]:
        """log p(v | h1) + log p*(h1): log p(v, h1) up to the top RBM's log Z; products in float32, sums in float64."""
        return self.grbm.log_prob_given_hidden(v, h1) + self.rbm.log_mass(h1)

    def sample_h1(
        self, n: int, generator: torch.Generator, gibbs_steps: int = 1000, start: Tensor | None = None
    ) -> Float[Tensor, "n hidden1"]:
        """Block Gibbs in the top RBM: n chains of so many sweeps from h1 = `start` [n, H1], or from fair coins."""
        h1 = start
        if h1 is None:
            coins = torch.rand((n, self.rbm.n_visible), generator=generator, device=generator.device)
            h1 = (coins < 0.5).to(self.rbm.W)
        for _ in range(gibbs_steps):
            h1 = self.rbm.sample_visible(self.rbm.sample_hidden(h1, generator), generator)
        return h1

    def sample(
        self, n: int, generator: torch.Generator, gibbs_steps: int = 1000, start: Tensor | None = None,
        noise: bool = False,
    ) -> Float[Tensor, "n visible"]:  # fmt: skip
        """Ancestral samples: Gibbs in the top RBM (`sample_h1`), then one pass down to v.

        v is drawn from N(mu(h1), sigma^2) with `noise`, else it is mu(h1), as samples are usually shown.
        """
        h1 = self.sample_h1(n, generator, gibbs_steps, start)
        return self.grbm.sample_visible(h1, generator) if noise else self.grbm.visible_mean(h1)

    def inpaint(self, v: Visible, mask: Mask, generator: torch.Generator | None = None, sweeps: int = 100) -> Visible:
        """`Machine.inpaint` under the whole network.

        p(h1 | v) is p(h1 | v) of the first layer times exp(F(h1)) p*(h1), F the first layer's free energy of h1 and p*
        the top's mass: blocks of some units are proposed by the first layer and accepted by the ratio of the latter
        (Metropolis, Hastings 1970). Masked units are drawn given h1 and the others.
        """
        random, first, parts = Generated(generator), self.grbm, -(-self.grbm.n_hidden // _BLOCK)
        filled = first.begin_masked(v, mask)
        h1 = first.draw_hidden(filled, random)
        for _ in range(sweeps):
            proposal, part = first.draw_hidden(filled, random), (random.uniform(h1[:1]) * parts).long()
            for one in range(parts):
                moved = torch.where(part == one, proposal, h1)
                before, after = (first.free_energy_hidden(h) + self.rbm.log_mass(h) for h in (h1, moved))
                h1 = torch.where((random.uniform(after).log() < after - before)[:, None], moved, h1)
            filled = first.draw_masked(h1, v, mask, random)
        return filled

    def save(self, path: str | Path) -> None:
        """Write the nine tensors, and those of precision units, as float32 safetensors, atomically."""
        outside = {inside: name for name, inside in _INSIDE.items()}
        tensors = {outside.get(n, n): value.to("cpu", torch.float32) for n, value in self.state_dict().items()}
        save_tensors(Path(path), tensors, {"format": "foveate.gdbn"})

    @classmethod
    def load(cls, path: str | Path) -> "GaussianDBN":
        """Read what `save` wrote (or anyone else, with those names); all sizes come from the shapes.

        Raises:
            BadInput: A tensor is missing, has a wrong shape or type, is not finite, or patch.std is not positive.
        """
        tensors = load_tensors(Path(path))
        shapes = _PRECISION_SHAPES if any(name in tensors for name in _INSIDE) else _SHAPES
        sizes = _check_tensors(tensors, path, shapes)
        held = {_INSIDE.get(name, name): tensors[name].to(torch.float32) for name in shapes}
        first = {n.removeprefix("grbm."): value for n, value in held.items() if n.startswith("grbm.")}
        grbm, rbm = first_layer_of(first), BernoulliRBM(sizes["H1"], sizes["H2"])
        if grbm.n_hidden != rbm.n_visible:
            found = list(rbm.W.shape)
            raise BadInput(f"{path}: rbm.W has shape {found}, but the first layer has {grbm.n_hidden} hidden units")
        model = cls.of(grbm, rbm)
        model.load_state_dict(held)
        return model


def first_layer_of(tensors: Mapping[str, Tensor]) -> FirstLayer:
    """The first layer whose state these are."""
    visible, means = tensors["W"].shape
    if "precisions" not in tensors:
        machine: FirstLayer = GaussianBernoulliRBM(visible, means)
    else:
        machine = PrecisionRBM(visible, means, tensors["band"].long(), *tensors["precisions"].shape)
    machine.load_state_dict(dict(tensors))
    return machine


def _check_tensors(tensors: dict[str, Tensor], path: str | Path, shapes: Mapping[str, tuple]) -> dict[str, int]:
    """The sizes D, H1, H2 of a stored model, once every tensor has been found whole."""
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in tensors:
            raise BadInput(f"{path}: no tensor {name} (a GDBN has {', '.join(shapes)})")
        value = tensors[name]
        if not value.is_floating_point():
            raise BadInput(f"{path}: {name} is {value.dtype}, expected float32")
        if value.ndim != len(shape) or 0 in value.shape:
            raise BadInput(f"{path}: {name} has shape {list(value.shape)}, expected [{', '.join(map(str, shape))}]")
        for size, label in zip(value.shape, shape, strict=True):
            expected = label if isinstance(label, int) else sizes.setdefault(label, size)
            if size != expected:
                raise BadInput(f"{path}: {name} has shape {list(value.shape)}, but {label} is {expected} elsewhere")
        if not torch.isfinite(value).all():
            raise BadInput(f"{path}: {name} has values that are not finite")
    if "precision.band" in shapes:
        band, bands = tensors["precision.band"], sizes["B"]
        if not ((band >= -1) & (band < bands) & (band == band.round())).all():
            raise BadInput(f"{path}: precision.band has other values than -1 to {bands - 1}")
        if (tensors["precision.lambda"] < 0).any():
            raise BadInput(f"{path}: precision.lambda has values below 0")
    if not (tensors["patch.std"] > 0).all():
        raise BadInput(f"{path}: patch.std = {tensors['patch.std'].tolist()}, expected positive numbers")
    return sizes
