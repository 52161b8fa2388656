"""What a run keeps for its page, one safetensors file a part in RUN/story/. Nothing of a file is ever executed.

The tree of a dataclass becomes strict JSON (its order kept) in the file's metadata; arrays and bytes become tensors
that the tree refers to. A file is replaced at once: a reader sees the old one or the new one, never a mixture.
"""

import dataclasses
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from foveate.errors import BadInput, one_line
from foveate.storage.files import load_metadata, load_tensors, save_tensors, strict

Kind = TypeVar("Kind", bound="StoryFile")


class StoryFile:
    """A dataclass that is saved into a file of its own in the story's folder."""

    file: ClassVar[str]  # how the names of its files begin
    name: str  # what it is about; each name has its own file
    order: int = 0  # where it stands among its like; those of one number stand in the order of their names

    def save(self, folder: Path | str) -> Path:
        """Writes FOLDER/<file>.safetensors, or FOLDER/<file>-<name>.safetensors where it has a name.

        Of the name what a file's name can hold is left; where that is the file of another name, a hash is appended.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:60]
        path = Path(folder) / f"{self.file}{'-' + slug if slug else ''}.safetensors"
        if path.exists() and self._name_in(path) not in (self.name, None):
            path = path.with_stem(f"{path.stem}-{hashlib.blake2b(self.name.encode(), digest_size=4).hexdigest()}")
        tensors: dict[str, torch.Tensor] = {}
        tree = _pack(self, tensors, type(self).__name__)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(path, tensors, {"story": json.dumps(tree, ensure_ascii=True, allow_nan=False)})
        return path

    @classmethod
    def load_all(cls: type[Kind], folder: Path | str) -> list[Kind]:
        """All that are saved in a folder, by `order`, then by the names of their files."""
        pattern = re.compile(re.escape(cls.file) + r"(-[a-z0-9-]+)?\.safetensors")
        paths = (path for path in sorted(Path(folder).glob(f"{cls.file}*")) if pattern.fullmatch(path.name))
        return sorted(map(cls._load, paths), key=lambda story: story.order)

    @classmethod
    def _load(cls: type[Kind], path: Path) -> Kind:
        """Unknown fields of a later version are left out."""
        tensors = load_tensors(path)
        try:
            tree = json.loads(load_metadata(path)["story"])
            return _unpack(cls, tree, lambda name: tensors[name].numpy())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadInput(f"{path}: not a {cls.__name__} ({type(error).__name__}: {one_line(error)})") from error

    @classmethod
    def _name_in(cls, path: Path) -> str | None:
        try:
            return cls._load(path).name
        except BadInput:
            return None


def _pack(value: Any, tensors: dict[str, torch.Tensor], name: str) -> Any:
    if dataclasses.is_dataclass(value):
        fields = (field.name for field in dataclasses.fields(value))
        return {field: _pack(getattr(value, field), tensors, f"{name}.{field}") for field in fields}
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
        return math.nan if kind == float | int else None  # strict JSON has no NaN
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
