"""`attend` end to end: seconds a photograph on this machine, and where they go.

    python benchmarks/attend.py RUN FOLDER [COUNT]

Prints photographs a second over all cores, and for one photograph after another on one core the share of each part.
"""

import cProfile
import pstats
import statistics
import sys
import time

from foveate.attention.attend import Attention
from foveate.attention.workers import default_workers, map_images, one_thread_each
from foveate.commands.models import attend_settings
from foveate.commands.options import Common
from foveate.scenes.folder import list_images, read_image

PARTS = {
    "_glimpses": "glimpses",
    "conv2d": "convolutions",
    "linear": "fully connected layers",
    "max_pool2d": "pooling",
    "transitions": "Hamiltonian Monte Carlo",
    "sample_visible": "v given h1 and u",
    "sample_hidden": "h1 given v",
    "canonical": "v for the network",
    "merge": "merging",
    "read_image": "reading",
    "from_images": "pyramids",
}


def main() -> None:
    run, folder = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 40
    settings = attend_settings(run, "many", None, None, None, Common())
    attention = Attention.load(run)
    paths = [path for _, path in list_images(folder)][:count]
    attention.attend_one(read_image(paths[0]), "compile", settings)

    begun = time.perf_counter()
    list(map_images(lambda path: attention.attend_one(read_image(path), path, settings), paths))
    seconds = time.perf_counter() - begun
    workers = default_workers()
    print(f"{len(paths)} photographs, {workers} cores: {len(paths) / seconds:.2f} a second")

    profile, each = cProfile.Profile(), []
    with one_thread_each():
        for path in paths[: max(len(paths) // 4, 1)]:
            begun = time.perf_counter()
            profile.runcall(lambda path=path: attention.attend_one(read_image(path), path, settings))
            each.append(time.perf_counter() - begun)
    total = sum(each)
    print(f"one core: median {statistics.median(each):.2f} s a photograph (profiled)")
    found = {part: 0.0 for part in PARTS.values()}
    for (_, _, name), (_, _, own, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        for key, part in PARTS.items():
            if name == key or name.endswith(f"{key}>"):
                found[part] += own if key in ("_glimpses", "conv2d", "linear", "max_pool2d") else cumulative
    for part, spent in sorted(found.items(), key=lambda pair: -pair[1]):
        print(f"  {part:28} {100 * spent / total:5.1f} %")


if __name__ == "__main__":
    main()
