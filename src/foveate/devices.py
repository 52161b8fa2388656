"""Where to compute."""

from typing import TYPE_CHECKING

from foveate.errors import BadInput

if TYPE_CHECKING:
    import torch


def of_run(name: str, begun: str | None) -> "torch.device":
    """The device of a training that goes on: the one it was begun on, since another would end with other weights.

    Args:
        name: What `--device` says now; auto is that device.
        begun: What the run's configuration says; None for a new run.

    Raises:
        BadInput: Another one is asked for, or it is no longer there.
    """
    device = resolve(name if begun is None or name != "auto" else begun)
    if begun is not None and device.type != begun:
        raise BadInput(f"--device {name}: the run was begun with device = {begun!r}")
    return device


def resolve(name: str) -> "torch.device":
    """The device that `--device` means: auto is a GPU if there is one that works.

    Raises:
        BadInput: cuda was asked for, and there is none.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: no CUDA device is to be seen here")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
