"""Gazes go to annotation tools as turned boxes, are corrected there, and come back as the same gazes."""

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from exports import SIZE, write_images

from foveate.scenes.folder import read_scenes
from foveate.scenes.layouts import writing

NAMES = ["a & b.png", "sub/d\u00e9j\u00e0 vu.png", *(f"c {k}.png" for k in range(6))]


def lines():
    """A few gazes at any angle in each image; none in the last, which has been looked at all the same."""
    rng = np.random.default_rng(0)
    found = []
    for number, name in enumerate(NAMES):
        gazes = []
        for _ in range(0 if number == len(NAMES) - 1 else 1 + number % 3):
            s, turn = rng.uniform(10, 30), rng.uniform(-math.pi, math.pi)
            u = [s * math.cos(turn), s * math.sin(turn), rng.uniform(40, 280), rng.uniform(40, 200)]
            gazes.append({"u": u, "probability": 0.9, "score": 2.0})
        found.append({"image": name, "width": SIZE[0], "height": SIZE[1], "gazes": gazes})
    return [*found, {"image": "broken.png", "error": "damaged"}]


def write_cvat(folder, corrected):
    text = "".join(writing.cvat(lines(), "d & d"))
    root = ElementTree.fromstring(text)
    for box in root.iter("box") if corrected else []:
        for side in ("xtl", "xbr"):
            box.set(side, str(float(box.get(side)) + 5))
    ElementTree.ElementTree(root).write(folder / "annotations.xml", encoding="utf-8", xml_declaration=True)


def write_label_studio(folder, corrected):
    tasks = list(writing.label_studio(lines(), "d & d"))
    for task in tasks:  # who accepts a prediction makes an annotation of it
        (prediction,) = task.pop("predictions")
        task["annotations"] = [{"id": 1, "result": prediction["result"]}]
        for result in prediction["result"] if corrected else []:
            result["value"]["x"] += 100 * 5 / SIZE[0]
    (folder / "export.json").write_text(json.dumps(tasks))


def write_yolo_obb(folder, corrected):
    for line in lines()[:-1]:
        rows = [row.split() for row in writing.yolo_obb(line).splitlines()]
        for row in rows if corrected else []:
            row[1::2] = [f"{float(x) + 5 / SIZE[0]:.7f}" for x in row[1::2]]
        path = (folder / line["image"]).with_suffix(".txt")
        path.write_text("".join(" ".join(row) + "\n" for row in rows))
    (folder / "data.yaml").write_text(json.dumps({"names": ["d & d"]}))


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("write", [write_cvat, write_label_studio, write_yolo_obb])
def test_what_is_written_for_a_tool_is_read_again_as_the_same_gazes(tmp_path, write, corrected):
    (tmp_path / "sub").mkdir()
    write_images(tmp_path, NAMES)
    write(tmp_path, corrected)
    read = read_scenes(tmp_path, unannotated="empty")
    assert read.category == "d & d" and len(read.scenes) == len(NAMES)
    by_name = {scene.name: scene for scene in read.scenes}
    for line in lines()[:-1]:
        scene = by_name[line["image"]]
        truth = np.array([gaze["u"] for gaze in line["gazes"]]).reshape(-1, 4)
        truth[:, 2] += 5 * corrected
        np.testing.assert_allclose(scene.gazes, truth, atol=0.01)
        assert all(annotation.angle_period == 360 for annotation in scene.objects)
    assert by_name[NAMES[-1]].state == "empty"
