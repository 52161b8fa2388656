"""ShiftNet: the two-stream network that moves a gaze towards the object.

Tang, Srivastava & Salakhutdinov (2014), supplement, table of layers:

    0  context x          3 @ 72x72
    1  canonical v        3 @ 24x24
    2  convolution of 0   16 @ 66x66   7x7      2352 weights
    3  max-pooling of 2   16 @ 22x22   3x3
    4  convolution of 1   16 @ 22x22   5x5      1200 weights (one pixel of padding)
    5  product of 3, 4    16 @ 22x22
    6  fully connected    1024                  7,929,856 weights
    7  fully connected    4                     4096 weights

Rectified linear units follow layers 2, 4 and 6. ReLU and max-pooling commute, so layer 2 is pooled first: nine times
fewer values to rectify. The four outputs are the change of the gaze in the frame of the gaze itself, delta = (log
scale, angle, x / s, y / s): u* = u o delta, so one network serves every scale and position. Outputs are in units of
`UNIT`, in which the training changes are of order one.

A network may look closer: its context is the window of a gaze of the same place and angle but a share of the size, so
what it sees of the object is as many times finer. The glimpse, from which v comes, is still the gaze's own: the middle
of such a context, averaged down. Two networks of the table make a coarse and a fine stage.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from foveate.attention.network import Network
from foveate.attention.settings import CLOSER
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput
from foveate.runtime.precision import Recast, look_dtype
from foveate.scenes import gaze
from foveate.scenes.glimpse import CONTEXT_SIZE, PATCH_SIZE, contexts
from foveate.scenes.pyramid import Pyramids

# One unit of each output: a change of scale by 1.35, a turn by 17 degrees, a shift by half a half-side.
UNIT = (0.3, 0.3, 0.5, 0.5)
# The longest step that one prediction may take: scale by 4, any turn, a shift within the context.
LONGEST = (1.4, 3.2, 3.0, 3.0)
BATCH = 128  # gazes in one pass: activations stay in tens of megabytes

Canonical = Callable[[Float[Tensor, "n 3 24 24"]], Float[Tensor, "n 3 24 24"]]
"""From what gazes see, in [0, 1], to the canonical images v."""


class ShiftNet(Network):
    """The network of the table; `forward` gives delta in natural units.

    Attributes:
        closer: Size of the gaze whose window is its context, as a share of the gaze itself: 1, or CLOSER.
    """

    def __init__(self, closer: float = 1.0):
        super().__init__()
        if closer not in (1.0, CLOSER):
            raise BadInput(f"closer = {closer}: a network looks from 1.0 or {CLOSER}")
        self.closer = closer
        self.look = nn.Conv2d(3, 16, 7)
        self.expect = nn.Conv2d(3, 16, 5, padding=1)
        self.combine = nn.Linear(16 * 22 * 22, 1024)
        self.shift = nn.Linear(1024, 4)
        self.recast = Recast()
        self.register_buffer("unit", torch.tensor(UNIT), persistent=False)
        self.register_buffer("longest", torch.tensor(LONGEST), persistent=False)

    def reset(self, generator: torch.Generator) -> None:
        """Draws initial weights: He et al. (2015) for the rectified layers, small ones for the last; biases zero.

        The product of two rectified maps has second moment 1/4 of the product of theirs before rectification at He's
        scale; layer 6 makes up for it.
        """
        with torch.no_grad():
            for layer, gain in ((self.look, 2.0), (self.expect, 2.0), (self.combine, 2.0), (self.shift, 0.01)):
                weight, bias = layer.parameters()
                weight.normal_(0, (gain / weight[0].numel()) ** 0.5, generator=generator)
                bias.zero_()

    def features(self, context: Float[Tensor, "n 3 72 72"], v: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n 1024"]:
        """Layer 6, rectified; in float32, whatever it was multiplied in (`precision`).

        Args:
            context: Pixels in any unit: each context is brought to mean 0 and deviation 1 first.
            v: The canonical image in the patch model's standardised units.
        """
        dtype = look_dtype(context.device)
        look, expect, combine = self.look, self.expect, self.combine
        context, v = normalised(context).to(dtype), v.to(dtype)
        seen = F.relu(F.max_pool2d(_convolved(look, context), 3))
        expected = F.relu(_convolved(expect, v, padding=1))
        joined = (seen * expected).flatten(1)
        return F.relu(F.linear(joined, self.recast(combine.weight, dtype), combine.bias.to(dtype))).float()

    def forward(self, context: Float[Tensor, "n 3 72 72"], v: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n 4"]:
        """The predicted change (log scale, angle, x / s, y / s) of each gaze."""
        return self.shift(self.features(context, v)) * self.unit


def _convolved(layer: nn.Conv2d, planes: Float[Tensor, "n i h w"], padding: int = 0) -> Float[Tensor, "n o y x"]:
    """What the layer makes of planes, multiplied in their type."""
    weight, bias = (each.to(planes.dtype) for each in layer.parameters())
    return F.conv2d(planes, weight, bias, padding=padding)


def normalised(context: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Each context at mean 0 and deviation 1 over its pixels and channels: light and contrast do not move a gaze."""
    flat = context.flatten(1)
    # Two sums and a fused pass: torch.std_mean takes ten times as long on a processor, more than the pooling after it.
    mean, square = flat.mean(1), torch.linalg.vector_norm(flat, dim=1).square()
    variance = (square - flat.shape[1] * mean.square()).clamp(min=0) / (flat.shape[1] - 1)
    scale = 1 / (variance.sqrt() + 0.02)
    shift, scale = (-mean * scale).view(-1, 1, 1, 1), scale.view(-1, 1, 1, 1)
    return torch.addcmul(shift, context, scale).contiguous(memory_format=torch.channels_last)


def window(u: Float[Tensor, "n 4"], closer: float) -> Float[Tensor, "n 4"]:
    """The gaze whose window is the context of a network that looks at `u`."""
    return u if closer == 1.0 else torch.cat((u[:, :2] * closer, u[:, 2:]), 1)


def middle(context: Float[Tensor, "n 3 72 72"], closer: float) -> Float[Tensor, "n 3 24 24"]:
    """The glimpse in the middle of a context; closer up it is twice as wide there, and averaged down."""
    if closer == 1.0:
        return context[:, :, 24:48, 24:48]
    return F.avg_pool2d(context[:, :, 12:60, 12:60], 2)


def to_gaze(delta: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """The change (log scale, angle, x, y) as a gaze (a, b, tx, ty), to be composed on the right."""
    return gaze.from_scale_angle(torch.exp(delta[..., 0]), delta[..., 1], delta[..., 2], delta[..., 3])


def change_between(u: Float[Tensor, "*n 4"], target: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """The change delta with target = u o delta, as (log scale, angle, x / s, y / s)."""
    relative = gaze.compose(gaze.invert(u), target)
    return torch.stack(
        (torch.log(gaze.scale(relative)), gaze.angle(relative), relative[..., 2], relative[..., 3]), dim=-1
    )


def move(u: Float[Tensor, "n 4"], delta: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
    """The gaze after a predicted change, which is limited to `LONGEST`."""
    limit = torch.tensor(LONGEST, dtype=torch.float64).to(u)
    return gaze.compose(u, to_gaze(torch.maximum(torch.minimum(delta.to(u.dtype), limit), -limit)))


def canonical_image(gdbn: GaussianDBN) -> Canonical:
    """The v that a network is shown: the mean of what the patch model makes of a glimpse x,

        v = (mu(E[h1 | x]) + x) / 2,   mu(h1) = b + W h1,   E[h1 | x] = sigmoid(c + W^T (x / sigma^2))

    (Tang, Srivastava & Salakhutdinov 2014: v | h1, u, I ~ N((mu(h1) + x) / 2, sigma^2 / 2)). Far from the object mu is
    what the model can make of the clutter; near it, the object itself. Weights are folded once, in the type of a look's
    products. A first layer over whitened pixels does so along the directions that its mean units move.
    """
    grbm = gdbn.grbm
    dtype = look_dtype(grbm.W.device)
    folded = grbm.mean_field()
    if folded is None:
        return lambda glimpse: _between(gdbn, glimpse)
    up, c, down, b = (part.to(dtype).contiguous() for part in folded)

    def canonical(glimpse: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n 3 24 24"]:
        x = gdbn.standardise(glimpse)
        hidden = torch.sigmoid(torch.addmm(c, x.to(dtype), up))
        v = (torch.addmm(b, hidden, down).float() + x) / 2
        return v.view(-1, 3, PATCH_SIZE, PATCH_SIZE)

    return canonical


def _between(gdbn: GaussianDBN, glimpse: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n 3 24 24"]:
    """v half-way between the glimpse and what the first layer makes of it."""
    x = gdbn.standardise(glimpse)
    return ((gdbn.reconstruct(x) + x) / 2).view(-1, 3, PATCH_SIZE, PATCH_SIZE)


class Look(NamedTuple):
    """What a network makes of gazes: the change that it would make, in natural units, and the glimpse in [0, 1]."""

    change: Float[Tensor, "n 4"]
    glimpse: Float[Tensor, "n 3 24 24"]


def look(
    net: ShiftNet, canonical: Canonical, pyramids: Pyramids, index: Int[Tensor, "n"], gazes: Float[Tensor, "n 4"]
) -> Look:
    """One pass of the network over gazes, in batches."""
    parts = [
        _look(net, canonical, pyramids, index[k : k + BATCH], gazes[k : k + BATCH]) for k in range(0, len(gazes), BATCH)
    ]
    if not parts:
        return Look(torch.zeros(0, 4), torch.zeros(0, 3, 24, 24))
    return Look(*(torch.cat(column) for column in zip(*parts, strict=True)))


def follow(
    net: ShiftNet,
    canonical: Canonical,
    pyramids: Pyramids,
    index: Int[Tensor, "n"],
    starts: Float[Tensor, "n 4"],
    steps: int,
) -> Float[Tensor, "gazes n 4"]:
    """Lets gazes take `steps` steps: the starts and where each step led."""
    trail = [starts]
    for _ in range(steps):
        trail.append(move(trail[-1], look(net, canonical, pyramids, index, trail[-1]).change))
    return torch.stack(trail)


def sound(gazes: Float[Tensor, "n 4"], pyramids: Pyramids) -> Bool[Tensor, "n"]:
    """Gazes that are finite, centred within the image and neither tiny nor larger than it."""
    height, width = int(pyramids.height[0, 0]), int(pyramids.width[0, 0])
    s = torch.hypot(gazes[:, 0], gazes[:, 1])
    inside = (gazes[:, 2] >= 0) & (gazes[:, 2] <= width) & (gazes[:, 3] >= 0) & (gazes[:, 3] <= height)
    return torch.isfinite(gazes).all(1) & inside & (s >= 4) & (s <= max(height, width))


@torch.inference_mode()
def _look(
    net: ShiftNet, canonical: Canonical, pyramids: Pyramids, index: Int[Tensor, "n"], gazes: Float[Tensor, "n 4"]
) -> Look:
    context = contexts(pyramids, index, window(gazes, net.closer)).to(net.shift.weight.device)
    glimpse = middle(context, net.closer)
    return Look(net(context, canonical(glimpse)).cpu(), glimpse.contiguous().cpu())


assert CONTEXT_SIZE == 72 and PATCH_SIZE == 24  # the table's input sizes
