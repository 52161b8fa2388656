"""What belongs together is on one side of the hold-out, and it is said by what rule."""

import numpy as np
import pytest
from folders import coco_folder, picture
from PIL import Image

from foveate.errors import BadInput
from foveate.scenes.folder import read_scenes
from foveate.scenes.groups import group, sources
from foveate.training.gallery import hold_out

CLIPS = [f"clip{clip}_{frame:04}.png" for clip in "ABCDEF" for frame in range(1, 8)]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (CLIPS, [name[:6] for name in CLIPS]),
        ([f"{day}/IMG_{k}.JPG" for day in "abcdef" for k in (1, 2)], [f"{day}/IMG_" for day in "abcdef" for _ in "ab"]),
        ([f"{day}/{k}.JPG" for day in "abcdef" for k in ("x", "y")], [day for day in "abcdef" for _ in "xy"]),
        (
            [f"im{k}_jpg.rf.{v:08x}.jpg" for k in range(6) for v in (1, 2, 3)],
            [f"im{k}_jpg" for k in range(6) for _ in range(3)],
        ),
        ([f"IMG_{k:04}.jpg" for k in range(12)], None),
        ([name for name in CLIPS if "A" in name or "B" in name], None),
        (CLIPS[:7] + [f"x{k}y.png" for k in range(5)], None),
    ],
)
def test_names_make_groups_where_there_are_five_and_none_is_too_large(names, groups):
    found, said = group(names, names)
    assert found == (names if groups is None else groups)
    assert (said is None) == (groups is None)


def test_a_rule_that_is_given_is_taken_whatever_it_makes():
    names = ["a/1x.png", "a/2y.png", "b/3x.png", "b/4.png"]
    assert group(names, names, "folder")[0] == ["a", "a", "b", "b"]
    assert group(names, names, r"([xy])\.png$")[0] == ["x", "y", "x", "b/4.png"]
    assert "2 groups" in (group(names, names, "folder")[1] or "")
    for rule, reason in (("(", "not a valid regular expression"), ("png", "all 4 images are in one group")):
        with pytest.raises(BadInput, match=reason):
            group(names, names, rule)


def film(folder, still):
    """Thirty frames, each a little further to the right of one long picture, or each of a picture of its own."""
    folder.mkdir()
    panorama = np.asarray(picture(1200, 90))
    for frame in range(30):
        pixels = panorama[:, 36 * frame :][:, :120] if still else np.asarray(picture(120, 90, seed=frame))
        Image.fromarray(pixels).save(folder / f"frame{frame}.png")
    return folder


def test_blocks_of_neighbours_are_held_together_where_neighbours_are_near_copies(tmp_path):
    read = read_scenes(film(tmp_path / "film", True), annotated=False)
    assert "near copies" in (read.grouping or "")
    order = sorted(read.scenes, key=lambda scene: int("".join(filter(str.isdigit, scene.name))))
    assert [scene.group for scene in order] == [f"frame block {k // 3}" for k in range(30)]
    read = read_scenes(film(tmp_path / "stills", False), annotated=False)
    assert read.grouping is None and [scene.group for scene in read.scenes] == [scene.name for scene in read.scenes]


def test_blank_images_are_no_copies_of_each_other(tmp_path):
    """Twenty with a disc somewhere, twenty without: their neighbours are alike because there is nothing in them."""
    y, x = np.mgrid[:60, :80]
    rng = np.random.default_rng(0)
    for number in range(40):
        a, b = rng.uniform(15, 60), rng.uniform(15, 45)
        disc = ((x - a) ** 2 + (y - b) ** 2 < 100) & (number < 20)
        Image.fromarray(np.where(disc, 220, 90).astype(np.uint8)).save(tmp_path / f"{number:02}.png")
    assert read_scenes(tmp_path, annotated=False).grouping is None


def test_of_three_films_few_frames_that_are_held_out_have_a_neighbour_in_training(tmp_path):
    names = []
    for clip in "ABC":
        panorama = np.asarray(picture(1400, 90, seed=ord(clip)))
        for frame in range(1, 41):
            names.append(f"clip{clip}_{frame:04}.png")
            Image.fromarray(panorama[:, 30 * frame :][:, :120]).save(tmp_path / names[-1])
    scenes = read_scenes(tmp_path, annotated=False).scenes
    assert [scene.name for scene in scenes] == names
    for seed in range(5):
        fit, held_out = hold_out([scene.group for scene in scenes], 0.12, seed)
        of = {k: names[k][4] for k in fit}  # the clip of each frame that trains
        neighbours = [k for k in held_out if names[k][4] in (of.get(k - 1), of.get(k + 1))]
        assert 4 <= len(held_out) <= 21 and len(neighbours) <= 0.3 * len(held_out) + 2


def test_frames_of_too_few_films_are_told(tmp_path):
    names = [f"{clip}{k:02}.png" for clip in ("left", "right") for k in range(5)]
    read = read_scenes(coco_folder(tmp_path / "scenes", [(name, [[10, 10, 40, 40]]) for name in names], size=(60, 60)))
    (doubt,) = [each for each in read.doubts.found() if each.kind == "neighbours"]
    assert "frames of 2 sources" in doubt.line() and "--group" in doubt.line()
    assert sources(["a.png", "b.png"]) == sources(CLIPS) == 0


def test_whole_groups_are_held_out_and_names_alone_as_ever():
    groups = [name[:6] for name in CLIPS]
    fit, held_out = hold_out(groups, 0.2, 0)
    assert {groups[k] for k in fit} & {groups[k] for k in held_out} == set()
    assert sorted(fit + held_out) == list(range(len(groups))) and len(held_out) == 7
    for seed in range(20):
        sizes = ["big"] * 50 + [f"{k}" for k in range(50)]
        assert 8 <= len(hold_out(sizes, 0.1, seed)[1]) <= 15
    assert [len(part) for part in hold_out(["one"] * 9, 0.2, 0)] == [7, 2]
    assert [len(part) for part in hold_out(["a", "a", "a", "b", "b"], 0.1, 0)] == [3, 2]
    assert hold_out([], 0.2, 0) == ([], []) and hold_out(["a"], 0.2, 0) == ([0], [])


def test_one_name_a_group_is_held_out_by_the_hash_of_the_name():
    from foveate.runtime.random import key

    names = [f"{k}.png" for k in range(40)]
    by_hash = sorted(range(40), key=lambda k: key(3, "held out", names[k]))
    assert hold_out(names, 0.25, 3) == (sorted(by_hash[10:]), sorted(by_hash[:10]))
