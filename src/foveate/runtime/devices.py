"""Where to compute, and how the C library keeps memory that large tensors let go of."""

import ctypes
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from foveate.errors import BadInput

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def resolve(name: str) -> "torch.device":
    """The device that `--device` means: auto is a GPU if there is one that works.

    Raises:
        BadInput: cuda was asked for, and there is none.
    """
    import torch

    if name.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput(f"device {name}: no CUDA device found")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def captured(step: Callable[[], None]) -> "torch.cuda.CUDAGraph":
    """A step that changes tensors of a GPU in place, and copies nothing to or from the host, as a CUDA graph.

    It is taken once before: libraries set themselves up at first calls, which can't be captured.
    """
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph


def keep_large_blocks() -> None:
    """Lets freed blocks of up to 128 MB be used again instead of going back to the system, where the C library can.

    By default glibc maps each block of 32 MB or more anew, and the kernel clears and faults in its pages at every
    use: a sixth of the time of a training step with activations of 36 MB. What is larger, such as a gallery's pixels,
    still goes back to the system.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is not None:
        for which in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(which, ctypes.c_int(1 << 27))
