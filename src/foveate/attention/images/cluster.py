"""Corpora of images over the machines of a Ray cluster.

What Ray calls is a function from a batch of rows to a batch of lines (`attend_batch`), which serves any other engine as
well. Lines come back as they are done (`over_ray`), and whoever writes them down one by one with
`storage.results.Results` can go on after anything: a worker or a machine that is lost costs what it was at, which Ray
gives to others; a killed driver costs what was under way, since `Results` knows which images are done. Each line is the
one that a single machine of the same kind would write.

Images and the RUN must be readable under the same absolute paths on every machine, and foveate installed there. Needs
Ray (extra `distributed`).
"""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import numpy as np

from foveate.attention.attend import Attention
from foveate.attention.images.image_files import Attended, attend_images
from foveate.attention.settings import AttendSettings
from foveate.errors import BadInput, FoveateError, extra
from foveate.runtime.progress import Quiet
from foveate.storage.files import to_json

Batch = Mapping[str, np.ndarray]
Function = Callable[[Batch], dict[str, np.ndarray]]

ROWS = 32  # most images in one task: what a lost worker has to do again, and what the driver has to keep in mind
PART = 1_000_000  # images handed to Ray at once


def attend_batch(
    batch: Batch,
    run: str,
    settings: AttendSettings,
    device: str = "cpu",
    look: Callable[[Attended], None] | None = None,
    tiles: bool = False,
    like: str | None = None,
) -> dict[str, np.ndarray]:
    """The lines of `attend` for a batch of images: "image" as given, and "line", strict JSON.

    The batch has "image", what the results call it, and "path"; text, or bytes as the file system has them. Models are
    read once a process. `look` is called with every image and what was found in it, pixels and all; `tiles` and `like`
    are as `attend` has them.
    """
    images, lines = names_of(batch), []
    with Quiet().phase("attend") as tick:
        for attended in attend_images(attention_of(run, device, like), images, settings, tick, 1, tiles):
            if look is not None:
                look(attended)
            lines.append(to_json(attended.line()))
    return {"image": batch["image"], "line": np.array(lines, dtype=object)}


def attending(run: str, settings: AttendSettings, **given: Any) -> Function:
    """`attend_batch` with all but the batch given."""
    return partial(attend_batch, run=os.path.abspath(run), settings=settings, **given)


def over_ray(
    function: Function,
    images: Sequence[tuple[str, str]],
    address: str | None = None,
    workers: int | None = None,
    gpus: int = 0,
) -> Iterator[dict[str, Any]]:
    """Hands images to the workers of a cluster; yields the line of each, once, in the order in which they are done.

    Args:
        function: From a batch of "image" and "path" to one of "image" and "line".
        images: (name, path) each; names are unique.
        address: As Ray has it: of a cluster; "auto" for the one that this machine belongs to; "local" for one of its
            own, gone at the end. Nothing uses what `ray.init` was called with before, or what RAY_ADDRESS says.
        workers: Most processes at a time; one a core of the cluster if nothing is said.
        gpus: Of each process.

    Raises:
        BadInput: Ray is not installed, or there is no cluster.
    """
    if not images:
        return
    with _connected(address) as ray:
        cores = int(ray.cluster_resources().get("CPU", 1))
        for first in range(0, len(images), PART):
            part = images[first : first + PART]
            paths = {name: os.path.abspath(path) for name, path in part}
            rows = [{"image": os.fsencode(name), "path": os.fsencode(path)} for name, path in paths.items()]
            a_task = min(max(len(rows) // (16 * (workers or cores)), 1), ROWS)
            data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // a_task)).map_batches(
                function, batch_size=None, num_cpus=1, num_gpus=gpus, concurrency=workers, max_retries=-1
            )
            yield from _once(data, paths)


def _once(data: Any, wanted: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The lines of a dataset; a task that is done again, since the machine with its result was lost, counts once."""
    from ray.exceptions import RayTaskError

    try:
        for block in data.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
            for name, line in zip(block["image"], block["line"], strict=True):
                if wanted.pop(os.fsdecode(name), None) is not None:
                    yield json.loads(line)
    except RayTaskError as error:
        if isinstance(error.cause, FoveateError):
            raise error.cause from None
        raise


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray with a cluster: quiet, asking nothing of a network, the signal handlers as they were."""
    import signal
    import threading

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    extra("ray.data", "Ray", "distributed")
    import ray

    mine = not ray.is_initialized()
    if mine:
        before = signal.getsignal(signal.SIGTERM)
        try:
            _answers(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise BadInput(f"no Ray cluster at {address}: {' '.join(str(error).split())}") from None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    _quiet(ray)
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def _answers(address: str | None) -> None:
    """Raise where nobody listens at HOST:PORT: Ray itself would go on trying for a quarter of an hour."""
    host, colon, port = (address or "").rpartition(":")
    if colon and "://" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _quiet(ray: Any) -> None:
    """No progress bars and no execution plans: whoever reads the lines reports progress."""
    import logging

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


@lru_cache(maxsize=1)
def attention_of(run: str, device: str, like: str | None = None) -> Attention:
    """The models of a RUN, with what is in mind, read once in a process."""
    attention = Attention.load(run, device)
    return attention if like is None else attention.looking_for(like)


def names_of(batch: Batch) -> list[tuple[str, str]]:
    """(name, path) of each row, as plain text: keys of random numbers differ for NumPy's own kind of text."""
    names, paths = ([str(os.fsdecode(word)) for word in batch[column]] for column in ("image", "path"))
    return list(zip(names, paths, strict=True))
