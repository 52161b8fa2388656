"""A device that is not the CPU, on machines that have none: what would not run on a GPU does not run here.

A tensor of this device holds one of the CPU, in which everything is computed, so that results can be compared. It tells
that it is elsewhere, has no `numpy()`, and refuses, as CUDA does, to be combined with tensors that are not there too
(numbers are taken everywhere; indices may lie on the CPU). Torch's device "meta" lends its name: nothing else uses it.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, no_type_check

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ELSEWHERE = torch.device("meta")
MOVES = ("_to_copy", "copy_")  # what may combine tensors of two devices


class _Tensor(torch.Tensor):
    """A tensor elsewhere; `inner` holds its numbers."""

    @staticmethod
    @no_type_check
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=ELSEWHERE,
        )  # fmt: skip

    @no_type_check
    def __init__(self, inner):
        self.inner = inner

    @no_type_check
    def __repr__(self):
        return f"elsewhere {self.inner!r}"

    @no_type_check
    def tolist(self):
        return self.inner.tolist()

    @classmethod
    @no_type_check
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sends there what is asked to be made there."""

    @no_type_check
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """The device, for as long as it is there; in the calling thread alone."""
    future, before = torch.__future__, torch.__future__.get_overwrite_module_params_on_conversion()
    future.set_overwrite_module_params_on_conversion(True)  # a converted weight is a new one: `inner` goes along
    try:
        with _Mode(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*to a meta parameter")  # which torch takes it for
            yield ELSEWHERE
    finally:
        future.set_overwrite_module_params_on_conversion(before)


@contextmanager
def capturing() -> Iterator[None]:
    """Within, as while CUDA captures a graph, no value may be looked at and nothing copied from or to the device."""
    _capture.append(True)
    try:
        yield
    finally:
        _capture.pop()


_capture: list[bool] = []


@no_type_check
def _run(operation, args, kwargs):
    tensors: list[torch.Tensor] = []
    _each(lambda x: tensors.append(x), (args, kwargs))
    there = [x for x in tensors if isinstance(x, _Tensor)]
    here = [x for x in tensors if not isinstance(x, _Tensor) and x.ndim]
    name = operation.overloadpacket.__name__
    indexed = name.startswith(("index", "_index")) and isinstance(args[0], _Tensor)
    if there and here and name not in MOVES and not indexed:
        raise RuntimeError(f"{operation}: expected all tensors to be on the same device")
    to = kwargs.get("device")
    across = len({isinstance(x, _Tensor) for x in tensors} | ({torch.device(to) == ELSEWHERE} if to else set())) > 1
    if _capture and ((name == "_local_scalar_dense" and there) or (name in MOVES and across)):
        raise RuntimeError(f"{operation}: not permitted while a graph is captured")
    result_there = bool(there) if name != "copy_" else isinstance(args[0], _Tensor)
    if to is not None:
        result_there = torch.device(to) == ELSEWHERE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner_args, inner_kwargs = _each(lambda x: x.inner if isinstance(x, _Tensor) else x, (args, kwargs))
    found = operation(*inner_args, **inner_kwargs)
    if not result_there:
        return found
    known: dict[int, Any] = {id(x.inner): x for x in there}  # what changes a tensor in place gives that very one back

    with torch.inference_mode(False):
        return _each(lambda x: known[id(x)] if id(x) in known else _Tensor(x), found)


@no_type_check
def _each(function, value):
    """`value` with every tensor in it replaced; torch's own `tree_map` takes longer than the operation."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, (tuple, list)):
        return type(value)([_each(function, x) for x in value])
    if isinstance(value, dict):
        return {name: _each(function, x) for name, x in value.items()}
    return value
