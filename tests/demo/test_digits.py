import json
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from foveate.demo import digits, photographs
from foveate.demo.digits import CANONICAL, DEMO_SPLITS, KNOWN, NEW, handwriting, make_scene, pool, write_digit_scenes
from foveate.demo.strokes import FRAME, draw, light_colour, outline
from foveate.errors import BadInput
from foveate.scenes.folder import read_image, read_scenes
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids


def test_a_scene_is_the_same_however_many_are_made_and_differs_from_all_others(tmp_path):
    write_digit_scenes(tmp_path / "few", KNOWN, 2, seed=5, start=3)
    write_digit_scenes(tmp_path / "more", KNOWN, 4, seed=5, start=1)
    for index in (3, 4):
        name = f"images/{index:05d}.jpg"
        assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "more" / name).read_bytes()
    base = make_scene(KNOWN, 5, 3)
    np.testing.assert_array_equal(base.pixels, make_scene(KNOWN, 5, 3).pixels)
    for other in (
        make_scene(KNOWN, 6, 3),
        make_scene(KNOWN, 5, 4),
        make_scene(NEW, 5, 3),
        make_scene(KNOWN, 5, 3, "test"),
    ):
        assert other.pixels.shape != base.pixels.shape or (other.pixels != base.pixels).mean() > 0.5


def test_written_folder_reads_back_with_its_gazes_and_classes(tmp_path):
    write_digit_scenes(tmp_path / "scenes", NEW, 4, seed=1, split="test")
    found = read_scenes(tmp_path / "scenes")
    assert (found.category, len(found.scenes)) == ("digit", 4)
    assert [problem.split(":")[0] for problem in found.problems] == ["only 4 images have an object"]
    document = json.loads((tmp_path / "scenes/annotations.json").read_text())
    assert document["info"]["canonical"] == {name: list(point) for name, point in CANONICAL.items()}
    for index, scene in enumerate(found.scenes):
        made = make_scene(NEW, 1, index, "test")
        assert (scene.height, scene.width) == made.pixels.shape[:2]
        np.testing.assert_allclose(scene.gazes, made.gazes, atol=2e-3)
        assert [each["digit"] for each in document["annotations"] if each["image_id"] == index] == made.digits.tolist()
        difference = read_image(scene.path).astype(float) - made.pixels
        assert np.sqrt((difference**2).mean()) < 4  # JPEG's loss


def test_digits_have_the_sizes_and_angles_that_are_promised_and_lie_in_the_picture():
    rng = np.random.default_rng(0)
    gazes = np.array([digits._places(rng, 1, 240, 300)[0] for _ in range(2000)])
    size = 2 * FRAME * np.hypot(gazes[:, 0], gazes[:, 1])
    angle = np.degrees(np.arctan2(gazes[:, 1], gazes[:, 0]))
    assert 20 <= size.min() < 20.5 and 155 < size.max() <= 160
    assert -30 <= angle.min() < -29.5 and 29.5 < angle.max() <= 30
    corners = np.array([[-FRAME, -FRAME], [FRAME, -FRAME], [FRAME, FRAME], [-FRAME, FRAME]])
    x = gazes[:, :1] * corners[:, 0] - gazes[:, 1:2] * corners[:, 1] + gazes[:, 2:3]
    y = gazes[:, 1:2] * corners[:, 0] + gazes[:, :1] * corners[:, 1] + gazes[:, 3:]
    assert x.min() >= -1e-9 and y.min() >= -1e-9 and x.max() <= 300 + 1e-9 and y.max() <= 240 + 1e-9


def test_several_digits_keep_apart_and_none_leaves_only_clutter():
    for index in range(5):
        scene = make_scene(KNOWN, 2, index, objects=3)
        reach = np.hypot(scene.gazes[:, 0], scene.gazes[:, 1])
        apart = np.hypot(*(scene.gazes[:, None, 2:] - scene.gazes[None, :, 2:]).transpose(2, 0, 1))
        assert (apart + 1e9 * np.eye(len(reach)) > 1.1 * (reach[:, None] + reach[None, :])).all()
        assert 1 <= len(scene.digits) <= 3
    assert make_scene(KNOWN, 2, 0, objects=0).gazes.shape == (0, 4)


def test_training_and_testing_share_no_handwriting_and_no_part_of_a_photograph():
    for classes in (KNOWN, NEW, range(10)):
        train, test = set(pool(classes, "train")), set(pool(classes, "test"))
        assert not train & test and len(train | test) == np.isin(handwriting()[1], list(classes)).sum()
    assert set(KNOWN) | set(NEW) == set(range(10)) and not set(KNOWN) & set(NEW)
    assert DEMO_SPLITS["new"] == (NEW, "train") and DEMO_SPLITS["test-new"] == (NEW, "test")


@pytest.mark.parametrize("test", [False, True])
def test_crops_come_from_their_own_part_of_the_photographs(monkeypatch, test):
    marked = np.zeros((300, 451, 3), dtype=np.uint8)
    marked[:, : round(451 * 0.65)] = 200
    monkeypatch.setattr(photographs, "photograph", lambda name: marked)
    for seed in range(20):
        crop = photographs.crop(np.random.default_rng(seed), 224, 320, test=test)
        assert crop.shape == (224, 320, 3)
        assert (crop == 0).all() if test else crop.min() > 0.6


def test_every_photograph_is_there_without_a_download():
    for name in photographs.NAMES:
        picture = photographs.photograph(name)
        assert picture.dtype == np.uint8 and picture.shape[2] == 3 and min(picture.shape[:2]) >= 300
        assert picture.std() > 5


def test_a_missing_extra_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(photographs.MissingExtra, match=r"foveate\[demo\]"):
        photographs.photograph.__wrapped__("coffee")


def test_strokes_stand_out_from_their_ground():
    """In the aligned window, what is ink is lighter than what is paper by about the promised contrast."""
    ink, _ = handwriting()
    gaps = []
    for index in range(40):
        scene = make_scene(KNOWN, 11, index)
        pyramids = Pyramids.from_images([scene.pixels])
        window = glimpses(pyramids, np.zeros(1, dtype=np.int64), torch.from_numpy(scene.gazes).float())[0].numpy()
        light = photographs.luminance(window.transpose(1, 2, 0))
        match = np.asarray(Image.fromarray(_in_window(ink[scene.samples[0]])).resize((24, 24)))
        gaps.append(light[match > 0.9].mean() - np.quantile(light[match < 0.05], 0.8))
    assert np.median(gaps) > 0.4 and min(gaps) > 0.2


def _in_window(cells):
    """The outline of a digit seen through its canonical window, 96x96."""
    canvas = np.zeros((96, 96, 3), dtype=np.float32)
    draw(canvas, cells, np.array([48.0, 0.0, 48.0, 48.0]), np.ones(3))
    return canvas[:, :, 0]


def test_a_digit_is_drawn_where_its_gaze_says():
    """The centre of mass of what is drawn is that of the cells, carried by the gaze; angles turn x towards y."""
    cells = np.zeros((8, 8))
    cells[1:3, 5:7] = 1.0  # centre at column 6, row 2 of 8
    mark = FRAME * np.array([6 / 4 - 1, 2 / 4 - 1])
    for angle in (0.0, 0.5, -0.5, math.pi / 2, 3.0):
        for scale in (13.0, 60.0, 150.0):
            u = np.array([scale * math.cos(angle), scale * math.sin(angle), 203.3, 198.9])
            canvas = np.zeros((400, 400, 3), dtype=np.float32)
            draw(canvas, cells, u, np.ones(3))
            rows, columns = np.mgrid[0:400, 0:400] + 0.5
            weight = canvas[:, :, 0]
            centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
            expected = np.array([[u[0], -u[1]], [u[1], u[0]]]) @ mark + u[2:]
            np.testing.assert_allclose(centre, expected, atol=0.02 * scale / 8 + 0.05)


def test_outline_is_smooth_and_within_bounds_and_paper_stays_paper():
    ink, _ = handwriting()
    for cells in ink[:50]:
        shape = outline(cells)
        assert shape.min() == 0 and 0.9 < shape.max() <= 1
        assert np.abs(np.diff(shape, axis=0)).max() < 0.6
        assert shape[:5].max() == 0 and shape[-5:].max() == 0 and shape[:, :5].max() == 0
    assert outline(np.zeros((8, 8))).max() == 0


def test_colour_has_the_luminance_that_is_asked_for_and_any_hue():
    rng = np.random.default_rng(3)
    colours = np.array([light_colour(rng, 0.6, 0.9) for _ in range(500)])
    light = photographs.luminance(colours)
    assert colours.min() >= 0 and colours.max() <= 1 + 1e-9
    assert light.min() >= 0.6 - 1e-6 and light.max() <= 0.9 + 1e-6
    assert np.bincount(colours.argmax(1), minlength=3).min() > 80


@pytest.mark.parametrize("options", [{"count": 0}, {"classes": ()}, {"classes": (11,)}, {"split": "validation"}])
def test_wrong_arguments_are_named(tmp_path, options):
    with pytest.raises(BadInput):
        write_digit_scenes(tmp_path / "scenes", **{"classes": KNOWN, "count": 1, "seed": 0, **options})
    (tmp_path / "file").touch()
    with pytest.raises(BadInput):
        write_digit_scenes(tmp_path / "file", KNOWN, 1, 0)
