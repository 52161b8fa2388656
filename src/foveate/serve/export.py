"""The networks of a RUN as ONNX files, for programs without torch; each is compared with torch's before it is kept."""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foveate.attention.models import Models
from foveate.attention.periphery import CONTRAST, GREY, STRIDE
from foveate.attention.shiftnet import ShiftNet, canonical_image, middle
from foveate.errors import extra
from foveate.runtime.precision import float32_looks
from foveate.runtime.random import generator
from foveate.storage.files import write_atomic

CLOSE = 1e-3  # how far ONNX Runtime may be from torch, as a share of the largest output: float32, sums in another order
OPSET = 17


class _Network(nn.Module):
    """What `compute` makes of an input, with the modules that it uses."""

    def __init__(self, compute: Callable[[Tensor], Any], *parts: nn.Module):
        super().__init__()
        self.compute, self.parts = compute, nn.ModuleList(parts)

    def forward(self, given: Tensor) -> Any:
        return self.compute(given)


def networks(models: Models) -> dict[str, tuple[nn.Module, Tensor, list[str]]]:
    """By name: the network, an input to try it with, and the names of its outputs.

    A step of a network that moves gazes is canonical image and change of the gaze in one; the periphery takes pixels
    from 0 to 255; the density of a glimpse is but for log Z (that of the first layer, in nats), beside its canonical
    image.
    """
    rng, gdbn, canonical = generator(0, "onnx"), models.gdbn, canonical_image(models.gdbn)
    context, pixels = torch.rand(5, 3, 72, 72, generator=rng), torch.rand(2, 3, 8 * STRIDE, 6 * STRIDE, generator=rng)

    def step(net: ShiftNet) -> tuple[nn.Module, Tensor, list[str]]:
        return _Network(lambda seen: net(seen, canonical(middle(seen, net.closer))), net), context, ["delta"]

    def density(glimpse: Tensor) -> tuple[Tensor, Tensor]:
        return -gdbn.grbm.free_energy(gdbn.standardise(glimpse)), canonical(glimpse)

    glimpse = context[:, :, 24:48, 24:48].contiguous()
    found = {"shiftnet": step(models.shiftnet)}
    found["density"] = (_Network(density, gdbn), glimpse, ["log_density", "canonical"])
    if models.fine is not None:
        found["fine"] = step(models.fine)
    if (periphery := models.periphery) is not None:
        glance = _Network(lambda given: periphery((given - GREY) / CONTRAST), periphery)
        found["periphery"] = (glance, 255 * pixels, ["cells"])
    return found


def export_onnx(models: Models, folder: str | os.PathLike[str]) -> dict[str, float]:
    """Writes `shiftnet.onnx`, `fine.onnx`, `periphery.onnx` and `density.onnx`, those that the RUN has.

    Inputs are float32 and called `input`; batches, and the periphery's height and width (multiples of 8), may be any.
    shiftnet, fine: contexts [n, 3, 72, 72] in [0, 1] -> change of the gaze (log scale, angle, x / s, y / s). density:
    glimpses [n, 3, 24, 24] in [0, 1]. periphery: pixels [n, 3, h, w] in 0 to 255 -> six numbers per cell.

    Gives the largest difference from torch of each network, as a share of the largest output. Raises ArithmeticError
    where ONNX Runtime computes something else than torch.
    """
    extra("onnx", "ONNX", "onnx")  # torch writes with it
    onnxruntime = extra("onnxruntime", "ONNX", "onnx")
    apart, kept = {}, {}
    with float32_looks():
        for name, (net, tried, outputs) in networks(models).items():
            kept[name] = _written(net, tried, outputs, name == "periphery")
            session = onnxruntime.InferenceSession(kept[name], providers=["CPUExecutionProvider"])
            apart[name] = share = difference(net, session.run, torch.cat((tried, tried.flip(-1))))
            if not share <= CLOSE:
                raise ArithmeticError(f"{name}: ONNX Runtime differs from torch by {share:.1e} of its largest output")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, content in kept.items():
        write_atomic(Path(folder) / f"{name}.onnx", content)
    return apart


def difference(net: nn.Module, run: Callable[[None, Mapping[str, Any]], Any], inputs: Tensor) -> float:
    """The largest difference of outputs, as a share of the largest output; of another batch than was traced."""
    with torch.inference_mode():
        expected = net(inputs)
    expected = [expected] if isinstance(expected, Tensor) else expected
    pairs = zip(expected, run(None, {"input": inputs.numpy()}), strict=True)
    return max(float(np.abs(ours.numpy() - theirs).max() / ours.abs().max().clamp_min(1e-12)) for ours, theirs in pairs)


def _written(net: nn.Module, tried: Tensor, outputs: list[str], any_size: bool) -> bytes:
    sides = {2: "height", 3: "width"} if any_size else {}
    axes = {"input": {0: "n", **sides}, **{name: {0: "n"} for name in outputs}}
    if any_size:
        axes["cells"] |= {2: "rows", 3: "columns"}
    net.eval()  # the exporter leaves a network in the mode that it came in
    with warnings.catch_warnings(), NamedTemporaryFile(suffix=".onnx") as held:
        warnings.simplefilter("ignore")  # of the exporter, on itself
        names = {"input_names": ["input"], "output_names": outputs, "dynamic_axes": axes}
        torch.onnx.export(net, (tried,), held.name, **names, opset_version=OPSET, dynamo=False)
        return Path(held.name).read_bytes()
