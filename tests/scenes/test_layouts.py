"""Folders as annotation tools write them: the same images give the same gazes, whatever tool exported them."""

import json

import numpy as np
import pytest
from exports import NAMES, SIZE, TURNED, UPRIGHT, gazes_of, truth, write_images, yolo, yolo_obb

from foveate.errors import BadInput
from foveate.scenes.folder import read_scenes

LAYOUTS = {
    "coco": "coco", "coco_of_cvat": "coco", "coco_of_roboflow": "coco", "coco_of_fiftyone": "coco", "voc": "voc",
    "voc_of_labelimg": "voc", "yolo": "yolo", "yolo_of_roboflow": "yolo", "yolo_of_cvat": "yolo", "yolo_obb": "yolo",
    "labelme": "labelme", "label_studio": "label-studio", "label_studio_min": "label-studio", "cvat": "cvat",
}  # fmt: skip


def plain(name):
    """The number in a picture's name, whatever the tool has done to it."""
    return name.rpartition("/")[2].replace("-", " ").replace("_", " ")[:7]


def compare(folder, images):
    read = read_scenes(folder)
    assert read.category == "sign" and len(read.scenes) == 12
    by_name = {plain(scene.name): scene for scene in read.scenes}
    for name, objects in zip(NAMES, images, strict=True):
        scene = by_name[name[:7]]
        found = scene.gazes[np.argsort(scene.gazes[:, 2])]
        np.testing.assert_allclose(found, gazes_of(objects), atol=1.0)
        assert scene.state == "objects" and {each.angle_period for each in scene.objects} == {360}
    return read


@pytest.mark.parametrize("tool", UPRIGHT)
def test_the_same_upright_boxes_give_the_same_gazes_whatever_exported_them(tmp_path, tool):
    images = truth(turned=False)
    UPRIGHT[tool](tmp_path / "signs", images)
    read = compare(tmp_path / "signs", images)
    assert read.layout == LAYOUTS[tool]
    kinds = {doubt.kind for doubt in read.doubts.found()}
    assert kinds - {"few", "angles", "names"} == ({"splits"} if tool == "coco_of_roboflow" else set())


@pytest.mark.parametrize("tool", TURNED)
def test_the_same_turned_boxes_give_the_same_gazes_where_the_format_has_an_angle(tmp_path, tool):
    images = truth(turned=True)
    TURNED[tool](tmp_path / "signs", images)
    compare(tmp_path / "signs", images)


@pytest.mark.parametrize("tool", ["voc", "yolo", "labelme"])
def test_a_picture_without_a_file_is_not_annotated_and_one_with_an_empty_file_is_empty(tmp_path, tool):
    images = truth(turned=False)
    images[3] = []
    UPRIGHT[tool](tmp_path / "signs", images)
    write_images(tmp_path / "signs", ["later.png"])
    states = {plain(scene.name): scene.state for scene in read_scenes(tmp_path / "signs").scenes}
    assert states["sign 03"] == "empty" and states["later.p"] == "unannotated"
    assert sorted(states.values()).count("objects") == 11


def test_a_file_that_is_broken_is_named_and_its_picture_is_not_taken_as_empty(tmp_path):
    for tool, path, content in (
        ("voc", "Annotations/sign 02.xml", "<annotation><object>"),
        ("yolo", "labels/train/sign 02.txt", b"\xff\xfe\x00"),
        ("labelme", "sign 02.json", "{"),
    ):
        UPRIGHT[tool](tmp_path / tool, truth(turned=False))
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / tool / path).write_bytes(data)
        read = read_scenes(tmp_path / tool)
        (doubt,) = [each for each in read.doubts.found() if each.kind == "broken_files"]
        assert doubt.count == 1 and "sign 02" in doubt.examples[0]
        assert all(plain(scene.name) != "sign 02" for scene in read.scenes) and len(read.scenes) == 11


def test_files_of_two_layouts_are_refused_and_annotations_json_decides(tmp_path):
    folder, images = tmp_path / "signs", truth(turned=False)
    UPRIGHT["yolo_of_roboflow"](folder, images)
    (folder / "train" / "_annotations.coco.json").write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(BadInput, match=r"several formats, keep one.*: coco \(train/_a.*\); yolo \(.* and 11 more"):
        read_scenes(folder)
    UPRIGHT["coco"](tmp_path / "more", images)
    (tmp_path / "more" / "images" / "sign 01.txt").write_text("0 .5 .5 .1 .1\n")
    assert read_scenes(tmp_path / "more").layout == "coco"


def test_what_is_of_no_known_layout_is_named_with_what_was_seen(tmp_path):
    write_images(tmp_path / "signs")
    (tmp_path / "signs" / "boxes.csv").write_text("name,x,y\n")
    (tmp_path / "signs" / "via.json").write_text(json.dumps({"_via_img_metadata": {}}))
    read = read_scenes(tmp_path / "signs")
    line = read.problems[0]
    assert read.layout == "images" and "no annotations in a known format" in line
    assert "12 .jpg, 1 .csv, 1 .json" in line and "Label Studio" in line
    (tmp_path / "signs" / "via.json").write_text("{")
    with pytest.raises(BadInput, match=r"via\.json: not JSON"):
        read_scenes(tmp_path / "signs")


def test_splits_are_read_together_and_it_is_said(tmp_path):
    UPRIGHT["coco_of_roboflow"](tmp_path / "signs", truth(turned=False))
    read = read_scenes(tmp_path / "signs")
    (doubt,) = [each for each in read.doubts.found() if each.kind == "splits"]
    assert doubt.count == 3 and any("train/_annotations.coco.json (8 images" in example for example in doubt.examples)
    assert len(read_scenes(tmp_path / "signs" / "train").scenes) == 8


def test_of_coco_s_own_files_the_instances_are_read(tmp_path):
    UPRIGHT["coco_of_cvat"](tmp_path / "signs", truth(turned=False))
    document = json.loads((tmp_path / "signs/annotations/instances_default.json").read_text())
    for annotation in document["annotations"]:
        annotation["bbox"] = [0, 0, 50, 50]
    (tmp_path / "signs/annotations/person_keypoints_default.json").write_text(json.dumps(document))
    read = compare(tmp_path / "signs", truth(turned=False))
    assert [each.examples for each in read.doubts.found() if each.kind == "unread_files"] == [
        ["annotations/person_keypoints_default.json"]
    ]


def test_corners_that_a_program_sorted_tell_no_upper_side(tmp_path):
    """Each box's corners begin at that which is uppermost in the image, as cv2.minAreaRect and its like leave them."""
    images = [[(x, y, w, h, d % 90) for x, y, w, h, d in objects] for objects in truth(turned=True)]
    yolo_obb(tmp_path / "signs", images)
    read = read_scenes(tmp_path / "signs")
    assert {each.angle_period for scene in read.scenes for each in scene.objects} == {90}
    assert "sorted_corners" in {doubt.kind for doubt in read.doubts.found()}
    assert all(abs(scene.gazes[:, 1]).max() <= abs(scene.gazes[:, 0]).max() + 1e-9 for scene in read.scenes)


def test_corners_that_go_round_the_other_way_are_known_up_to_quarter_turns(tmp_path):
    def backwards(*box):
        from exports import corners_of

        corners = corners_of(*box)[::-1]
        return "0 " + " ".join(f"{p / SIZE[0]:.6f} {q / SIZE[1]:.6f}" for p, q in corners)

    yolo(tmp_path / "signs", truth(turned=True), backwards)
    read = read_scenes(tmp_path / "signs")
    assert {each.angle_period for scene in read.scenes for each in scene.objects} == {90}


def test_yolo_polygons_poses_and_probabilities_are_told_apart(tmp_path):
    folder = tmp_path / "signs"
    write_images(folder, NAMES[:4])
    lines = (
        "0 .5 .5 .2 .4 .93\n",  # a box with its probability
        "0 .4 .4 .6 .4 .6 .6 .5 .7 .4 .6\n",  # a polygon of five corners: then four corners are one too
        "0 .4 .4 .6 .4 .6 .6 .4 .6\n",
        "1 .5 .5 .2 .2\nx .5 .5 .1 .1\n0 .5 .5\n0 160 120 40 40\n",
    )
    for name, text in zip(NAMES[:4], lines, strict=True):
        (folder / f"{name[:-4]}.txt").write_text(text)
    (folder / "data.yaml").write_text("names: [sign, other]\n")
    read = read_scenes(folder, category="sign")
    periods = [[each.angle_period for each in scene.objects] for scene in read.scenes]
    assert periods[0] == [360] and periods[2] == [90] and periods[3] == []
    np.testing.assert_allclose(read.scenes[0].gazes, [[32, 0, 160, 120]])
    poses = tmp_path / "poses"
    write_images(poses, NAMES[:6])
    for name in NAMES[:6]:
        (poses / f"{name[:-4]}.txt").write_text("0 .5 .5 .2 .4 .4 .4 2 .6 .4 1 0 0 0\n")
    (poses / "data.yaml").write_text("names: {0: face}\nkpt_shape: [3, 3]\n")
    read = read_scenes(poses, canonical={"1": (-0.5, 0.0), "2": (0.5, 0.0)})
    np.testing.assert_allclose(read.scenes[0].gazes, [[64, 0, 160, 96]])
    np.testing.assert_allclose(read.scenes[0].objects[0].extent.upright(), [128, 72, 192, 168])


def test_yaml_that_refers_to_itself_or_is_none_is_one_line(tmp_path):
    yolo(tmp_path / "signs", truth(turned=False))
    for text in ("a: &a [1]\nnames: [*a, *a]\n", "names: [", "names: " + "[" * 5000):
        (tmp_path / "signs" / "data.yaml").write_text(text)
        with pytest.raises(BadInput, match="not YAML") as caught:
            read_scenes(tmp_path / "signs")
        assert "\n" not in str(caught.value)


ENTITIES = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "{}">]>
<annotation><filename>&x;</filename><object><name>&x;</name></object></annotation>"""


@pytest.mark.parametrize("entity", ["lol" * 10, '" SYSTEM "file:///etc/passwd'])
def test_xml_with_entities_is_not_read(tmp_path, entity):
    UPRIGHT["voc"](tmp_path / "signs", truth(turned=False))
    (tmp_path / "signs/Annotations/sign 00.xml").write_text(ENTITIES.format(entity).replace('""', '"'))
    read = read_scenes(tmp_path / "signs")
    assert any("entities" in line for line in read.problems) and len(read.scenes) == 11


def test_no_name_in_any_layout_leads_outside_the_folder(tmp_path):
    write_images(tmp_path, ["secret.jpg"])
    for tool, path in (("cvat", "annotations.xml"), ("label_studio", None), ("labelme", "sign 00.json")):
        folder = tmp_path / tool
        UPRIGHT[tool](folder, truth(turned=False))
        file = folder / path if path else next(folder.glob("*.json"))
        text = file.read_text()
        if tool == "labelme":
            (folder / "sign 00.jpg").unlink()
        first = {"cvat": "sign 00.jpg", "label_studio": "/data/upload/3/00000000-sign_00.jpg", "labelme": "sign 00.jpg"}
        file.write_text(text.replace(first[tool], "../secret.jpg"))
        read = read_scenes(folder)
        assert all("secret" not in scene.path for scene in read.scenes) and len(read.scenes) == 11
        assert any("../secret.jpg" in line for line in read.problems)
