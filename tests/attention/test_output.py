"""What attention hands to people and to other programs."""

import json
import math

import numpy as np
import pytest
import torch
from founds import chains, found
from PIL import Image
from records import records
from scipy.ndimage import map_coordinates

from foveate.attention.output import output_name, to_json
from foveate.attention.overlay import TRAIL, crop, draw_overlay, trail_colour
from foveate.errors import BadInput
from foveate.evaluation.turning import turn_image, turn_scene
from foveate.scenes import gaze
from foveate.scenes.folder import Scene
from foveate.scenes.layouts.writing import coco


def at(s, degrees, x, y):
    return [s * math.cos(math.radians(degrees)), s * math.sin(math.radians(degrees)), x, y]


def photograph(height=120, width=160):
    y, x = np.mgrid[:height, :width] + 0.5
    waves = [np.sin(x / 9 + y / 14), np.cos(x / 13 - y / 8), np.sin(x / 11) * np.cos(y / 12)]
    return np.rint(255 * (0.5 + 0.4 * np.stack(waves, axis=-1))).astype(np.uint8)


def line(name, *gazes):
    return {"image": name, "width": 160, "height": 120, "gazes": [to_json(one, 160, 120) for one in gazes]}


def test_a_gaze_is_written_with_the_fields_and_units_of_the_interface():
    written = to_json(found(at(20, 30, 70, 60), trail=[at(40, 0, 80, 60), at(20, 30, 70, 60)]), 160, 120)
    assert written["box"] == pytest.approx([50, 40, 90, 80]) and written["scale"] == pytest.approx(20)
    assert written["angle"] == pytest.approx(30) and written["inside"] == 1.0
    assert len(written["trail"]) == 2 and len(written["u"]) == len(written["std"]) == 4
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert to_json(found(at(20, 0, 0, 0)), 160, 120)["inside"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("u", "angle"),
    [([-9.0, 0.0, 1, 1], 180), ([-9.0, -0.0, 1, 1], 180), ([0.0, -9.0, 1, 1], -90), (at(9, 181, 1, 1), -179)],
)
def test_angles_lie_above_minus_180_and_up_to_180(u, angle):
    assert to_json(found(u), 160, 120)["angle"] == pytest.approx(angle)


def test_what_is_not_finite_is_null_and_diagnostics_come_along_where_there_are_some():
    u = at(20, 0, 70, 60)
    written = to_json(found(u, posterior=chains(u, std=[np.nan] * 4, flags=("not moving",))), 160, 120)
    assert written["std"] == [None] * 4 and written["rhat"] == [1.01, 1.0, 1.0, None]
    assert written["ess"] == [90.0] * 4 and written["acceptance"] == [0.8] * 2 and written["flags"] == ["not moving"]
    alone = to_json(found(u), 160, 120)
    assert "rhat" not in alone and alone["std"] == [None] * 4


def test_a_coco_file_holds_every_image_and_every_gaze_and_its_polygon_is_the_turned_square():
    records = [
        line("in/a/1.png", found(at(20, -30, 70, 60)), found(at(9, 0, 20, 20))),
        line("in/b/1.png"),
        {"image": "in/c.png", "error": "cut off"},
        line("in/b/1.PNG", found(at(15, 180, 60, 60))),
    ]
    file = coco(records, "disc")
    assert [image["file_name"] for image in file["images"]] == ["in/a/1.png", "in/b/1.png", "in/b/1.PNG"]
    assert [one["image_id"] for one in file["annotations"]] == [1, 1, 3]
    assert len({one["id"] for one in file["annotations"]}) == 3 and min(one["id"] for one in file["annotations"]) == 1
    first = file["annotations"][0]
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
    expected = gaze.apply(torch.tensor(first["u"], dtype=torch.float64), corners)
    np.testing.assert_allclose(np.reshape(first["segmentation"], (4, 2)), expected.numpy(), atol=1e-9)
    x, y = np.reshape(first["segmentation"], (4, 2)).T
    assert first["area"] == pytest.approx(abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) / 2)
    assert first["bbox"] == pytest.approx([50, 40, 40, 40]) and first["rotation"] == pytest.approx(330)
    assert file["categories"] == [{"id": 1, "name": "disc", "supercategory": ""}]
    json.dumps(file, allow_nan=False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pycocotools' own, about numpy
def test_pycocotools_loads_the_file(tmp_path):
    tools = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    (tmp_path / "o.json").write_text(json.dumps(coco([line("a.png", found(at(20, 30, 70, 60)))], "disc")))
    loaded = tools.COCO(str(tmp_path / "o.json"))
    (annotation,) = loaded.loadAnns(loaded.getAnnIds(imgIds=[1]))
    assert int(loaded.annToMask(annotation).sum()) == pytest.approx(1600, rel=0.03)


def test_names_of_outputs_never_meet_even_where_case_is_ignored():
    names = [
        "in/a/1.png",
        "in/b/1.png",
        "in/b/1.jpg",
        "in/b/1.PNG",
        "in/B/1.png",
        "in/b1.png",
        "in\\b\\1.png",
        "in/b/1",
        "../1.png",
        "/1.png",
        "",
        ".",
        "con",
        "CON.png",
        "-rf.png",
        "файл.png",
        "e\u0301.png",
        "\u00e9.png",
        "\udcff.png",
        "a" * 300 + ".png",
        "a" * 301 + ".png",
        "x\n<img src=x>.png",
        ".hidden.png",
        "q.tar.gz",
    ]
    outputs = [output_name(name) for name in names]
    assert len({name.casefold() for name in outputs}) == len(names)
    for name in outputs:
        assert name.isascii() and len(name) <= 60 and "/" not in name and name[0].isalnum()
    assert output_name("in/a/1.png") == outputs[0], "a resumed run finds the same name"
    assert outputs[0].startswith("a-1-")


def test_a_crop_shows_what_the_gaze_looks_at():
    image, u = photograph(), at(25, 40, 80, 60)
    seen = np.asarray(crop(image, u, 48), dtype=float)
    centres = (torch.arange(48, dtype=torch.float64) + 0.5) / 24 - 1
    points = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).reshape(-1, 2)
    x, y = gaze.apply(torch.tensor(u, dtype=torch.float64), points).numpy().T
    place = [y - 0.5, x - 0.5]
    expected = np.stack([map_coordinates(image[..., c].astype(float), place, order=3) for c in range(3)], -1)
    assert np.abs(seen - expected.reshape(48, 48, 3)).max() < 4


@pytest.mark.parametrize("degrees", [90, 180, 270, 33])
def test_aligned_crops_of_a_turned_photograph_are_the_same(degrees):
    """Exactly for quarter turns; within resampling else."""
    image, u = photograph(), np.array([at(22.3, 12, 81.7, 60.2)])
    before = np.asarray(crop(image, u[0], 64), dtype=float)
    (moved,) = turn_scene(Scene("a.png", "a.png", 160, 120, records(u)), degrees).gazes
    after = np.asarray(crop(turn_image(image, degrees), moved, 64), dtype=float)
    assert np.abs(before - after).max() <= (1 if degrees % 90 == 0 else 5)


def test_a_crop_beyond_the_border_has_no_seam_and_a_shrunk_one_no_alias():
    white = np.full((50, 50, 3), 240, np.uint8)
    assert (np.asarray(crop(white, at(40, 33, 5, 45), 64)) == 240).all()
    assert (np.asarray(crop(white, at(400, 33, 5, 45), 64)) == 240).all()
    board = np.repeat((np.indices((400, 400)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, -1)
    for s in (60, 100, 190):
        seen = np.asarray(crop(board, at(s, 20, 200, 200), 24), dtype=float)
        assert np.abs(seen - 127.5).max() < 8
    deep = np.full((20, 20, 3), 40000, np.uint16)
    assert (np.asarray(crop(deep, at(9, 0, 10, 10), 8)) == round(40000 / 257)).all()


def test_a_gaze_that_can_not_be_cropped_is_refused():
    for u in ([math.nan, 0, 1, 1], [0.0, 0.0, 1, 1]):
        with pytest.raises(BadInput, match="cropped"):
            crop(photograph(), u, 24)


def marked(image, founds):
    """The overlay, and where it differs from the photograph enlarged the same way."""
    overlay = draw_overlay(image, founds)
    plain = np.asarray(draw_overlay(image, []), dtype=int)
    return np.asarray(overlay), np.abs(np.asarray(overlay, dtype=int) - plain).sum(-1) > 30


def test_the_overlay_draws_the_square_and_its_tick_where_the_object_is():
    grey = np.full((300, 900, 3), 128, np.uint8)
    u = at(60, 90, 450, 150)
    overlay, changed = marked(grey, [found(u)])
    assert overlay.shape == (300, 900, 3)
    for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1), (0.6, -1), (0, -1.15)):
        px, py = gaze.apply(torch.tensor(u), torch.tensor([[float(x), float(y)]]))[0].tolist()
        np.testing.assert_allclose(overlay[int(py), int(px)], TRAIL[-1], atol=40)
    assert not changed[150, 450], "the object itself stays visible"
    assert not changed[:, :330].any() and not changed[:, 560:].any()


def test_the_trail_goes_from_yellow_to_blue_and_uncertainty_is_drawn_as_wide_as_it_is():
    assert trail_colour(0.0) == TRAIL[0] and trail_colour(1.0) == TRAIL[-1]
    grey = np.full((300, 900, 3), 128, np.uint8)
    u = at(60, 0, 600, 150)
    overlay, _ = marked(grey, [found(u, trail=[at(100, 0, 150, 150), u])])
    np.testing.assert_allclose(overlay[150, 50], TRAIL[0], atol=40)
    still = marked(grey, [found(u, posterior=chains(u, [0.0] * 4))])[1].sum()
    areas = [
        marked(grey, [found(u, posterior=chains(u, [1 / 60, 1 / 60, 1, k]))])[1].sum() - still for k in (4.0, 8.0, 16.0)
    ]
    assert 0 < areas[0] < areas[1] < areas[2]


def test_the_ellipse_leans_as_the_draws_of_the_centre_do():
    """Draws along a diagonal: the ellipse reaches far along it and hardly across."""
    grey = np.full((300, 900, 3), 128, np.uint8)
    rng = np.random.default_rng(0)
    along, across = rng.normal(0, 14, 400), rng.normal(0, 2, 400)
    u = at(90, 0, 450, 150)
    draws = np.stack([np.full(400, 90.0), np.zeros(400), 450 + along + across, 150 + along - across], axis=1)
    spread = np.array([0.01, 1e-5, *draws[:, 2:].std(axis=0)])
    _, changed = marked(grey, [found(u, posterior=chains(u, spread, draws=draws[None]))])
    assert changed[150 + 20, 450 + 20] and changed[150 - 20, 450 - 20]
    assert not changed[150 + 20, 450 - 20] and not changed[150 - 20, 450 + 20]


def test_overlays_survive_gazes_at_the_border_and_beyond_and_pictures_of_any_size():
    wild = [found(at(60, 45, -500, 20)), found(at(5000, 10, 80, 60)), found([math.nan] * 4), found([0.0, 0.0, 5, 5])]
    for image in (photograph(), photograph(1, 1), photograph(3, 700), np.zeros((40, 30, 3), np.uint16)):
        overlay = draw_overlay(image, wild)
        assert isinstance(overlay, Image.Image) and overlay.mode == "RGB" and max(overlay.size) <= 2400
    assert max(draw_overlay(np.zeros((2, 5000, 3), np.uint8), []).size) == 2400
