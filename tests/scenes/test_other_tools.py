"""Gazes in the hands of the tools themselves: they read what is written for them, and what they write is read again.

Marked slow: the tools are large, and a test runs where its tool is installed (`make test-all`).
"""

import json
import math

import numpy as np
import pytest
from exports import SIZE, write_images

from foveate.scenes.folder import read_scenes
from foveate.scenes.layouts import writing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of the tools, on themselves
]
NAMES = [f"c {k}.png" for k in range(4)]


def lines():
    """One to three gazes at any angle in each image, as `attend` writes them."""
    rng = np.random.default_rng(0)
    found = []
    for number, name in enumerate(NAMES):
        gazes = []
        for _ in range(1 + number % 3):
            s, turn = rng.uniform(10, 30), rng.uniform(-math.pi, math.pi)
            u = [s * math.cos(turn), s * math.sin(turn), rng.uniform(60, 260), rng.uniform(60, 180)]
            box = [u[2] - s, u[3] - s, u[2] + s, u[3] + s]
            gaze = {"u": u, "box": box, "angle": math.degrees(turn), "probability": float(rng.uniform(0.1, 1))}
            gazes.append(gaze | {"score": 2.0, "std": [0.1] * 4})
        found.append({"image": name, "width": SIZE[0], "height": SIZE[1], "gazes": gazes})
    return found


def boxes_of(line):
    return np.array([gaze["box"] for gaze in line["gazes"]])


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path, NAMES)
    (tmp_path / "annotations.json").write_text(json.dumps(writing.coco(lines(), "disc")))
    return tmp_path


def test_supervision_reads_the_coco_file_and_what_it_writes_is_read_again(folder, tmp_path):
    sv = pytest.importorskip("supervision")
    dataset = sv.DetectionDataset.from_coco(str(folder), str(folder / "annotations.json"))
    assert dataset.classes == ["disc"] and len(dataset) == len(NAMES)
    for path, _, detections in dataset:
        (line,) = [one for one in lines() if path.endswith(one["image"])]
        np.testing.assert_allclose(detections.xyxy, boxes_of(line), atol=0.01)
    again = tmp_path / "again"
    dataset.as_coco(images_directory_path=str(again), annotations_path=str(again / "annotations.json"))
    read = {scene.name: scene for scene in read_scenes(again).scenes}
    for line in lines():
        middles = np.array(sorted(read[line["image"]].gazes[:, 2:].tolist()))
        expected = np.array(sorted(gaze["u"][2:] for gaze in line["gazes"]))
        np.testing.assert_allclose(middles, expected, atol=1.0)  # it may write whole pixels


def test_supervision_reads_the_turned_boxes_of_yolo(folder, tmp_path):
    sv = pytest.importorskip("supervision")
    labels = tmp_path / "labels"
    labels.mkdir()
    for line in lines():
        (labels / line["image"]).with_suffix(".txt").write_text(writing.yolo_obb(line))
    (tmp_path / "data.yaml").write_text("names: [disc]\nnc: 1\n")
    dataset = sv.DetectionDataset.from_yolo(str(folder), str(labels), str(tmp_path / "data.yaml"), is_obb=True)
    met = 0
    for path, _, detections in dataset:
        (line,) = [one for one in lines() if path.endswith(one["image"])]
        corners = np.array([writing.corners(gaze["u"]) for gaze in line["gazes"]])
        np.testing.assert_allclose(detections.data["xyxyxyxy"].reshape(-1, 4, 2), corners, atol=0.5)
        met += len(corners)
    assert met == sum(len(line["gazes"]) for line in lines())


def test_found_gazes_become_detections_of_supervision(folder):
    sv = pytest.importorskip("supervision")
    from founds import found

    objects = [found(np.array(gaze["u"])) for gaze in lines()[2]["gazes"]]
    detections = sv.Detections(
        xyxy=np.array([one.box for one in objects]),
        confidence=np.array([one.probability for one in objects]),
        data={"angle": np.array([one.angle for one in objects])},
    )
    assert len(detections.with_nms(0.9, class_agnostic=True)) == len(objects)
    np.testing.assert_allclose(detections.xyxy, boxes_of(lines()[2]), atol=0.01)


def test_fiftyone_reads_the_coco_file_with_its_attributes(folder):
    coco = pytest.importorskip("fiftyone.utils.coco")  # its reader alone, which needs no database
    _, classes, _, images, annotations = coco.load_coco_detection_annotations(str(folder / "annotations.json"))
    assert len(images) == len(NAMES)
    for number, image in images.items():
        (line,) = [one for one in lines() if one["image"] == image["file_name"]]
        for told, gaze in zip(annotations[number], line["gazes"], strict=True):
            detection = told.to_detection(SIZE, classes_map=classes)
            x, y, width, height = detection.bounding_box
            corners = [x * SIZE[0], y * SIZE[1], (x + width) * SIZE[0], (y + height) * SIZE[1]]
            np.testing.assert_allclose(corners, gaze["box"], atol=0.01)
            assert detection.label == "disc" and detection["rotation"] == pytest.approx(gaze["angle"] % 360)
            (line_of,) = told.to_polyline(SIZE, classes_map=classes).points
            np.testing.assert_allclose(np.array(line_of) * SIZE, writing.corners(gaze["u"]), atol=0.01)


def test_fiftyone_reads_the_turned_boxes_for_cvat(tmp_path):
    cvat = pytest.importorskip("fiftyone.utils.cvat")
    (tmp_path / "found.xml").write_text("".join(writing.cvat(lines(), "disc")), encoding="utf-8")
    _, _, images = cvat.load_cvat_image_annotations(str(tmp_path / "found.xml"))
    assert [image.name for image in images] == NAMES
    for image, line in zip(images, lines(), strict=True):
        for box, gaze in zip(image.boxes, line["gazes"], strict=True):
            half = math.hypot(*gaze["u"][:2])
            middle = [(box.xtl + box.xbr) / 2, (box.ytl + box.ybr) / 2]
            np.testing.assert_allclose(middle, gaze["u"][2:], atol=0.51)  # it reads whole pixels
            assert box.xbr - box.xtl == pytest.approx(2 * half, abs=1) and box.label == "disc"
