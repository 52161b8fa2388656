"""Work side by side, one thread an item. How many threads anything here uses is decided in this file.

Each item's arithmetic runs on one thread, so results do not depend on how many there are; PyTorch and the compiled
loops let go of the interpreter while they work. A thread that torch has not been told about multiplies on as many as
there are cores: two items side by side would then be four threads on two cores.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import numba
import torch

T = TypeVar("T")
R = TypeVar("R")
_here = threading.local()


@cache
def share_threads() -> None:
    """Has compiled loops share torch's OpenMP runtime: one pool of threads for both, none idle while the other spins.

    Numba starts as many threads as there are cores, and sets the number that torch goes by: it is put back here.
    """
    allowed = torch.get_num_threads()
    numba.config.THREADING_LAYER = "omp"  # pyright: ignore[reportAttributeAccessIssue]  # numba makes it at import
    numba.set_num_threads(min(allowed, numba.get_num_threads()))
    torch.set_num_threads(allowed)


def default_workers() -> int:
    """Threads that work started here may use: one in a worker, else what torch uses (OMP_NUM_THREADS or the cores)."""
    return getattr(_here, "threads", 0) or torch.get_num_threads()


def map_images(function: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Generator[R]:
    """Yields function(item) for every item (images, mostly), in order, a bounded number ahead.

    Items are taken one by one as workers (`default_workers()` threads by default) become free, so that they may be read
    from disk on the way. One worker is the calling thread.
    """
    workers = workers or default_workers()
    with one_thread_each():
        if workers == 1:
            yield from map(function, items)
            return
        pool = ThreadPoolExecutor(workers, initializer=_worker)
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
def one_thread_each() -> Iterator[int]:
    """Arithmetic on one thread within, as before after; gives how many threads `map_images` within may use."""
    before = torch.get_num_threads(), numba.get_num_threads(), getattr(_here, "threads", 0)
    _here.threads = default_workers()
    _one_thread()
    try:
        yield _here.threads
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])
        _here.threads = before[2]


def _worker() -> None:
    _here.threads = 1
    _one_thread()


def _one_thread() -> None:
    torch.set_num_threads(1)
    numba.set_num_threads(1)
