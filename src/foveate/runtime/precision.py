"""In which numbers matrices multiply: those of the networks that look in bfloat16 where the hardware is faster at it.

A look is one of many, and the next one starts from where it led: 8 bits of mantissa in its products (sums stay in
float32) displace a gaze by less than a hundredth of the step that it takes. Processors with tile instructions (Intel
AMX) and recent GPUs multiply such numbers several times as fast, AMD's from Zen 4 on, with AVX-512's dot products of
such pairs, about twice as fast. Intel's, which have the same instruction in half as many units, take 1.3 to 1.8 times
as long with it as in float32. Densities, AIS and HMC are never computed so: there the last digits add up, and
`full_precision` gives whole float32, whatever the caller has allowed.

FOVEATE_PRECISION=float32 or bfloat16 in the environment decides otherwise, wherever the program runs.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from foveate.errors import BadInput

VARIABLE = "FOVEATE_PRECISION"
_BACKENDS = (torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul"))  # noqa: B009 its stub lacks it


def look_dtype(device: torch.device) -> torch.dtype:
    """The type of a look's products on `device`; `BadInput` where the environment asks for one that there is not."""
    asked = os.environ.get(VARIABLE, "auto")
    if asked not in ("auto", "float32", "bfloat16"):
        raise BadInput(f"{VARIABLE}={asked}: expected auto, float32 or bfloat16")
    half = asked == "bfloat16" or (asked == "auto" and _fast(device.type))
    return torch.bfloat16 if half else torch.float32


@contextmanager
def float32_looks() -> Iterator[None]:
    """Looks in float32 while it lasts, whatever the hardware is fast at."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "float32"
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        os.environ.update({} if before is None else {VARIABLE: before})


@cache
def _fast(kind: str) -> bool:
    """Whether such a device multiplies bfloat16 faster than float32."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities() if kind == "cpu" else {}
    return bool(has.get("amx_bf16") or (has.get("avx512_bf16") and "AuthenticAMD" in _processor()))


def _processor() -> str:
    """Who made the processor, somewhere in a text."""
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else platform.processor()


class Recast:
    """A tensor in another type, converted again only when it has changed: a layer of 8 million weights takes longer to
    convert than a batch takes to go through it."""

    def __init__(self) -> None:
        self._of: tuple[int, int, torch.dtype] | None = None
        self._value: Tensor | None = None

    def __call__(self, value: Tensor, dtype: torch.dtype) -> Tensor:
        """`value` as `dtype`; differentiable, and then not kept, where gradients are asked for."""
        if value.dtype == dtype or (value.requires_grad and torch.is_grad_enabled()):
            return value.to(dtype)
        of = (value.data_ptr(), value._version, dtype)
        if self._value is None or self._of != of:
            with torch.inference_mode(False), torch.no_grad():
                self._value = value.detach().to(dtype)
            self._of = of
        return self._value


@contextmanager
def full_precision() -> Iterator[None]:
    """Forbid TF32 and bfloat16 products, and autocast, inside; restore the caller's settings after.

    torch has two ways to set this, and reading one after the other was used can raise: the older one writes both, so it
    sets, and what each says is read and restored apart.
    """
    named = [backend.fp32_precision for backend in _BACKENDS]
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:
        older = None  # the caller has used the newer way alone
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        if older is not None:
            torch.set_float32_matmul_precision(older)
        for backend, precision in zip(_BACKENDS, named, strict=True):
            if backend.fp32_precision != precision:
                backend.fp32_precision = precision
