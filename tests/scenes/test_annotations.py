import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import BadInput
from foveate.scenes.annotations import FACE_POINTS, choose_category, of_document
from foveate.scenes.layouts import coco
from foveate.scenes.layouts.documents import load_json
from foveate.scenes.layouts.keypoints import check_canonical
from foveate.scenes.layouts.shapes import Unusable


def image(identity=1, name="a.png", **more):
    return {"id": identity, "file_name": name, "width": 100, "height": 80, **more}


def box(x=10, y=20, width=30, height=40, identity=1, image_id=1, category_id=1, **more):
    return {"id": identity, "image_id": image_id, "category_id": category_id, "bbox": [x, y, width, height], **more}


DISC = {"id": 1, "name": "disc"}
FACE = {"id": 1, "name": "face", "keypoints": list(FACE_POINTS)}


def outline(annotation):
    return coco.outline(annotation)[0]


def understood(path, category=None, canonical=None, usual=None):
    """A COCO file as `read_scenes` takes it: the gazes and the regions of every image, in the file's own pixels."""
    told = coco.understand(load_json(str(path)), str(path))
    kind = choose_category(told, category, usual)
    found = of_document(told, kind, {**FACE_POINTS, **told.canonical, **(canonical or {})})
    marked = {
        entry.identity: SimpleNamespace(
            gazes=[np.array(each.gaze) for each in records if each.gaze],
            ignore=[each.extent and each.extent.upright() for each in records if not each.gaze],
            records=records,
        )
        for entry, records in zip(told.entries, found, strict=True)
    }
    return SimpleNamespace(marked=marked, category=kind, problems=told.doubts.lines(), doubts=told.doubts)


@pytest.fixture
def read(tmp_path):
    def call(document, **options):
        path = tmp_path / "annotations.json"
        if isinstance(document, bytes):
            path.write_bytes(document)
        else:
            path.write_text(json.dumps(document))
        return understood(path, **options)

    return call


def document(annotations, images=None, categories=(DISC,), **more):
    return {"images": images or [image()], "annotations": annotations, "categories": list(categories), **more}


def points_of(u, canonical=FACE_POINTS):
    """COCO keypoints of a gaze, all labelled."""
    a, b, tx, ty = u
    return [number for x, y in canonical.values() for number in (a * x - b * y + tx, b * x + a * y + ty, 2)]


@given(scale=st.floats(1, 500), angle=st.floats(-math.pi, math.pi), x=st.floats(-1000, 1000), y=st.floats(-1000, 1000))
def test_keypoints_of_any_gaze_give_it_back(tmp_path_factory, scale, angle, x, y):
    u = np.array([scale * math.cos(angle), scale * math.sin(angle), x, y])
    path = tmp_path_factory.mktemp("coco") / "annotations.json"
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": points_of(u)}
    path.write_text(json.dumps(document([annotation], categories=[FACE])))
    np.testing.assert_allclose(understood(path).marked[1].gazes[0], u, rtol=1e-9, atol=1e-7)


def test_keypoints_are_fitted_with_least_squares(read):
    rng = np.random.default_rng(0)
    measured = np.array(points_of((20, 5, 50, 40))).reshape(3, 3)
    measured[:, :2] += rng.normal(0, 2, size=(3, 2))
    annotation = {**box(), "keypoints": measured.ravel().tolist()}
    found = read(document([annotation], categories=[FACE])).marked[1].gazes[0]
    rows = [[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in FACE_POINTS.values()]
    expected = np.linalg.lstsq(np.reshape(rows, (6, 4)), measured[:, :2].ravel(), rcond=None)[0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_unlabelled_keypoints_do_not_count_and_one_alone_tells_no_gaze(read):
    points = points_of((20, 5, 50, 40))
    two = [*points[:6], 0, 0, 0]
    occluded = [*points[:5], 1, *points[6:]]
    lone = points[:3] + [0, 0, 0] * 2
    annotations = [{**box(identity=i), "keypoints": each} for i, each in enumerate((points, two, occluded, lone))]
    found = read(document(annotations, categories=[FACE]))
    np.testing.assert_allclose(found.marked[1].gazes, [[20, 5, 50, 40]] * 3, atol=1e-9)
    assert found.marked[1].ignore == [(10, 20, 40, 60)]
    assert found.problems == [
        "1 of 4 annotations have no usable box or keypoints and are left out: "
        "a.png, id 3: fewer than two keypoints are labelled"
    ]


def test_canonical_points_come_from_the_caller_then_the_file_then_the_default(read):
    away = {name: (x / 2, y / 2) for name, (x, y) in FACE_POINTS.items()}
    annotation = {**box(), "keypoints": points_of((20, 5, 50, 40))}
    in_file = document([annotation], categories=[FACE], info={"canonical": away})
    np.testing.assert_allclose(read(in_file).marked[1].gazes[0], (40, 10, 50, 40), atol=1e-9)
    np.testing.assert_allclose(read(in_file, canonical=FACE_POINTS).marked[1].gazes[0], (20, 5, 50, 40), atol=1e-9)


@pytest.mark.parametrize(
    "points", [[1, 2], {"a": 1}, {"a": [1]}, {"a": [1, "2"]}, {"a": [1, math.nan]}, {"a": [True, 0]}, {"a": [1, 2, 3]}]
)
def test_canonical_points_are_checked(points):
    with pytest.raises(BadInput, match="canonical"):
        check_canonical(points, "canonical")


def test_boxes_give_the_inscribed_upright_square(read):
    found = read(document([box(10, 20, 30, 40), box(0, 0, 50, 10, identity=2)]))
    np.testing.assert_array_equal(found.marked[1].gazes, [[15, 0, 25, 40], [5, 0, 25, 5]])
    assert (found.category, found.problems) == ("disc", [])


def test_keypoints_without_known_canonical_points_fall_back_to_boxes_and_say_so(read):
    category = {"id": 1, "name": "person", "keypoints": ["nose", "left_knee"]}
    found = read(document([{**box(), "keypoints": [1, 2, 2, 3, 4, 2]}], categories=[category]))
    np.testing.assert_array_equal(found.marked[1].gazes, [[15, 0, 25, 40]])
    assert len(found.problems) == 1 and "the keypoints (nose, left_knee) have no canonical points" in found.problems[0]
    without_boxes = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 2]}
    with pytest.raises(BadInput, match=r"keypoints \(nose, left_knee\) have no canonical points.*\[canonical\]"):
        read(document([without_boxes], categories=[category]))


@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 180, 225, 315, -45])
def test_rotated_boxes_turn_the_window(degrees):
    turn = math.radians(degrees)
    clockwise = outline({**box(10, 20, 30, 40), "attributes": {"rotation": degrees}}).inscribed()
    np.testing.assert_allclose(clockwise, (15 * math.cos(turn), 15 * math.sin(turn), 25, 40), atol=1e-9)
    counter = outline({"bbox": [25, 40, 30, 40, -degrees]}).inscribed()
    np.testing.assert_allclose(counter, clockwise, atol=1e-9)
    corners = np.array([[-15, -20], [15, -20], [15, 20], [-15, 20]]) @ [
        [math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]
    ]  # fmt: skip
    corners += (25, 40)
    upright = (*corners.min(0), *corners.max(0))
    np.testing.assert_allclose(outline({"bbox": [25, 40, 30, 40, -degrees]}).upright(), upright, atol=1e-9)


def test_crowds_are_neither_object_nor_background(read):
    crowd = box(50, 0, 20, 10, identity=2, iscrowd=1, segmentation={"counts": [1, 2], "size": [80, 100]})
    boundless = {
        "id": 3,
        "image_id": 2,
        "category_id": 1,
        "iscrowd": 1,
        "segmentation": {"counts": "abc", "size": [1, 1]},
    }
    other = box(identity=4, category_id=2, iscrowd=1)
    categories = (DISC, {"id": 2, "name": "cross"})
    found = read(document([box(), crowd, boundless, other], [image(), image(2, "b.png")], categories))
    assert len(found.marked[1].gazes) == 1 and found.marked[1].ignore == [(50, 0, 70, 10)]
    assert found.marked[2].gazes == [] and found.marked[2].ignore == [None]
    assert found.category == "disc"


def test_several_used_categories_need_a_choice_and_unused_ones_do_not_count(read):
    categories = [{"id": 0, "name": "shapes"}, {"id": 1, "name": "disc"}, {"id": 2, "name": "cross"}]
    both = document([box(), box(identity=2, category_id=2), box(identity=3, category_id=2)], categories=categories)
    with pytest.raises(BadInput, match=r"choose one category: cross \(2\), disc \(1\)"):
        read(both)
    assert len(read(both, category="cross").marked[1].gazes) == 2
    with pytest.raises(BadInput, match=r"no annotations of 'circle'; annotated kinds: cross \(2\), disc \(1\)"):
        read(both, category="circle")
    assert read(document([box()], categories=categories)).category == "disc"
    only_zero = document([box(category_id=0)], categories=[{"id": 0, "name": "disc"}])
    assert read(only_zero).category == "disc" and len(read(only_zero).marked[1].gazes) == 1
    assert read(both, category="shapes").marked[1].gazes == []


@pytest.mark.parametrize("annotations", [{"annotations": []}, {}, {"annotations": None}])
def test_images_without_annotations_are_scenes_without_objects(read, annotations):
    found = read({"images": [image(), image(2, "b.png")], **annotations})
    assert len(found.marked) == 2 and found.category is None
    assert all(not marked.gazes and not marked.ignore for marked in found.marked.values())


def test_text_ids_are_text(read):
    images = [image("01", "a.png"), image("1", "b.png"), image(2, "c.png"), image("x 3", "d.png")]
    boxes = [box(identity=k, image_id=k) for k in ("01", "1", "2", "x 3")]
    found = read(document(boxes, images))
    assert [len(found.marked[each].gazes) for each in ("01", "1", 2, "x 3")] == [1, 1, 1, 1]
    with pytest.raises(BadInput, match="1 of 1 annotations are of images"):
        read(document([box(image_id="02")], images))


@pytest.mark.parametrize("identity", ["7", 7.0, 7, " 7"])
def test_ids_written_as_text_or_fractions_are_the_same_ids(read, identity):
    found = read(document([box(image_id=identity, category_id="1")], [image(7)], [DISC]))
    assert len(found.marked[7].gazes) == 1
    named = read(document([box(image_id="scan-1")], [image("scan-1")]))
    assert len(named.marked["scan-1"].gazes) == 1


BAD_ANNOTATIONS = {
    "nan": (box(math.nan), "bbox holds nan"),
    "infinite": (box(10, 20, math.inf, 40), "bbox holds inf"),
    "huge": (box(1e300), "bbox holds 1e[+]300"),
    "text": (box("10"), "bbox holds '10'"),
    "truth": (box(True), "bbox holds True"),
    "three numbers": ({**box(), "bbox": [1, 2, 3]}, "is not four numbers"),
    "object": ({**box(), "bbox": {"x": 1}}, "is not four numbers"),
    "no area": (box(10, 20, 0, 40), "has no area"),
    "negative": (box(10, 20, -30, 40), "has no area"),
    "nothing": ({"id": 1, "image_id": 1, "category_id": 1}, "neither keypoints, bbox nor segmentation"),
    "shares": (box(0.1, 0.2, 0.3, 0.4), "smaller than a pixel"),
    "flat polygon": ({"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 2, 2, 3, 3]]}, None),
    "line polygon": ({"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 2, 1, 3, 1]]}, "no area"),
    "rotation": ({**box(), "attributes": {"rotation": "30"}}, "rotation holds '30'"),
}


@pytest.mark.parametrize("name", [name for name, (_, reason) in BAD_ANNOTATIONS.items() if reason])
def test_an_unusable_annotation_is_named_and_its_region_is_no_background(read, name):
    bad, reason = BAD_ANNOTATIONS[name]
    good = [box(identity=2), box(50, identity=3)]
    found = read(document([{**bad, "id": 77}, *good]))
    assert len(found.marked[1].gazes) == 2 and len(found.marked[1].ignore) == 1
    assert len(found.problems) == 1 and "id 77" in found.problems[0]
    with pytest.raises(BadInput, match=reason):
        read(document([bad, {**bad, "id": 2}, good[0]]))


BAD_KEYPOINTS = {
    "nan": ([math.nan, 2, 2, 3, 4, 2, 5, 6, 2], "keypoints holds nan"),
    "text": (["1", 2, 2, 3, 4, 2, 5, 6, 2], "keypoints holds '1'"),
    "pairs": ([1, 2, 3, 4], "three by three"),
    "too few": ([1, 2, 2, 3, 4, 2], "it has 2 keypoints where its category names 3"),
    "none": ([], "it has no keypoints"),
    "one point": ([5, 5, 2] * 3, "lie on one point"),
    "object": ({"nose": [1, 2]}, "three by three"),
}


@pytest.mark.parametrize("name", BAD_KEYPOINTS)
def test_unusable_keypoints_are_named(read, name):
    keypoints, reason = BAD_KEYPOINTS[name]
    good = [{**box(identity=i), "keypoints": points_of((20, 5, 50, 40 + i))} for i in (1, 2)]
    found = read(document([*good, {**box(identity=77), "keypoints": keypoints}], categories=[FACE]))
    assert len(found.marked[1].gazes) == 2 and found.marked[1].ignore == [(10, 20, 40, 60)]
    assert "id 77" in found.problems[0] and reason in found.problems[0]


def test_annotations_of_unknown_images_are_counted_or_refused(read):
    lost = box(identity=9, image_id=99)
    found = read(document([box(), box(50), lost]))
    assert found.problems == ["1 of 3 annotations are of images that are not listed: id 9"]
    with pytest.raises(BadInput, match="2 of 3 annotations are of images that it does not list"):
        read(document([box(), lost, lost]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"[1, 2", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"images": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[]", "not COCO"),
        (b"null", "not COCO"),
        (b"{}", "images is not a list"),
        (b'{"images": {}}', "images is not a list"),
        (b'{"images": [3]}', r"images\[0\] is not an object"),
        (b'{"images": [{"file_name": "a"}]}', r"images\[0\] has no usable id"),
        (b'{"images": [{"id": true, "file_name": "a"}]}', r"images\[0\] has no usable id"),
        (b'{"images": [{"id": [1], "file_name": "a"}]}', r"images\[0\] has no usable id"),
        (b'{"images": [{"id": NaN, "file_name": "a"}]}', r"images\[0\] has no usable id"),
        (b'{"images": [{"id": 1}]}', r"images\[0\] has no file_name"),
        (b'{"images": [{"id": 1, "file_name": 5}]}', r"images\[0\] has no file_name"),
        (
            b'{"images": [{"id": 1, "file_name": "a"}, {"id": 1.0, "file_name": "b"}]}',
            "two images have the id 1: a and b",
        ),
        (b'{"images": [], "annotations": {}}', "annotations is not a list"),
        (b'{"images": [], "annotations": [null]}', r"annotations\[0\] is not an object"),
        (b'{"images": [], "categories": [{"name": "x"}]}', r"categories\[0\] has no usable id"),
        (b'{"images": [], "categories": [{"id": 1, "keypoints": [1]}]}', "are not names"),
    ],
)
def test_a_file_that_can_t_be_used_is_one_line_that_names_it(read, content, reason):
    with pytest.raises(BadInput, match=reason) as caught:
        read(content)
    assert "annotations.json" in str(caught.value) and "\n" not in str(caught.value)


def test_marks_of_byte_order_and_sixteen_bit_text_are_read(read):
    text = json.dumps(document([box()]))
    for encoding in ("utf-8-sig", "utf-16", "utf-32-be"):
        assert len(read(text.encode(encoding)).marked[1].gazes) == 1


def test_nan_where_it_does_not_matter_does_not_matter(read):
    assert len(read(document([box(area=math.nan, score=math.inf)])).marked[1].gazes) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "id",
        "image_id",
        "category_id",
        "bbox",
        "keypoints",
        "segmentation",
        "iscrowd",
        "attributes",
        "file_name",
        "width",
        "name",
    ]
)


@given(st.data())
def test_any_json_in_any_field_is_understood_or_refused_in_one_line(tmp_path_factory, data):
    whole = document(
        [{**box(), "keypoints": points_of((20, 5, 50, 40))}, box(identity=2)], [image(), image(2, "b.png")], [FACE]
    )
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(["images", "annotations", "categories"]))
        if data.draw(st.integers(0, 9)) == 0:
            whole[place] = data.draw(JSON)
        elif isinstance(whole[place], list) and whole[place] and isinstance(whole[place][0], dict):
            whole[place][0][data.draw(FIELDS)] = data.draw(JSON)
    path = tmp_path_factory.mktemp("coco") / "annotations.json"
    path.write_text(json.dumps(whole))
    try:
        found = understood(path)
    except BadInput as error:
        assert "\n" not in str(error)
        return
    for marked in found.marked.values():
        assert all(u.shape == (4,) and np.isfinite(u).all() and math.hypot(u[0], u[1]) >= 0.5 for u in marked.gazes)
        assert all(region is None or np.isfinite(region).all() for region in marked.ignore)


def test_outline_of_garbage_is_unusable():
    for garbage in ({"bbox": []}, {"bbox": "10 20 30 40"}, {"segmentation": "x"}, {"segmentation": [[1, 2], 3]}, {}):
        with pytest.raises(Unusable):
            outline(garbage)
