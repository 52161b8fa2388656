"""Images worked on side by side: one thread an image, one core a thread.

Each image's arithmetic runs on one thread, so results do not depend on how many there are; PyTorch and the compiled
loops let go of the interpreter while they work.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numba
import torch

T = TypeVar("T")
R = TypeVar("R")


def default_workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_images(function: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Iterator[R]:
    """Yields function(item) for every item, in order, a bounded number ahead.

    Args:
        function: Called in a worker thread.
        items: Taken one by one as workers become free, so that they may be read from disk on the way.
        workers: Threads; as many as there are cores by default. 1 works in the calling thread.
    """
    workers = workers or default_workers()
    with one_thread_each():
        if workers == 1:
            yield from map(function, items)
            return
        pool = ThreadPoolExecutor(workers, initializer=_one_thread)
        waiting: list[Future[R]] = []
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Arithmetic on one thread within, as before after."""
    before = torch.get_num_threads(), numba.get_num_threads()
    _one_thread()
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def _one_thread() -> None:
    torch.set_num_threads(1)
    numba.set_num_threads(1)
