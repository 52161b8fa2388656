"""Products in whole float32, whatever the caller has allowed, and given back as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_BACKENDS = (torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul"))  # noqa: B009 its stub lacks it


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
