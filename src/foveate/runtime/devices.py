"""Where to compute."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from foveate.errors import BadInput

if TYPE_CHECKING:
    import torch


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
