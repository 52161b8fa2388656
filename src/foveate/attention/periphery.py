"""The periphery: one dense network that looks at a whole picture at a glance and says where an object may be.

A small fully convolutional network passes over every level of the picture's pyramid. Its cells lie 8 pixels apart; each
says how likely an object is near, and what its gaze would be, in units of `UNIT` = 12 pixels of the level:

    logit,  (x, y) from the cell's centre,  log(s / UNIT),  (cos, sin) of k times the angle,

where k = 360 degrees / the angle's period: 1 for objects that have an upright of their own, 2 or 4 for those whose
angle is known modulo 180 or 90 degrees only; 0 where it isn't known at all, and the angle then is 0. Neighbouring
places share their computation, as in Sermanet et al. (2014), "OverFeat"; one place says one object, without anchors, as
in Tian et al. (2019), "FCOS".

While it is trained each convolution is followed by batch normalisation (Ioffe & Szegedy 2015) and the middle layers add
what they are given. Looking, both are folded into the convolution itself: with y = g (W x - m) / d + b + x,

    y = (g / d W + 1) x + (b - g m / d).
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from foveate.attention.network import Network
from foveate.errors import BadInput
from foveate.storage.files import checked

STRIDE = 8  # pixels between cells
LEAST, MOST = 8.0, 18.0  # half-sides that a level answers for, pixels: a ratio of more than two between levels
UNIT = 12.0  # half-side of the objects in the middle of what one level answers for, pixels
REACH = 40  # pixels above, below and beside a cell that it depends on
GREY, CONTRAST = 115.0, 64.0  # pixels go in as (pixel - GREY) / CONTRAST, which bfloat16 holds without rounding
OUTPUTS = 6
HARMONICS = {360: 1, 180: 2, 90: 4, 0: 0}
"""k of each period of the angle, degrees; 0 stands for an angle that is not known."""


class Layer(nn.Module):
    """A convolution, batch normalisation, what went in where `skip`, and rectified linear units."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, skip: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.skip = skip

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o y x"]:
        """What the layer makes of planes."""
        y = self.norm(self.conv(x))
        return F.relu(y + x if self.skip else y)

    def folded(self) -> "Folded":
        """The same, once trained, as a plain convolution."""
        norm, weight = self.norm, self.conv.weight
        assert norm.running_mean is not None and norm.running_var is not None  # BatchNorm2d keeps them
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = weight * gain.view(-1, 1, 1, 1)
        if self.skip:
            weight = weight.clone()
            middle, channels = weight.shape[-1] // 2, torch.arange(len(weight))
            weight[channels, channels, middle, middle] += 1
        return Folded(weight, norm.bias - norm.running_mean * gain, self.conv.stride[0])


class Folded(NamedTuple):
    """A convolution to be looked through."""

    weight: Float[Tensor, "o i k k"]
    bias: Float[Tensor, "o"]
    stride: int

    def __call__(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o y x"]:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.weight.shape[-1] // 2)


class Periphery(Network):
    """The network; `forward` gives the outputs of every cell.

    Attributes:
        period: Degrees after which its objects look the same, one of `HARMONICS`.
    """

    def __init__(self, period: int = 360):
        super().__init__()
        if period not in HARMONICS:
            raise BadInput(f"angle_period = {period}: expected one of {', '.join(map(str, HARMONICS))}")
        self.period = period
        self.layers = nn.ModuleList(
            [
                Layer(3, 16, 5, 2), Layer(16, 32, 3, 2), Layer(32, 64, 3, 2),
                *(Layer(64, 64, 3, skip=True) for _ in range(4)),
                Layer(64, 64, 1),
            ]
        )  # fmt: skip
        self.head = nn.Conv2d(64, OUTPUTS, 1)

    @property
    def harmonic(self) -> int:
        """k: the outputs are the cosine and sine of k times the angle."""
        return HARMONICS[self.period]

    def reset(self, generator: torch.Generator) -> None:
        """Draws initial weights (He et al. 2015); objects are thought rare, with a logit of -4."""
        with torch.no_grad():
            for layer in self.layers:
                assert isinstance(layer, Layer)
                weight = layer.conv.weight
                weight.normal_(0, (2.0 / weight[0].numel()) ** 0.5, generator=generator)
            weight, bias = self.head.parameters()
            weight.normal_(0, 0.01, generator=generator)
            bias.zero_()
            bias[0] = -4.0

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 6 y x"]:
        """The outputs of all cells; `x` is (pixel - GREY) / CONTRAST, its sides multiples of 8."""
        for layer in self.layers:
            x = layer(x)
        return self.head(x)

    def folded(self, dtype: torch.dtype) -> "FoldedPeriphery":
        """The network as it looks, multiplying in `dtype`."""
        plain = [layer.folded() for layer in self.layers if isinstance(layer, Layer)]
        weight, bias = self.head.parameters()
        plain.append(Folded(weight, bias, 1))
        return FoldedPeriphery(
            tuple(
                Folded(
                    each.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last),
                    each.bias.detach().to(dtype),
                    each.stride,
                )
                for each in plain
            ),
            self.harmonic,
        )

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """The weights by name, and the angle's period."""
        return super().tensors(prefix) | {f"{prefix}period": torch.tensor(self.period)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], source: str) -> "Periphery":
        """As `Network.from_tensors`."""
        return cls(int(checked(tensors, "period", (), source))).filled(tensors, source)


class FoldedPeriphery(NamedTuple):
    """The network's convolutions, and the harmonic of the angle that it predicts."""

    layers: tuple[Folded, ...]
    harmonic: int

    def __call__(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 6 y x"]:
        for layer in self.layers[:-1]:
            x = F.relu_(layer(x))
        return self.layers[-1](x)


def standard(pixels: Shaped[Tensor, "*shape"], dtype: torch.dtype) -> Float[Tensor, "*shape"]:
    """Pixels of 0 to 255 as the network takes them."""
    return pixels.to(dtype).sub_(GREY).mul_(1 / CONTRAST)
