"""How many threads anything uses: as many as was allowed, whatever is inside what."""

import os
import subprocess
import sys
import threading
import time

import pytest
import torch

from foveate.runtime.workers import default_workers, map_images, one_thread_each


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_worker_s_products_take_one_thread_and_work_within_it_does_not_spread(two_threads):
    def inside(_):
        nested = list(map_images(lambda _: threading.get_ident(), range(3)))
        return default_workers(), torch.get_num_threads(), nested

    for workers, products, nested in map_images(inside, range(6)):
        assert (workers, products) == (1, 1)
        assert set(nested) == {nested[0]}
    assert (default_workers(), torch.get_num_threads()) == (2, 2)


def test_a_single_item_s_own_work_may_spread(two_threads):
    (found,) = map_images(lambda _: (default_workers(), torch.get_num_threads()), range(1), 1)
    assert found == (2, 1)
    with one_thread_each() as threads:
        assert threads == default_workers() == 2 and torch.get_num_threads() == 1


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("2", 2)])
def test_what_the_environment_allows_is_what_is_used(environment, asked, threads):
    program = """
import torch
from foveate.runtime.workers import default_workers
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids
pyramids = Pyramids.from_images([torch.zeros(40, 40, 3).numpy()])
glimpses(pyramids, torch.zeros(5).long(), torch.ones(5, 4).double())
assert torch.get_num_threads() == default_workers()  # a compiled loop's threads are as many
print(default_workers())
"""
    words = [sys.executable, "-c", program]
    allowed = environment | {"OMP_NUM_THREADS": asked, "MKL_NUM_THREADS": asked}
    assert int(subprocess.run(words, env=allowed, capture_output=True, text=True, check=True).stdout) == threads


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_two_workers_spend_the_processor_time_of_one_on_products(two_threads):
    """Small products, side by side: on two threads each they took ten times as long (waiting for each other)."""
    a, b = torch.rand(50, 24), torch.rand(24, 24)

    def products(_):
        for _ in range(20_000):
            torch.mm(a, b)

    def spent(workers):
        begun = time.process_time()
        for _ in map_images(products, range(2), workers):
            pass
        return time.process_time() - begun

    spent(2)
    assert min(spent(2) for _ in range(3)) < 2 * min(spent(1) for _ in range(3))
