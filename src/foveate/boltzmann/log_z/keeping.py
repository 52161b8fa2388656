"""States of long runs, kept every few seconds and whenever a run ends early."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from foveate.storage.checkpoints import Checkpoints, NoCheckpoints

KEEP_EVERY = 10.0
"""Seconds between two writings of a state."""

StateT = TypeVar("StateT", bound=tuple)


@contextmanager
def kept(
    checkpoints: Checkpoints | NoCheckpoints, name: str, kind: Callable[..., StateT]
) -> Iterator[tuple[StateT | None, Callable[[StateT], None]]]:
    """The state that an earlier run left under `name`, if any, and a function to keep newer ones.

    The newest state is written every KEEP_EVERY seconds, and when the block is left by an exception.

    Args:
        checkpoints: Where states lie.
        name: Of this run.
        kind: The NamedTuple that the states are, of tensors and numbers.
    """
    latest: Any = None
    written = time.monotonic()

    def write() -> None:
        checkpoints.save(name, dict(zip(latest._fields, map(torch.as_tensor, latest), strict=True)))

    def keep(state: StateT) -> None:
        nonlocal latest, written
        latest = state
        if time.monotonic() - written >= KEEP_EVERY:
            write()
            written = time.monotonic()

    found, fields = checkpoints.load(name), getattr(kind, "_fields", ())
    try:
        yield (kind(*(found[0][field] for field in fields)) if found else None), keep
    except BaseException:
        if latest is not None:
            write()
        raise
