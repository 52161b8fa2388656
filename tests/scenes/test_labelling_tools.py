"""What is special to one annotation tool: keypoints, masks, ellipses, unfinished tasks, marks on an object."""

import base64
import io
import json
import math

import numpy as np
import pytest
from exports import NAMES, SIZE, UPRIGHT, truth, voc_file, write_images
from folders import coco_folder
from PIL import Image
from regions import ellipse, pack

from foveate.errors import BadInput
from foveate.scenes.folder import read_scenes

POINTS = {"left": (-0.5, 0.0), "right": (0.5, 0.0)}


def objects_of(read, number=0):
    return read.scenes[number].objects


def disc(height=240, width=320, x=100, y=80, radius=20):
    rows, columns = np.mgrid[:height, :width] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def test_coco_takes_the_polygon_of_an_empty_box_and_the_turned_rectangle_of_an_upright_one(tmp_path):
    c, s = math.cos(0.5), math.sin(0.5)
    square = [(100 + 20 * (c * p - s * q), 80 + 20 * (s * p + c * q)) for p, q in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    flat = [number for point in square for number in point]
    upright = [min(flat[::2]), min(flat[1::2]), np.ptp(flat[::2]), np.ptp(flat[1::2])]
    cells = disc()
    edges = np.flatnonzero(np.diff(np.concatenate(([0], cells.ravel("F"), [0]))))
    mask = {"counts": np.diff(np.concatenate(([0], edges, [cells.size]))).tolist(), "size": [240, 320]}
    boxes = [
        {"bbox": [0, 0, 0, 0], "segmentation": [flat]},
        {"bbox": upright, "segmentation": [flat]},
        {"segmentation": flat},
        {"segmentation": mask},
        {"bbox": [80, 60, 40, 40], "segmentation": [[80, 60, 120, 60, 120, 100, 80, 100]]},
        {"bbox": [70, 50, 60, 60], "segmentation": [ellipse(60, 20, 30).ravel().tolist()]},
        {"segmentation": [ellipse(60, 20, 100).ravel().tolist()]},
    ]
    read = read_scenes(coco_folder(tmp_path / "s", [(f"{k}.png", [box]) for k, box in enumerate(boxes)], size=SIZE))
    turned = [20 * c, 20 * s, 100, 80]
    for number in range(3):
        np.testing.assert_allclose(read.scenes[number].gazes, [turned], atol=1e-6)
        assert objects_of(read, number)[0].angle_period == 90
    np.testing.assert_allclose(read.scenes[3].gazes, [[20, 0, 100, 80]], atol=0.5)
    assert [objects_of(read, number)[0].angle_period for number in (3, 4, 5, 6)] == [0, 360, 360, 180]
    u = read.scenes[6].gazes[0]
    assert math.hypot(u[0], u[1]) == pytest.approx(10, abs=0.1)
    assert math.degrees(math.atan2(u[1], u[0])) == pytest.approx(10, abs=0.5)


def test_longer_axes_stand_upright_or_lie_as_most_objects_are_less_turned(tmp_path):
    for name, degrees, expected in (("standing", 85, -5), ("lying", 10, 10)):
        rings = [{"segmentation": [ellipse(60, 20, degrees).ravel().tolist()]}]
        read = read_scenes(coco_folder(tmp_path / name, [(f"{k}.png", rings) for k in range(6)], size=SIZE))
        u = read.scenes[0].gazes[0]
        assert math.degrees(math.atan2(u[1], u[0])) == pytest.approx(expected, abs=0.5)


def test_voc_knows_difficult_truncated_and_turned_objects(tmp_path):
    write_images(tmp_path / "s")
    for name, objects in zip(NAMES, truth(turned=False), strict=True):
        (tmp_path / "s" / f"{name[:-4]}.xml").write_text(voc_file(name, objects))
    text = voc_file(NAMES[0], [(40, 120, 80, 60, 0), (160, 120, 60, 40, 0), (40, 120, 80, 160, 0)])
    first, second, third = text.split("<object>")[1:]
    third = third.replace("<truncated>0", "<truncated>1")
    numbers = "<cx>250</cx><cy>60</cy><w>40</w><h>30</h><angle>0.5</angle>"
    turned = f"<name>sign</name><robndbox>{numbers}</robndbox></object>"
    head = text.split("<object>")[0]
    parts = [head, first, second.replace("<difficult>0", "<difficult>1"), third.replace("</annotation>", ""), turned]
    (tmp_path / "s" / "sign 00.xml").write_text("<object>".join(parts) + "</annotation>")
    read = read_scenes(tmp_path / "s")
    found = objects_of(read)
    assert [each.cut for each in found] == [(), ("left",), ()]
    assert [each.angle_period for each in found] == [360, 360, 180]
    np.testing.assert_allclose(found[2].gaze, (15 * math.cos(0.5), 15 * math.sin(0.5), 250, 60))
    np.testing.assert_allclose(read.scenes[0].ignore, [[130, 100, 190, 140]])
    assert any("marked as difficult" in line for line in read.problems)


def mask_text(cells):
    buffer = io.BytesIO()
    Image.fromarray(cells).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def labelme_shape(kind, points, label="sign", group=None, **more):
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": {}, **more}


def labelme_folder(folder, shapes):
    write_images(folder)
    for name in NAMES:
        document = {"version": "5.5.0", "shapes": shapes, "imagePath": f"..\\elsewhere\\{name}"}
        document |= {"imageData": None, "imageHeight": SIZE[1], "imageWidth": SIZE[0]}
        (folder / f"{name[:-4]}.json").write_text(json.dumps(document))
    return folder


def test_labelme_s_shapes_have_windows_and_points_are_keypoints(tmp_path):
    cells = disc(60, 60, 30, 30, 20)
    shapes = [
        labelme_shape("circle", [[100, 80], [100, 100]]),
        labelme_shape("mask", [[200, 100], [259, 159]], mask=mask_text(cells)),
        labelme_shape("polygon", ellipse(60, 20, 30, x=60, y=180).tolist()),
        labelme_shape("linestrip", [[1, 1], [9, 9]]),
    ]
    read = read_scenes(labelme_folder(tmp_path / "shapes", shapes))
    circle, mask, polygon = objects_of(read)
    assert circle.gaze == pytest.approx((20, 0, 100, 80)) and circle.angle_period == 0
    assert mask.gaze == pytest.approx((20, 0, 230, 130), abs=0.5) and mask.angle_period == 0
    assert polygon.angle_period == 180 and polygon.gaze[2:] == pytest.approx((60, 180), abs=0.1)
    assert any("linestrip" in line and "has no window" in line for line in read.problems)
    points = [
        labelme_shape("rectangle", [[40, 40], [120, 160]], "face", 1),
        labelme_shape("point", [[60, 90]], "left", 1),
        labelme_shape("point", [[100, 90]], "right", 1),
    ]
    read = read_scenes(labelme_folder(tmp_path / "points", points), canonical=POINTS)
    assert read.category == "face" and objects_of(read)[0].gaze == pytest.approx((40, 0, 80, 90))
    assert objects_of(read)[0].extent.upright() == (40, 40, 120, 160)
    read = read_scenes(labelme_folder(tmp_path / "alone", points[1:]), canonical=POINTS)
    assert objects_of(read)[0].gaze == pytest.approx((40, 0, 80, 90)) and not objects_of(read)[0].drawn


def result(kind, value, label="sign", identity="a", **more):
    value = {**value, f"{kind}labels": [label]} if label else value
    return {
        "id": identity, "type": f"{kind}labels" if label else kind, "value": value, "image_rotation": 0,
        "original_width": SIZE[0], "original_height": SIZE[1], **more,
    }  # fmt: skip


def task(number, results, name=None, **more):
    annotation = {"id": number, "was_cancelled": False, "result": results, **more}
    return {"id": number, "data": {"image": name or f"/data/upload/1/{NAMES[number]}"}, "annotations": [annotation]}


def studio(folder, tasks):
    write_images(folder)
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder


def percent(x, y):
    return {"x": 100 * x / SIZE[0], "y": 100 * y / SIZE[1]}


def test_label_studio_s_regions_have_windows(tmp_path):
    cells = disc()
    values = (np.repeat(cells.ravel(), 4) * 255).astype(int).tolist()
    brush = {"format": "rle", "rle": list(pack(values))}
    oval = {**percent(100, 80), "radiusX": 100 * 40 / SIZE[0], "radiusY": 100 * 20 / SIZE[1], "rotation": 30}
    ring = ellipse(60, 20, 30, x=200, y=150) / SIZE * 100
    results = [
        result("brush", brush, identity="1"),
        result("ellipse", {**oval, **percent(200, 80)}, identity="2"),
        result("polygon", {"points": ring.tolist()}, identity="3"),
        result("rectangle", {**percent(20, 180), "width": 10, "height": 10, "rotation": 0}, None, "4"),
        {"id": "4", "type": "labels", "value": {"labels": ["sign"]}},
        {"type": "choices", "value": {"choices": ["good"]}},
    ]
    read = read_scenes(studio(tmp_path / "s", [task(k, results) for k in range(12)]))
    mask, oval_, polygon, box = objects_of(read)
    assert mask.gaze == pytest.approx((20, 0, 100, 80), abs=0.5) and mask.angle_period == 0
    assert oval_.gaze == pytest.approx((20 * math.cos(math.pi / 6), 10, 200, 80)) and oval_.angle_period == 360
    assert polygon.angle_period == 180 and box.gaze == pytest.approx((12, 0, 36, 192))


def test_label_studio_s_unfinished_tasks_are_not_annotated_and_annotators_agree(tmp_path):
    box = {**percent(100, 80), "width": 20, "height": 20, "rotation": 0}
    near = {**box, "x": box["x"] + 0.5}
    tasks = [task(k, [result("rectangle", box)]) for k in range(8)]
    tasks[0]["annotations"].append({"id": 99, "result": [result("rectangle", near)]})
    tasks += [{**task(8, []), "annotations": []}, task(9, []), task(10, [result("rectangle", box)], was_cancelled=True)]
    tasks.append(task(11, [result("rectangle", box, image_rotation=90)]))
    read = read_scenes(studio(tmp_path / "s", tasks))
    assert [scene.state for scene in read.scenes] == [*["objects"] * 8, "unannotated", "empty", "unannotated", "empty"]
    assert len(read.scenes[0].objects) == 1 and read.doubts.count("near_duplicates") == 1
    assert any("rotated in the tool" in line for line in read.problems)


def test_label_studio_s_key_points_belong_to_their_rectangle(tmp_path):
    results = [
        result("rectangle", {**percent(40, 40), "width": 25, "height": 50, "rotation": 0}, "face", "r"),
        result("keypoint", {**percent(60, 90), "width": 0.5}, "left", "p", parentID="r"),
        result("keypoint", {**percent(100, 90), "width": 0.5}, "right", "q", parentID="r"),
    ]
    read = read_scenes(studio(tmp_path / "s", [task(k, results) for k in range(12)]), canonical=POINTS)
    assert read.category == "face" and objects_of(read)[0].gaze == pytest.approx((40, 0, 80, 90))


def cvat_folder(folder, elements, root="<annotations>{}</annotations>"):
    write_images(folder / "images")
    images = [f'<image id="{k}" name="{n}" width="320" height="240">{elements}</image>' for k, n in enumerate(NAMES)]
    (folder / "annotations.xml").write_text(root.format("".join(images)))
    return folder


def test_cvat_s_shapes_have_windows_and_skeletons_are_keypoints(tmp_path):
    cells = disc(60, 60, 30, 30, 20)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], cells.ravel(), [0]))))
    runs = ", ".join(map(str, np.diff(np.concatenate(([0], edges, [cells.size])))))
    ring = ";".join(f"{x:.2f},{y:.2f}" for x, y in ellipse(60, 20, 30, x=60, y=180))
    shapes = (
        '<ellipse label="sign" cx="100" cy="80" rx="30" ry="20" rotation="30"></ellipse>'
        f'<mask label="sign" rle="{runs}" left="200" top="100" width="60" height="60"></mask>'
        f'<polygon label="sign" points="{ring}"></polygon><polyline label="sign" points="1,1;2,2"></polyline>'
        '<tag label="sign"></tag>'
    )
    read = read_scenes(cvat_folder(tmp_path / "s", shapes))
    oval, mask, polygon = objects_of(read)
    assert oval.gaze == pytest.approx((20 * math.cos(math.pi / 6), 10, 100, 80)) and oval.angle_period == 360
    assert mask.gaze == pytest.approx((20, 0, 230, 130), abs=0.5) and polygon.angle_period == 180
    eyes = (("left", 60), ("right", 100))
    points = "".join(f'<points label="{n}" points="{x},90" outside="0"></points>' for n, x in eyes)
    hidden = '<points label="tail" points="0,0" outside="1"></points>'
    skeleton = f'<skeleton label="face">{points}{hidden}</skeleton>'
    read = read_scenes(cvat_folder(tmp_path / "k", skeleton), canonical=POINTS)
    assert objects_of(read)[0].gaze == pytest.approx((40, 0, 80, 90))
    with pytest.raises(BadInput, match="CVAT for images"):
        read_scenes(cvat_folder(tmp_path / "v", "", '<annotations><track id="0"></track></annotations>'))


def test_pictures_that_coco_or_cvat_do_not_list_are_counted(tmp_path):
    UPRIGHT["coco"](tmp_path / "s", truth(turned=False))
    write_images(tmp_path / "s" / "images", ["extra.png"])
    read = read_scenes(tmp_path / "s")
    assert len(read.scenes) == 12 and read.doubts.count("unlisted_images") == 1
