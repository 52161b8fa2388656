"""What is wrong with a folder and well formed all the same is told, counted and with examples."""

import json
import math

import numpy as np
import pytest
from folders import coco_folder, picture
from PIL import Image

from foveate.errors import BadInput
from foveate.scenes.annotations import FACE_POINTS
from foveate.scenes.doubts import SENTENCES, SHOWN, Doubts
from foveate.scenes.folder import read_scenes

FACE = [{"id": 1, "name": "face", "keypoints": list(FACE_POINTS)}]


def doubts_of(read):
    return {doubt.kind: doubt for doubt in read.doubts.found()}


def one_each(boxes, size=(300, 200), names="{:03}.png"):
    return [(names.format(number), [box]) for number, box in enumerate(boxes)]


def spread(count, side=40, size=(300, 200), seed=0):
    """Boxes of about one size, anywhere inside."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(0.8 * side, 1.2 * side, count)
    return [[rng.uniform(2, size[0] - s - 2), rng.uniform(2, size[1] - s - 2), s, s] for s in sides]


def face(u, exchange=False):
    """Keypoints of a face through a gaze; its eyes exchanged if asked."""
    a, b, tx, ty = u
    points = [(a * x - b * y + tx, b * x + a * y + ty) for x, y in FACE_POINTS.values()]
    if exchange:
        points[0], points[1] = points[1], points[0]
    return {"keypoints": [number for x, y in points for number in (x, y, 2)]}


def test_a_doubt_is_one_line_with_its_count_and_three_examples():
    doubts = Doubts()
    for number in range(5):
        doubts.add("missing", f"{number}.png", total=9)
    (found,) = doubts.found()
    assert found.line() == "5 of 9 images are missing: 0.png; 1.png; 2.png; and 2 more"
    assert found.to_json() == {"kind": "missing", "count": 5, "examples": ["0.png", "1.png", "2.png"]}
    assert SHOWN == 3 and all("\n" not in sentence for sentence in SENTENCES.values())


def test_an_unfinished_labelling_project_is_told_and_ignored_when_asked(tmp_path):
    boxes = spread(8)
    images = [(f"{number:03}.png", [boxes[number]] if number < 8 else []) for number in range(20)]
    folder = coco_folder(tmp_path / "scenes", images)
    read = read_scenes(folder)
    assert doubts_of(read)["unannotated"].line().startswith("12 of 20 images have no annotation and are taken as empty")
    assert [scene.state for scene in read.scenes] == ["objects"] * 8 + ["unannotated"] * 12
    known = read_scenes(folder, unannotated="empty")
    assert "unannotated" not in doubts_of(known)
    assert [scene.state for scene in known.scenes] == ["objects"] * 8 + ["empty"] * 12
    fewer = read_scenes(folder, unannotated="ignore")
    assert len(fewer.scenes) == 8 and doubts_of(fewer)["left_out"].count == 12


def test_crowds_are_counted_and_what_to_do_is_said(tmp_path):
    mask = {"iscrowd": 1, "segmentation": {"size": [200, 300], "counts": [6000, 40, 160, 40, 53760]}}
    read = read_scenes(coco_folder(tmp_path / "scenes", one_each([{"bbox": b, **mask} for b in spread(7)])))
    line = doubts_of(read)["crowds"].line()
    assert line.startswith("7 of 7 annotations are crowds") and "set iscrowd to 0" in line
    few = one_each(spread(7))
    few[0][1].append({"bbox": [1, 1, 90, 90], "iscrowd": 1})
    line = doubts_of(read_scenes(coco_folder(tmp_path / "few", few)))["crowds"].line()
    assert line.startswith("1 of 8") and "set iscrowd" not in line


def test_two_annotators_boxes_three_percent_apart_are_one_object(tmp_path):
    images = [(f"{k}.png", [[x, y, s, s], [x + 0.03 * s, y, s, s]]) for k, (x, y, s, _) in enumerate(spread(9))]
    images[0][1].append([10, 10, 40, 40])
    images[0][1].append([30, 10, 40, 40])  # half a side apart: another object
    read = read_scenes(coco_folder(tmp_path / "scenes", images))
    assert [len(scene.gazes) for scene in read.scenes] == [3] + [1] * 8
    assert doubts_of(read)["near_duplicates"].line().startswith("9 of 20 annotations nearly repeat another")


def test_exchanged_eyes_are_recognised_as_mirrored_and_teach_nothing(tmp_path):
    rng = np.random.default_rng(0)
    turns = rng.normal(0, 0.2, 9)
    gazes = [(s * math.cos(t), s * math.sin(t), 150, 100) for s, t in zip(rng.uniform(30, 50, 9), turns, strict=True)]
    images = [(f"{k}.png", [face(u, exchange=k < 3)]) for k, u in enumerate(gazes)]
    read = read_scenes(coco_folder(tmp_path / "some", images, categories=FACE))
    assert doubts_of(read)["mirrored"].line().startswith("3 of 9 annotations have their keypoints in mirrored order")
    assert [scene.state for scene in read.scenes].count("objects") == 6
    np.testing.assert_allclose([scene.gazes[0] for scene in read.scenes[3:]], gazes[3:], atol=1e-9)
    assert all(len(scene.ignore) == 1 for scene in read.scenes[:3])
    everywhere = [(name, [face(u, exchange=True)]) for (name, _), u in zip(images, gazes, strict=True)]
    with pytest.raises(BadInput, match="9 of 9 annotations have their keypoints in mirrored order"):
        read_scenes(coco_folder(tmp_path / "all", everywhere, categories=FACE))


def test_keypoints_that_fit_badly_are_named(tmp_path):
    images = [(f"{k}.png", [face((40, 0, 150, 100))]) for k in range(8)]
    images[4] = ("4.png", [{"keypoints": [100, 100, 2, 200, 100, 2, 150, 10, 2]}])  # the mouth above the eyes
    read = read_scenes(coco_folder(tmp_path / "scenes", images, categories=FACE))
    (doubt,) = [doubts_of(read)[kind] for kind in ("misfit", "mirrored") if kind in doubts_of(read)]
    assert doubt.count == 1 and doubt.examples == ["4.png, id 5"]


def test_a_box_outside_its_image_is_dropped_with_a_count(tmp_path):
    images = one_each(spread(8))
    images[2][1].append([500, 500, 20, 20])
    images[3][1][:] = [[-60, 20, 40, 40]]
    read = read_scenes(coco_folder(tmp_path / "scenes", images))
    doubt = doubts_of(read)["outside"]
    assert doubt.line().startswith("2 of 9 annotations lie outside their image and are left out: 002.png, id 4; 003.")
    assert sum(len(scene.gazes) for scene in read.scenes) == 7
    assert all((scene.gazes[:, 2:] < (scene.width, scene.height)).all() for scene in read.scenes)


def test_corners_taken_for_width_and_height_are_asked_about(tmp_path):
    corners = [[x, y, x + s, y + s] for x, y, s, _ in spread(40)]
    read = read_scenes(coco_folder(tmp_path / "scenes", one_each(corners)))
    doubt = doubts_of(read)["corners"]
    assert doubt.count > 10 and "are they corners?" in doubt.line()
    assert "corners" not in doubts_of(read_scenes(coco_folder(tmp_path / "right", one_each(spread(40)))))


def test_a_box_that_reaches_out_is_told_and_no_corner(tmp_path):
    images = one_each(spread(12))
    images[0][1][:] = [[280, 100, 60, 60]]
    found = doubts_of(read_scenes(coco_folder(tmp_path / "scenes", images)))
    assert found["reach_out"].count == 1 and "corners" not in found


def test_percent_of_the_image_is_recognised(tmp_path):
    percent = [[x / 6, y / 4, 100 * s / 600, 100 * s / 400] for x, y, s, _ in spread(30, 60, (600, 400))]
    read = read_scenes(coco_folder(tmp_path / "scenes", one_each(percent), size=(600, 400)))
    assert doubts_of(read)["percent"].count == 30
    pixels = spread(30, 60, (600, 400))
    assert "percent" not in doubts_of(read_scenes(coco_folder(tmp_path / "right", one_each(pixels), size=(600, 400))))


def test_shares_of_the_image_are_refused_with_what_they_look_like(tmp_path):
    shares = [[x / 300, y / 200, s / 300, s / 200] for x, y, s, _ in spread(8)]
    with pytest.raises(BadInput, match="shares of the image"):
        read_scenes(coco_folder(tmp_path / "scenes", one_each(shares)))


def test_elongated_boxes_are_told_with_what_becomes_of_them(tmp_path):
    images = one_each(spread(8))
    images[1][1][:] = [[20, 20, 200, 30]]
    assert doubts_of(read_scenes(coco_folder(tmp_path / "scenes", images)))["elongated"].examples == ["001.png, id 2"]


def test_specks_are_dropped_and_tiny_and_huge_objects_told(tmp_path):
    images = one_each(spread(8))
    images[1][1][:] = [[20, 20, 1, 1]]
    images[2][1][:] = [[20, 20, 6, 6]]
    images[3][1][:] = [[50, 0, 200, 200]]
    read = read_scenes(coco_folder(tmp_path / "scenes", images))
    found = doubts_of(read)
    assert [found[kind].examples for kind in ("specks", "tiny", "huge")] == [
        ["001.png, id 2"], ["002.png, id 3"], ["003.png, id 4"]
    ]  # fmt: skip
    assert len(read.scenes[1].gazes) == 0 and len(read.scenes[2].gazes) == 1


def test_objects_far_smaller_than_the_rest_are_told(tmp_path):
    images = one_each(spread(12))
    assert "small" not in doubts_of(read_scenes(coco_folder(tmp_path / "alike", images)))
    images[4][1][:] = [[20, 20, 9, 9]]
    assert doubts_of(read_scenes(coco_folder(tmp_path / "scenes", images)))["small"].examples == ["004.png, id 5"]


def test_sides_at_which_the_picture_cuts_an_object_are_recorded(tmp_path):
    images = one_each([[0, 50, 60, 60], [240, 150, 60, 50], [100, 50, 60, 60], [50, 0, 60, 200], *spread(3)])
    read = read_scenes(coco_folder(tmp_path / "scenes", images))
    sides = [scene.objects[0].cut for scene in read.scenes[:4]]
    assert sides == [("left",), ("right", "bottom"), (), ("top", "bottom")]


@pytest.mark.parametrize("boxes_of", ["displayed", "stored"])
@pytest.mark.parametrize("told", ["displayed", "stored"])
@pytest.mark.parametrize("orientation", [6, 8])
def test_boxes_prove_whether_they_are_of_the_stored_or_of_the_displayed_picture(tmp_path, orientation, told, boxes_of):
    """Half of the objects lie where only one of the two pictures reaches, so that there is something to prove it by."""
    stored_size, shown_size = (300, 200), (200, 300)
    tmp_path.joinpath("scenes").mkdir()
    truths, images = [], []
    for number in range(6):
        x, y = ((240, 100), (60, 50))[number % 2] if boxes_of == "stored" else ((100, 240), (50, 60))[number % 2]
        exif = Image.Exif()
        exif[274] = orientation
        picture(*stored_size, seed=number).save(tmp_path / f"scenes/{number}.png", exif=exif)
        images.append((f"{number}.png", [[x - 10, y - 10, 20, 20]]))
        turned = {6: (200 - y, x), 8: (y, 300 - x)}[orientation]
        truths.append(turned if boxes_of == "stored" else (x, y))
    folder = coco_folder(tmp_path / "scenes", images, size=shown_size if told == "displayed" else stored_size)
    read = read_scenes(folder)
    assert [(scene.width, scene.height) for scene in read.scenes] == [shown_size] * 6
    np.testing.assert_allclose([scene.gazes[0, 2:] for scene in read.scenes], truths)
    if (told, boxes_of) != ("displayed", "displayed"):
        assert doubts_of(read)["orientation"].count == 6
    assert ("as it is stored" in " ".join(read.problems)) == (boxes_of == "stored")


def test_a_size_of_half_is_said_once_and_rescaled_unless_the_boxes_prove_that_they_are_not(tmp_path):
    half = [[x / 2, y / 2, s / 2, s / 2] for x, y, s, _ in spread(8)]
    folder = coco_folder(tmp_path / "half", one_each(half), size=(300, 200))
    document = json.loads((folder / "annotations.json").read_text())
    for image in document["images"]:
        image |= {"width": 150, "height": 100}
    (folder / "annotations.json").write_text(json.dumps(document))
    read = read_scenes(folder)
    line = doubts_of(read)["size"].line()
    assert line.startswith("8 of 8 images differ in size from what their annotations say") and "rescaled" in line
    np.testing.assert_allclose([s.gazes[0, 0] for s in read.scenes], [s[2] / 2 for s in spread(8)])
    for annotation, box in zip(document["annotations"], spread(8), strict=True):
        annotation["bbox"] = box
    (folder / "annotations.json").write_text(json.dumps(document))
    read = read_scenes(folder)
    assert "taken as they are" in doubts_of(read)["size"].line()
    np.testing.assert_allclose([s.gazes[0, 0] for s in read.scenes], [s[2] / 2 for s in spread(8)])


def test_names_in_another_form_or_case_are_found_and_it_is_said(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    picture().save(folder / "cafe\u0301.png")
    picture().save(folder / "IMG_1.PNG")
    others = [("caf\u00e9.png", [[10, 10, 40, 40]]), ("img_1.png", [[9, 9, 40, 40]])]
    boxes = [*one_each(spread(6), names="{}.png"), *others]
    folder = coco_folder(tmp_path / "made", boxes[:6])
    document = json.loads((folder / "annotations.json").read_text())
    for number, (name, ((x, y, w, h),)) in enumerate(boxes[6:], start=7):
        document["images"].append({"id": number, "file_name": name})
        document["annotations"].append({"id": number, "image_id": number, "category_id": 1, "bbox": [x, y, w, h]})
    (folder / "annotations.json").write_text(json.dumps(document))
    for path in (tmp_path / "scenes").iterdir():
        path.rename(folder / path.name)
    read = read_scenes(folder)
    assert len(read.scenes) == 8 and sum(len(scene.gazes) for scene in read.scenes) == 8
    doubt = doubts_of(read)["names"]
    assert doubt.count == 2 and doubt.examples == ["caf\u00e9.png is cafe\u0301.png", "img_1.png is IMG_1.PNG"]


def test_all_angles_equal_and_too_few_objects_are_told(tmp_path):
    found = doubts_of(read_scenes(coco_folder(tmp_path / "scenes", one_each(spread(12)))))
    assert found["angles"].line().startswith("all 12 objects have the same angle, 0 degrees")
    assert found["few"].line().startswith("only 12 images have an object: 6 are needed")
    turned = [{"bbox": box, "rotation": 20.0 * k} for k, box in enumerate(spread(12))]
    assert "angles" not in doubts_of(read_scenes(coco_folder(tmp_path / "turned", one_each(turned))))


def test_several_kinds_are_counted_before_one_has_to_be_chosen(tmp_path):
    kinds = [{"id": 1, "name": "disc"}, {"id": 2, "name": "cross"}]
    boxes = [{"bbox": box, "category_id": 1 + k % 2} for k, box in enumerate(spread(12))]
    folder = coco_folder(tmp_path / "scenes", one_each(boxes), categories=kinds)
    with pytest.raises(BadInput, match="choose one category") as caught:
        read_scenes(folder)
    (doubt,) = [each for each in caught.value.doubts.found() if each.kind == "categories"]
    assert doubt.examples == ["cross (6)", "disc (6)"]
    assert "'disc' is used" in doubts_of(read_scenes(folder, usual="disc"))["categories"].line()


def test_raw_files_pages_and_what_is_no_photograph_are_named(tmp_path):
    folder = coco_folder(tmp_path / "scenes", one_each(spread(8)))
    pages = [picture(60, 40, seed=seed) for seed in (1, 2)]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    others = {
        "scan.pdf": b"%PDF-1.7\n",
        "film.mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2",
        "slice.dcm": bytes(128) + b"DICM",
        "camera.cr3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    }
    for name, head in others.items():
        (folder / name).write_bytes(head + bytes(200))
    document = json.loads((folder / "annotations.json").read_text())
    document["images"].append({"id": 99, "file_name": "pages.tif"})
    (folder / "annotations.json").write_text(json.dumps(document))
    found = doubts_of(read_scenes(folder))
    assert found["pages"].examples == ["pages.tif (2)"]
    assert found["raw"].examples == ["camera.cr3: a raw camera file: develop it first"]
    named = " ".join(found["no_photographs"].examples)
    assert found["no_photographs"].count == 3 and all(word in named for word in ("PDF", "video", "DICOM"))
