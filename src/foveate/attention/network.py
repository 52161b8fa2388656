"""What the networks that look have in common: their weights go to a safetensors file and come back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from foveate.storage.files import checked, load_tensors, save_tensors

Kind = TypeVar("Kind", bound="Network")


class Network(nn.Module):
    """A network with a file."""

    def channels_last(self: Kind) -> Kind:
        """Itself, its kernels laid out as the products of a look want them."""
        return self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stubs lack it

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """The weights by name, each name after `prefix`."""
        named = self.state_dict().items()
        return {prefix + name: value.contiguous() for name, value in named if "num_batches" not in name}

    def save(self, path: str | Path) -> None:
        """Writes the weights as safetensors."""
        save_tensors(path, self.tensors())

    @classmethod
    def load(cls: type[Kind], path: str | Path) -> Kind:
        """Reads weights written by `save`; raises BadInput as `from_tensors`."""
        return cls.from_tensors(load_tensors(path), str(path))

    @classmethod
    def from_tensors(cls: type[Kind], tensors: Mapping[str, Tensor], source: str) -> Kind:
        """A network that is not trained further, from what `tensors` gave; `source` is what an error names.

        Raises:
            BadInput: A tensor is missing, of the wrong shape, or not finite.
        """
        return cls().filled(tensors, source)

    def filled(self: Kind, tensors: Mapping[str, Tensor], source: str, prefix: str = "") -> Kind:
        """Itself with these weights, not to be trained further."""
        for name, own in self.state_dict().items():
            if "num_batches" not in name:
                own.copy_(checked(tensors, prefix + name, own.shape, source))
        return self.requires_grad_(False).channels_last().eval()
