"""Dataclasses of numbers, words and pictures to one safetensors file and back. Nothing of a file is ever executed.

The tree of a dataclass becomes strict JSON (its order kept) in the file's metadata; arrays and bytes become tensors
that the tree refers to. One file, replaced at once: a reader sees the old story or the new one, never a mixture.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from foveate.errors import BadInput
from foveate.storage.files import load_metadata, load_tensors, save_tensors, strict

Packed = TypeVar("Packed")


def save_packed(path: Path, story: Any) -> Path:
    """Writes a dataclass to `path` (made with its folders; replaced at once)."""
    tensors: dict[str, torch.Tensor] = {}
    tree = _pack(story, tensors, type(story).__name__)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(tree, ensure_ascii=True, allow_nan=False)
    save_tensors(path, tensors, {"story": text})
    return path


def load_packed(path: Path, kind: type[Packed]) -> Packed:
    """Reads a dataclass of the given kind. Unknown fields of a later version are left out.

    Raises:
        BadInput: The file isn't one that `save_packed` wrote for this kind.
    """
    tensors = load_tensors(path)
    try:
        tree = json.loads(load_metadata(path)["story"])
        return _unpack(kind, tree, lambda name: tensors[name].numpy())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        cause = " ".join(str(error).split())
        raise BadInput(f"{path}: not a {kind.__name__} ({type(error).__name__}: {cause})") from error


def _pack(value: Any, tensors: dict[str, torch.Tensor], name: str) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _pack(getattr(value, field.name), tensors, f"{name}.{field.name}")
            for field in dataclasses.fields(value)
        }
    if isinstance(value, list | tuple):
        return [_pack(item, tensors, f"{name}.{index}") for index, item in enumerate(value)]
    if isinstance(value, bytes):
        tensors[name] = torch.from_numpy(np.frombuffer(value, dtype=np.uint8).copy())
        return {"$bytes": name}
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(np.ascontiguousarray(value))
        return {"$tensor": name}
    return strict(value)


def _unpack(kind: Any, tree: Any, tensor: Callable[[str], np.ndarray]) -> Any:
    if tree is None:
        return math.nan if kind == float | int else None
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return _unpack(next(part for part in typing.get_args(kind) if part is not type(None)), tree, tensor)
    if typing.get_origin(kind) is not dict and isinstance(tree, dict) and len(tree) == 1:
        if "$tensor" in tree:
            return tensor(tree["$tensor"])
        if "$bytes" in tree:
            return tensor(tree["$bytes"]).tobytes()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
        return kind(**{name: _unpack(known[name], item, tensor) for name, item in tree.items() if name in known})
    if typing.get_origin(kind) in (list, Sequence) and isinstance(tree, list):
        (inner,) = typing.get_args(kind)
        return [_unpack(inner, item, tensor) for item in tree]
    return tree
