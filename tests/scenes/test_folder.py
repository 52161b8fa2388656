import json
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import BadInput
from foveate.scenes.folder import parse_select, read_image, read_scenes
from foveate.scenes.layouts.names import Resolver


@pytest.fixture
def scenes_of(make, saved, tmp_path):
    """`scenes_of(document, {name: bytes}, **options)` writes a SCENES folder and reads it."""

    def call(document, files, **options):
        for name, data in files.items():
            saved(f"scenes/{name}", data)
        if document is not None:
            saved("scenes/annotations.json", json.dumps(document).encode())
        return read_scenes(tmp_path / "scenes", **options)

    return call


def annotated(names, boxes=None, sizes=None):
    """COCO with one disc a picture; ids count from 0."""
    images = [{"id": index, "file_name": name} for index, name in enumerate(names)]
    for image, size in zip(images, sizes or [], strict=False):
        image["width"], image["height"] = size
    annotations = [
        {"id": index, "image_id": index, "category_id": 0, "bbox": list(box)}
        for index, box in enumerate(boxes or [(10, 8, 20, 20)] * len(names))
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "disc"}]}


@pytest.fixture
def png(make):
    return make.encode(make.photograph(), "PNG")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:100", slice(0, 100)),
        (":5", slice(None, 5)),
        ("60:", slice(60, None)),
        (" -5 : ", slice(-5, None)),
        (":", slice(None)),
    ],
)
def test_select_is_a_slice(text, expected):
    assert parse_select(text) == expected


@pytest.mark.parametrize("text", ["", "5", "a:b", "1:2:3", "1.5:2", "0x1:2", "٣:4", "1;2", ":" + "9" * 400])
def test_select_refuses_anything_else(text):
    with pytest.raises(BadInput, match="START:STOP"):
        parse_select(text)


def test_selection_is_of_images_sorted_by_name_and_never_empty(scenes_of, png):
    names = ["images/c.png", "images/a.png", "b.png", "images/10.png"]
    files = {name: png for name in names}
    every = scenes_of(annotated(names), files)
    assert [scene.name for scene in every.scenes] == ["b.png", "images/10.png", "images/a.png", "images/c.png"]
    some = scenes_of(annotated(names), files, select=slice(-2, None))
    assert [scene.name for scene in some.scenes] == ["images/a.png", "images/c.png"]
    with pytest.raises(BadInput, match="none of 4 images"):
        scenes_of(annotated(names), files, select=slice(4, 9))


def test_scene_carries_its_file_its_size_and_its_gazes(scenes_of, make):
    data = make.encode(make.photograph(), "JPEG")
    (scene,) = scenes_of(annotated(["a.jpg"], [(10, 8, 20, 30)], [(64, 48)]), {"images/a.jpg": data}).scenes
    assert (scene.name, scene.width, scene.height) == ("images/a.jpg", 64, 48)
    assert read_image(scene.path).shape == (48, 64, 3)
    np.testing.assert_array_equal(scene.gazes, [[10, 0, 20, 23]])
    assert scene.ignore.shape == (0, 4)


FILES = (
    "images/bee.png",
    "images/caf\u00e9.png",
    "images/honeybee.png",
    "images/a b.png",
    "images/100%25.png",
    "images/1/x.png",
    "images/2/x.png",
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("bee.png", "images/bee.png"),
        ("images/bee.png", "images/bee.png"),
        ("images\\bee.png", "images/bee.png"),
        ("./images//bee.png", "images/bee.png"),
        ("..\\..\\up\\4\\honeybee.png", "images/honeybee.png"),
        ("a%20b.png", "images/a b.png"),
        ("images%5Ca%20b.png", "images/a b.png"),
        ("100%25.png", "images/100%25.png"),
        ("/data/upload/1/bee.png", "images/bee.png"),
        ("C:\\Users\\me\\bee.png", "images/bee.png"),
        ("https://example.org/media/a%20b.png?size=1#x", "images/a b.png"),
        ("file:///somewhere/bee.png", "images/bee.png"),
        ("images/../images/bee.png", "images/bee.png"),
        ("images\\1/x.png", "images/1/x.png"),
        ("/data/2/x.png", "images/2/x.png"),
        ("x.png", ["images/1/x.png", "images/2/x.png"]),
        ("ee.png", []),
        ("BEE.png", "images/bee.png"),
        ("cafe\u0301.png", "images/caf\u00e9.png"),
        ("https://[bad", []),
        ("..", []),
        ("images", []),
    ],
)
def test_file_names_are_found_as_tools_write_them(saved, tmp_path, png, name, found):
    for file in FILES:
        saved(f"scenes/{file}", png)
    resolver = Resolver(tmp_path / "scenes")
    assert (resolver.exact(name) or resolver.alike(name)) == found


def test_absolute_path_into_the_folder_itself_is_exact(saved, tmp_path, png):
    path = saved("scenes/images/bee.png", png)
    assert Resolver(tmp_path / "scenes").exact(str(path)) == "images/bee.png"


PARTS = st.sampled_from(
    [
        "..",
        ".",
        "",
        "images",
        "secret.png",
        "scenes",
        "a.png",
        "%2e%2e",
        "%2F",
        "..%5c",
        "\0",
        "\ud800",
        "~",
        "C:",
        "x" * 300,
    ]
)


@given(parts=st.lists(PARTS, min_size=1, max_size=6), separator=st.sampled_from(["/", "\\", "%2f"]), root=st.booleans())
def test_no_name_leads_outside_the_folder(tmp_path_factory, parts, separator, root):
    folder = tmp_path_factory.getbasetemp() / "outside"
    if not folder.exists():
        (folder / "scenes/images").mkdir(parents=True)
        (folder / "scenes/images/a.png").touch()
        (folder / "secret.png").touch()
    name = (f"{folder}{separator}" if root else "") + separator.join(parts)
    resolver = Resolver(folder / "scenes")
    for found in (resolver.exact(name), resolver.alike(name)):
        for place in [found] if isinstance(found, str) else found or []:
            path = os.path.realpath(folder / "scenes" / place)
            assert path.startswith(f"{folder / 'scenes'}{os.sep}")


def test_names_that_lead_outside_are_missing_even_if_the_file_is_there(scenes_of, saved, png):
    outside = saved("secret.png", png)
    names = ["a.png", "b.png", "c.png", "../secret.png", str(outside)]
    found = scenes_of(annotated(names), {name: png for name in names[:3]})
    assert [scene.name for scene in found.scenes] == ["a.png", "b.png", "c.png"]
    assert found.problems[0].startswith("2 of 5 images are missing: ../secret.png; ")


def test_missing_images_are_named_and_too_many_of_them_refused(scenes_of, png):
    files = {"images/1/x.png": png, "images/2/x.png": png, "a.png": png, "b.png": png}
    found = scenes_of(annotated(["a.png", "b.png", "x.png"]), files)
    line = "1 of 3 images are missing: x.png (could be images/1/x.png or images/2/x.png)"
    assert found.problems[0] == line and "2 images in the folder are not in the annotation file" in found.problems[1]
    with pytest.raises(BadInput, match=r"3 of 4 images are missing: c\.png; d\.png; e\.png"):
        scenes_of(annotated(["a.png", "c.png", "d.png", "e.png"]), files)


def test_missing_images_and_unusable_annotations_are_told_each_in_a_line(scenes_of, png):
    document = annotated(["a.png", "b.png", "c.png"], [(10, 8, 20, 20), (10, 8, 20, 20), (0, 0, 0, 0)])
    document["annotations"].append({"id": 9, "image_id": 9, "category_id": 0, "bbox": [10, 8, 20, 20]})
    missing, strays, unusable, _ = scenes_of(document, {"a.png": png, "b.png": png}).problems
    assert strays == "1 of 4 annotations are of images that are not listed: id 9"
    assert "id 2" in unusable and missing == "1 of 3 images are missing: c.png"
    document["images"] += [{"id": 10, "file_name": "d.png"}, {"id": 11, "file_name": "e.png"}]
    with pytest.raises(BadInput, match=r"scenes: 3 of 5 images are missing: c\.png; d\.png; e\.png"):
        scenes_of(document, {})


def test_two_pictures_of_one_base_name_are_not_the_one_file_that_is_there(scenes_of, png):
    files = {"images/x.png": png, "a.png": png, "b.png": png, "c.png": png}
    found = scenes_of(annotated(["a.png", "b.png", "c.png", "day1/x.png", "day2/x.png"]), files)
    assert [scene.name for scene in found.scenes] == ["a.png", "b.png", "c.png"]
    assert "day1/x.png (could be images/x.png, as could another entry)" in found.problems[0]
    found = scenes_of(annotated(["a.png", "b.png", "images/x.png", "day2/x.png"]), files)
    assert [scene.name for scene in found.scenes] == ["a.png", "b.png", "images/x.png"]


def test_one_picture_listed_twice_is_one_scene_with_every_object_once(scenes_of, png):
    names = ["images/a.png", "a.png", "a.png"]
    found = scenes_of(annotated(names, [(10, 8, 20, 20), (10, 8, 20, 20), (30, 8, 20, 20)]), {"images/a.png": png})
    (scene,) = found.scenes
    np.testing.assert_array_equal(scene.gazes, [[10, 0, 20, 18], [10, 0, 40, 18]])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("shrink", [1, 2])
def test_annotations_of_the_stored_rows_are_turned_upright(scenes_of, make, orientation, shrink):
    """The object is a bright square in the stored picture; its gaze has to lie on it, and turn with it."""
    stored = np.zeros((120, 200, 3), dtype=np.uint8)
    stored[30:50, 140:160] = 255
    data = make.encode(stored, "PNG", exif=make.exif_of(orientation))
    box = (140 / shrink, 30 / shrink, 20 / shrink, 20 / shrink)
    document = annotated(["a.png"], [box], [(200 // shrink, 120 // shrink)])
    if orientation == 3:  # a half turn exchanges no sides: the size says that the tool saw the upright picture
        document["annotations"][0]["bbox"] = [(200 - 160) / shrink, (120 - 50) / shrink, 20 / shrink, 20 / shrink]
    (scene,) = scenes_of(document, {"a.png": data}).scenes
    rows, columns, _ = np.nonzero(read_image(scene.path))
    (u,) = scene.gazes
    np.testing.assert_allclose(u[2:], (columns.mean() + 0.5, rows.mean() + 0.5))
    assert math.hypot(u[0], u[1]) == pytest.approx(10)
    assert math.degrees(math.atan2(u[1], u[0])) == pytest.approx({1: 0, 3: 0, 6: 90, 8: -90}[orientation])


def test_regions_left_out_turn_with_the_picture(scenes_of, make):
    stored = np.zeros((120, 200, 3), dtype=np.uint8)
    document = annotated(["a.png"], [(140, 30, 40, 20)], [(200, 120)])
    document["annotations"][0]["iscrowd"] = 1
    (scene,) = scenes_of(document, {"a.png": make.encode(stored, "PNG", exif=make.exif_of(6))}).scenes
    assert (scene.width, scene.height) == (120, 200)
    np.testing.assert_array_equal(scene.ignore, [[70, 140, 90, 180]])
    whole = annotated(["a.png"])
    whole["annotations"][0] = {"id": 0, "image_id": 0, "category_id": 0, "iscrowd": 1}
    (scene,) = scenes_of(whole, {"a.png": make.encode(stored, "PNG", exif=make.exif_of(6))}).scenes
    np.testing.assert_array_equal(scene.ignore, [[0, 0, 120, 200]])


def test_annotations_of_another_picture_s_size_are_not_believed(scenes_of, png):
    document = annotated(["a.png", "b.png", "c.png"], sizes=[(64, 48), (48, 64), (64, 48)])
    found = scenes_of(document, {"a.png": png, "b.png": png, "c.png": png})
    assert [scene.name for scene in found.scenes] == ["a.png", "c.png"]
    assert found.problems[0].endswith("b.png: 64 x 48 pixels, but its annotations are for 48 x 64")


def test_unreadable_pictures_are_named_and_skipped_until_they_are_most(scenes_of, png):
    names = ["a.png", "b.png", "c.png", "d.png"]
    good = {name: png for name in names}
    found = scenes_of(annotated(names), good | {"b.png": b""})
    assert [scene.name for scene in found.scenes] == ["a.png", "c.png", "d.png"]
    unreadable = [line for line in found.problems if "can't be used" in line]
    assert len(unreadable) == 1 and unreadable[0].endswith("b.png: the file is empty")
    with pytest.raises(BadInput, match=r"3 of 4 images can't be used; the first: .*a\.png: the file is empty"):
        scenes_of(annotated(names), good | {"a.png": b"", "b.png": b"", "c.png": b"x"})


def test_plain_folder_is_scenes_without_objects(scenes_of, png, make):
    files = {"b/c.png": png, "a.png": png, "notes.txt": b"hello", "b/x": make.encode(make.photograph(), "JPEG")}
    found = scenes_of(None, files)
    assert [scene.name for scene in found.scenes] == ["a.png", "b/c.png", "b/x"]
    assert found.category is None and all(scene.gazes.shape == (0, 4) for scene in found.scenes)
    with pytest.raises(BadInput, match="no category 'disc'"):
        scenes_of(None, files, category="disc")
    unlisted = scenes_of(annotated(["a.png"]), files, annotated=False)
    assert len(unlisted.scenes) == 3 and unlisted.category is None


def test_folders_that_are_none_or_empty_are_refused(tmp_path, saved):
    saved("empty/notes.txt", b"hello")
    saved("listed/annotations.json", b'{"images": []}')
    os.mkfifo(tmp_path / "listed/pipe")
    for name, reason in (
        ("missing", "not a folder"),
        ("empty", "no images"),
        ("listed", "no images"),
        ("listed/pipe", "not a"),
    ):
        with pytest.raises(BadInput, match=reason):
            read_scenes(tmp_path / name)
    (tmp_path / "listed/annotations.json").unlink()
    os.mkfifo(tmp_path / "listed/annotations.json")
    with pytest.raises(BadInput, match="not a file"):
        read_scenes(tmp_path / "listed")


def test_reading_writes_nothing_and_counts_what_it_reads(scenes_of, png, tmp_path):
    scenes_of(annotated(["a.png", "b.png"]), {"a.png": png, "b.png": png})
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "scenes").rglob("*"))
    done = []
    read_scenes(tmp_path / "scenes", tick=done.append)
    assert done == [1, 2]
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "scenes").rglob("*")) == before
