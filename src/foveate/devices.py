"""Where to compute."""

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

    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: no CUDA device is to be seen here")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
