"""Does a change change anything? Small commands of two versions on one machine, compared bit by bit.

    python benchmarks/goldens.py record DIR [--source OTHER/src] [--demo]
    python benchmarks/goldens.py compare DIR OTHER_DIR

`record` runs train, attend, evaluate bound, evaluate localization, sample and learn with settings that take seconds
(tests/golden/tiny.toml), on scenes that it draws itself, and keeps the figures, the lines, the configurations, the logs
and a hash of every tensor; with --demo also the figures of `foveate demo`, which takes minutes. `compare` says of each
whether its bits are the same, and how far apart the numbers are where they are not. Everything goes through the command
line, so that any two versions can be compared. tests/test_goldens.py holds the same figures within tolerances.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "tests" / "golden"  # tiny.toml, learn.toml: what is trained, and how
SCENES = 28
TRAINING, NEW = "0:16", "16:28"
CLOCK = ("seconds", "seconds_per_photo", "time")  # of no meaning for what was computed


def draw_scenes(folder: Path, count: int = SCENES) -> None:
    """Scenes of one face-like thing each, at any angle, on a wavy ground; annotated by three keypoints as faces are."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(count):
        width, height = 150 + 10 * (number % 3), 120
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        ground = 110 + 50 * np.sin(x / rng.uniform(5, 20) + rng.uniform(0, 6)) * np.cos(y / rng.uniform(5, 20))
        colours = np.clip(ground[..., None] + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
        picture = Image.fromarray(colours)
        s, angle = rng.uniform(18, 34), rng.uniform(-0.5, 0.5)
        tx, ty = rng.uniform(s + 4, width - s - 4), rng.uniform(s + 4, height - s - 4)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * s
        keypoints = np.array([[-0.42, -0.38], [0.42, -0.38], [0.0, 0.52]]) @ turn.T + (tx, ty)
        draw = ImageDraw.Draw(picture)
        draw.ellipse((tx - 0.9 * s, ty - 0.9 * s, tx + 0.9 * s, ty + 0.9 * s), fill=(220, 190, 160))
        for (px, py), size in zip(keypoints, (0.16, 0.16, 0.24), strict=True):
            draw.ellipse((px - size * s, py - size * s, px + size * s, py + size * s), fill=(60, 20, 30))
        name = f"{number:03}.png"
        picture.save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        points = [value for px, py in keypoints for value in (float(px), float(py), 2)]
        annotations.append({"id": number, "image_id": number, "category_id": 1, "keypoints": points})
    names = ["eye_left_of_image", "eye_right_of_image", "mouth_centre"]
    categories = [{"id": 1, "name": "face", "keypoints": names}]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (folder / "annotations.json").write_text(text)


def program(source: Path) -> Callable[..., str]:
    """The commands of a version by its src folder, each in a process of its own: words -> what it prints."""

    def foveate(*words: Any) -> str:
        environment = os.environ | {"PYTHONPATH": str(source), "FOVEATE_PRECISION": "float32", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "foveate", *map(str, words)]
        ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if ended.returncode:
            raise SystemExit(f"{' '.join(command)}: exit status {ended.returncode}")
        return ended.stdout

    return foveate


def record(folder: Path, foveate: Callable[..., str], demo: bool = False) -> dict[str, Any]:
    """What the commands of a version give; also written to `folder`/golden.json.

    Args:
        folder: A new folder for what they write.
        foveate: Runs a command of the version; see `program`.
        demo: Run the demo too.
    """
    folder.mkdir(parents=True)
    draw_scenes(folder / "scenes")
    run, learned = folder / "run", folder / "learned"
    scenes = folder / "scenes"
    golden: dict[str, Any] = {}
    golden["train"] = json.loads(
        foveate("train", scenes, "--out", run, "--config", GOLDEN / "tiny.toml", "--select", TRAINING, "--json")
    )
    foveate(
        "attend", run, scenes / "images" / "000.png", scenes / "images" / "020.png", "--out", folder / "lines.jsonl"
    )
    golden["attend"] = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    golden["localization"] = json.loads(foveate("evaluate", "localization", run, scenes, "--select", NEW, "--json"))
    few = ("--chains", "10", "--temperatures", "200", "--json")
    golden["bound"] = json.loads(foveate("evaluate", "bound", run, scenes, *few))
    foveate("sample", run, "--count", "4", "--seed", "1", "--out", folder / "samples.png")
    golden["samples"] = hashlib.blake2b(np.asarray(Image.open(folder / "samples.png")).tobytes()).hexdigest()
    foveate("learn", run, scenes / "images", "--select", NEW, "--out", learned, "--config", GOLDEN / "learn.toml")
    for name, path in (("run", run), ("learned", learned)):
        golden[name] = {"tensors": {}, "log": _log(path), "config": (path / "config.toml").read_text().splitlines()}
        for weights in sorted(path.glob("*.safetensors")):
            golden[name]["tensors"][weights.stem] = {key: _sum(value) for key, value in load_file(weights).items()}
    if demo:
        golden["demo"] = json.loads(foveate("demo", "--out", folder / "demo", "--json"))
    golden = _timeless(golden, str(folder))
    (folder / "golden.json").write_text(json.dumps(golden, indent=1))
    return golden


def _log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _sum(value: np.ndarray) -> dict[str, Any]:
    """A tensor's hash, and enough of its numbers to see how far another is from it."""
    numbers = value.astype(np.float64)
    digest = hashlib.blake2b(value.tobytes(), digest_size=8).hexdigest()
    return {
        "hash": digest,
        "shape": list(value.shape),
        "sum": float(numbers.sum()),
        "squares": float((numbers**2).sum()),
    }


def _timeless(value: Any, folder: str) -> Any:
    """Without clocks, and without the folder's name."""
    if isinstance(value, dict):
        return {key: _timeless(each, folder) for key, each in value.items() if key not in CLOCK}
    if isinstance(value, list):
        return [_timeless(each, folder) for each in value if not str(each).startswith("version = ")]
    return value.replace(folder, "DIR") if isinstance(value, str) else value


def differences(one: Any, other: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What differs between two recordings, leaf by leaf: its dotted name and both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{name}.{key}".removeprefix("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{name}[{number}]")
    elif one != other:
        yield name, one, other


def compare(one: dict[str, Any], other: dict[str, Any], most: int = 8) -> bool:
    """Prints a line for each part of two recordings: the same, or what differs. Returns whether all is the same."""
    same = True
    for part in sorted(one.keys() | other.keys()):
        found = list(differences(one.get(part), other.get(part)))
        same &= not found
        print(f"{part:14} {'the same bits' if not found else f'{len(found)} values differ'}")
        for name, a, b in found[:most]:
            print(f"    {name}: {_short(a)} -> {_short(b)}")
    return same


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("folder", type=Path)
    recording.add_argument("--source", type=Path, default=HERE.parent / "src")
    recording.add_argument("--demo", action="store_true")
    recording.add_argument("--overwrite", action="store_true")
    comparing = commands.add_parser("compare")
    comparing.add_argument("folders", type=Path, nargs=2)
    options = parser.parse_args()
    if options.command == "compare":
        one, other = (json.loads((folder / "golden.json").read_text()) for folder in options.folders)
        raise SystemExit(0 if compare(one, other) else 1)
    if options.overwrite:
        shutil.rmtree(options.folder, ignore_errors=True)
    record(options.folder.absolute(), program(options.source.absolute()), options.demo)


if __name__ == "__main__":
    main()
