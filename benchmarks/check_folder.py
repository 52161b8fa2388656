"""Claim: a folder of 10,000 images and 50,000 annotations is checked in at most 10 seconds and 300 MB.

Makes the folder (small JPEGs, and COCO, or one YOLO, labelme or VOC file an image), and runs `foveate check` in a
process of its own.

    python benchmarks/check_folder.py [--images 10000] [--objects 5] [--layouts coco yolo labelme voc]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (640, 480)


def write_images(folder, count):
    """Photographs of a few kinds, each of its own name: what is in them is not looked at."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    small = [Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)) for _ in range(20)]
    for kind, image in enumerate(small):
        image.resize(SIZE).save(folder / f"{kind}.jpg", quality=70)
    contents = [(folder / f"{kind}.jpg").read_bytes() for kind in range(20)]
    for kind in range(20):
        (folder / f"{kind}.jpg").unlink()
    for number in range(count):
        (folder / f"IMG_{number:05}.jpg").write_bytes(contents[number % 20])


def boxes_of(number, objects):
    rng = np.random.default_rng(number)
    sides = rng.uniform(20, 80, objects)
    return [(rng.uniform(0, SIZE[0] - s), rng.uniform(0, SIZE[1] - s), s, s) for s in sides]


def write_coco(folder, count, objects):
    images = [{"id": k, "file_name": f"IMG_{k:05}.jpg", "width": SIZE[0], "height": SIZE[1]} for k in range(count)]
    annotations = []
    for k in range(count):
        for x, y, w, h in boxes_of(k, objects):
            corners = [x, y, x + w, y, x + w, y + h, x, y + h]
            fields = {"id": len(annotations), "image_id": k, "category_id": 1, "bbox": [x, y, w, h], "iscrowd": 0}
            annotations.append({**fields, "area": w * h, "segmentation": [corners]})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "sign"}]}
    (folder / "annotations.json").write_text(json.dumps(document))


def write_yolo(folder, count, objects):
    (folder / "labels").mkdir()
    for k in range(count):
        lines = [
            f"0 {(x + w / 2) / SIZE[0]:.6f} {(y + h / 2) / SIZE[1]:.6f} {w / SIZE[0]:.6f} {h / SIZE[1]:.6f}"
            for x, y, w, h in boxes_of(k, objects)
        ]
        (folder / "labels" / f"IMG_{k:05}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text("names: [sign]\n")


def write_labelme(folder, count, objects):
    for k in range(count):
        shapes = [
            {"label": "sign", "points": [[x, y], [x + w, y + h]], "group_id": None, "shape_type": "rectangle"}
            for x, y, w, h in boxes_of(k, objects)
        ]
        document = {"shapes": shapes, "imagePath": f"IMG_{k:05}.jpg", "imageWidth": SIZE[0], "imageHeight": SIZE[1]}
        (folder / "images" / f"IMG_{k:05}.json").write_text(json.dumps({**document, "imageData": None}))


def write_voc(folder, count, objects):
    (folder / "Annotations").mkdir()
    for k in range(count):
        text = f"<annotation><filename>IMG_{k:05}.jpg</filename><size><width>640</width><height>480</height></size>"
        for x, y, w, h in boxes_of(k, objects):
            box = f"<xmin>{x:.0f}</xmin><ymin>{y:.0f}</ymin><xmax>{x + w:.0f}</xmax><ymax>{y + h:.0f}</ymax>"
            text += f"<object><name>sign</name><bndbox>{box}</bndbox></object>"
        (folder / "Annotations" / f"IMG_{k:05}.xml").write_text(text + "</annotation>")


WRITERS = {"coco": write_coco, "yolo": write_yolo, "labelme": write_labelme, "voc": write_voc}


def measure(folder):
    """Seconds on the clock, of the processor, and the largest memory of one check."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "foveate", "check", str(folder), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, out
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, json.loads(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--objects", type=int, default=5)
    parser.add_argument("--layouts", nargs="+", default=list(WRITERS), choices=list(WRITERS))
    arguments = parser.parse_args()
    print(f"{'layout':10}{'images':>8}{'objects':>9}{'seconds':>9}{'processor':>11}{'MB':>6}")
    worst = 0.0
    for layout in arguments.layouts:
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "signs"
            write_images(folder / "images", arguments.images)
            WRITERS[layout](folder, arguments.images, arguments.objects)
            seconds, processor, memory, found = measure(folder)
        print(f"{layout:10}{found['images']:>8}{found['objects']:>9}{seconds:>9.1f}{processor:>11.1f}{memory:>6.0f}")
        worst = max(worst, processor / 10, memory / 300)  # the clock knows of other programs too
    sys.exit(1 if worst > 1 else 0)


if __name__ == "__main__":
    main()
