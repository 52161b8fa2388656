"""Claim: no file, however damaged or malicious, makes reading fail in another way than by one line that names it.

10,000 mutated annotation files of every layout and 2,000 mutated pictures are read. Each has to be used or refused
with `BadInput`, within a second, and no file outside the SCENES folder may be opened (an audit hook watches every open;
the annotations are aimed at a real file next to the folder). A hang, in C code too, ends the program with the place
where it hangs.

    python benchmarks/fuzz_reading.py [--annotations 10000] [--pictures 2000] [--seed 0]
"""

import argparse
import codecs
import faulthandler
import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from mutated_files import base_files, base_pictures, mutated_bytes, mutated_file
from peak import peak_memory
from PIL import Image

from foveate.errors import BadInput
from foveate.runtime.random import numpy_generator
from foveate.scenes.folder import read_scenes
from foveate.scenes.image import BadImage, read_header, read_image

SLOW = 1.0  # seconds for one file
HANG = 60.0


@dataclass
class Tally:
    """What became of the files of one kind."""

    kind: str
    outcomes: Counter = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


class Watch:
    """Collects the paths that are opened outside a folder while it is on (hooks can not be removed)."""

    def __init__(self, folder):
        self._folder, self.on, self.outside = os.path.realpath(folder) + os.sep, False, []
        sys.addaudithook(self._event)

    def _event(self, event, arguments):
        if (
            self.on
            and event in ("open", "os.listdir", "os.scandir")
            and isinstance(arguments[0], str | bytes | os.PathLike)
        ):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not (path + os.sep).startswith(self._folder):
                self.outside.append(path)


def attempt(tally, watch, name, function):
    """One file: counts whether it was used or refused, and keeps the trace of anything else."""
    faulthandler.dump_traceback_later(HANG, exit=True, file=sys.__stderr__)
    watch.on, start = True, time.perf_counter()
    try:
        function()
        outcome = "used"
    except BadInput as error:
        outcome = "refused" if "\n" not in str(error) else "many lines"
        if outcome == "many lines":
            tally.failures.append(f"{name}: {error}")
    except Exception:
        outcome = "traceback"
        tally.failures.append(f"{name}:\n{traceback.format_exc()}")
    seconds = time.perf_counter() - start
    watch.on = False
    faulthandler.cancel_dump_traceback_later()
    tally.outcomes[outcome] += 1
    tally.outcomes["slow"] += seconds > SLOW
    tally.slowest = max(tally.slowest, seconds)


def fuzz_annotations(count, seed):
    """As many files of each layout, one after the other."""
    files = base_files()
    tallies = {layout: Tally(layout) for layout in files}
    outside = []
    with tempfile.TemporaryDirectory() as parent:
        secret = Path(parent) / "secret.png"
        Image.new("RGB", (64, 48)).save(secret)
        folders = {layout: four_pictures(Path(parent) / f"{number}", layout) for number, layout in enumerate(files)}
        for layout, (place, whole) in files.items():
            (folders[layout] / place).write_text(whole if isinstance(whole, str) else json.dumps(whole))
            read_scenes(folders[layout], category="face")  # plug-ins and codecs are imported here, unwatched
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"):
            codecs.lookup(encoding)
        for layout, (place, whole) in files.items():
            folder = folders[layout]
            watch = Watch(folder)
            for index in range(count // len(files)):
                rng = numpy_generator(seed, layout, index)
                (folder / place).write_bytes(mutated_file(rng, whole, str(secret)))
                attempt(tallies[layout], watch, f"{layout} {index}", partial(read_and_check, folder))
            outside += watch.outside
        return list(tallies.values()), outside


def four_pictures(folder, layout):
    """A folder of four pictures; of YOLO, with what belongs to the file that will be mutated."""
    (folder / "images").mkdir(parents=True)
    for index in range(4):
        Image.new("RGB", (64, 48), (index, 9, 9)).save(folder / "images" / f"{index}.png")
    if layout.startswith("YOLO"):
        for index in range(4):
            (folder / "images" / f"{index}.txt").write_text("0 .5 .5 .2 .2\n")
        (folder / "data.yaml").write_text("names: [face, sign]\n")
    return folder


def read_and_check(folder):
    """The folder's scenes, of the kind that every whole file annotates."""
    try:
        found = read_scenes(folder, category="face")
    except BadInput as error:
        if "nothing is called" not in str(error):
            raise
        found = read_scenes(folder)
    check_scenes(found, folder)


def check_scenes(found, folder):
    """What is used has to be sound."""
    inside = os.path.realpath(folder) + os.sep
    for scene in found.scenes:
        assert os.path.realpath(scene.path).startswith(inside)
        assert np.isfinite(scene.gazes).all() and (np.hypot(scene.gazes[:, 0], scene.gazes[:, 1]) > 0).all()
        assert np.isfinite(scene.ignore).all()


def fuzz_pictures(count, seed):
    pictures = base_pictures()
    tallies = {kind: Tally(f"pictures, {kind}") for kind, _ in pictures}
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(folder)
        path = Path(folder) / "picture"
        for _, data in pictures:
            path.write_bytes(data)
            check_picture(path)
        for index in range(count):
            rng = numpy_generator(seed, "pictures", index)
            kind, data = pictures[index % len(pictures)]
            path.write_bytes(mutated_bytes(rng, data))
            attempt(tallies[kind], watch, f"picture {index} ({kind})", lambda: check_picture(path))
        return list(tallies.values()), watch.outside


def check_picture(path):
    """What is read has to be a picture of the size that its header tells, whole and reduced."""
    pixels = read_image(path)
    header = read_header(path)
    assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype in (np.uint8, np.uint16)
    assert pixels.shape[:2] == (header.height, header.width), (pixels.shape, header)
    try:
        assert max(read_image(path, 20).shape[:2]) <= 20
    except BadImage:  # a damaged JPEG may decode in full and not at a fraction
        pass


def show(tallies, outside, seconds):
    columns = ("used", "refused", "many lines", "traceback", "slow")
    print(f"{'':24}{'files':>8}" + "".join(f"{name:>12}" for name in columns) + f"{'slowest':>12}")
    for tally in tallies:
        count = sum(tally.outcomes[name] for name in columns[:4])
        row = "".join(f"{tally.outcomes[name]:>12}" for name in columns)
        print(f"{tally.kind:24}{count:>8}{row}{tally.slowest * 1000:>9.0f} ms")
    print(f"files opened outside the folder: {len(outside)}; {seconds:.0f} s; peak memory {peak_memory() / 1e6:.0f} MB")
    for failure in [failure for tally in tallies for failure in tally.failures][:5] + outside[:5]:
        print(failure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annotations", type=int, default=10_000)
    parser.add_argument("--pictures", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    faulthandler.enable(file=sys.__stderr__)
    start = time.perf_counter()
    annotations, outside = fuzz_annotations(arguments.annotations, arguments.seed)
    pictures, outside_too = fuzz_pictures(arguments.pictures, arguments.seed)
    tallies = [*annotations, *pictures]
    show(tallies, outside + outside_too, time.perf_counter() - start)
    failed = outside or outside_too or any(tally.failures or tally.outcomes["slow"] for tally in tallies)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
