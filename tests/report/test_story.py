"""The story: what is written into it comes back, capped, and nothing of it is ever executed."""

import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from foveate.errors import BadInput
from foveate.report.results import BoundStory, LearnRound, LearnStory, LocalizationStory, TableStory, TrainingStory
from foveate.report.story import FoundGaze, PatchStory, ScenesStory, SceneStory, Spread, Step
from foveate.storage.files import load_metadata

NOISE = np.random.default_rng(0)


def saved(kind, folder, name=""):
    """The one of a kind that was saved under a name."""
    (found,) = [story for story in kind.load_all(folder) if story.name == name]
    return found


def scene(name: str = "a.png", success: bool | None = True, steps: int = 3) -> SceneStory:
    return SceneStory(
        name=name,
        thumbnail=NOISE.random((3, 40, 60), dtype=np.float32),
        width=600,
        height=400,
        truths=[[10.0, 0.0, 300.0, 200.0]],
        steps=[
            Step([10.0, 1.0, 290.0 + t, 200.0], "convnet", glimpse=torch.rand(3, 24, 24), score=float(t))
            for t in range(steps)
        ],
        found=[
            FoundGaze(
                [10.0, 1.0, 300.0, 200.0],
                0.9,
                Spread([300.0, 200.0], [[4.0, 1.0], [1.0, 2.0]], 0.1, 0.05, 0.02),
            )
        ],
        success=success,
        iou=0.8,
    )


def test_names_that_a_file_can_not_tell_apart_have_files_of_their_own(tmp_path):
    names = ["лица", "кошки", "", "faces -5:", "faces 5:", "faces 5:"]
    for number, name in enumerate(names):
        BoundStory({"bound": number}, name).save(tmp_path)
    kept = {chapter.name: chapter.figures["bound"] for chapter in BoundStory.load_all(tmp_path)}
    assert kept == {name: number for number, name in enumerate(names)}
    assert len(list(tmp_path.iterdir())) == 5 and (tmp_path / "bound-faces-5.safetensors").exists()
    (tmp_path / "bound-faces-5.safetensors").write_bytes(b"torn")
    assert BoundStory({}, "faces 5:").save(tmp_path).name == "bound-faces-5.safetensors"


def test_scenes_come_back_as_they_were(tmp_path):
    story = ScenesStory([scene("x/<b>.png"), scene("y.png", success=False)], total=5000, name="dev set", failures=7)
    story.save(tmp_path)
    loaded = saved(ScenesStory, tmp_path, "dev set")
    assert (loaded.total, loaded.failures, loaded.successes) == (5000, 7, None)
    assert [item.name for item in loaded.scenes] == ["x/<b>.png", "y.png"]
    assert loaded.scenes[0].thumbnail == story.scenes[0].thumbnail
    assert loaded.scenes[0].found == story.scenes[0].found
    assert [step.u for step in loaded.scenes[1].steps] == [step.u for step in story.scenes[1].steps]
    np.testing.assert_array_equal(loaded.scenes[0].steps[2].glimpse, story.scenes[0].steps[2].glimpse)
    assert loaded.scenes[0].steps[2].v is None


def test_every_chapter_comes_back_and_names_keep_their_own_files(tmp_path):
    patches = torch.rand(5, 3, 24, 24)
    chapters = [
        PatchStory(patches, total=870, scene_mean=torch.rand(3, 48, 48)),
        LocalizationStory({"z": 1, "top1": {"0.5": 0.9}, "by_step": [[0, 0.1]]}, name="turned 30"),
        LocalizationStory({"top1": {"0.5": 0.8}}, name="upright"),
        BoundStory({"bound": -12.0, "baselines": {"diagonal": -20.0}}),
        LearnStory([LearnRound(1, torch.rand(3, 24, 24), [scene()], 5, 2, {"too spread": 2}, -3.0)], bound_before=-9.0),
        TableStory(
            ["model", "bound"], [["source", -1.5]], "what", "demo", [["share", "steps", [["ours", [0], [0.5]]]]]
        ),
        TrainingStory({"scenes": 870, "category": "face"}, [["a", "unreadable"]], 12),
    ]
    for chapter in chapters:
        chapter.save(tmp_path)
    for chapter in chapters:
        loaded = saved(type(chapter), tmp_path, chapter.name)
        for field in vars(chapter):
            if isinstance(getattr(chapter, field), np.ndarray):
                np.testing.assert_array_equal(getattr(loaded, field), getattr(chapter, field))
            elif field != "rounds":
                assert getattr(loaded, field) == getattr(chapter, field), field
    assert list(saved(LocalizationStory, tmp_path, "turned 30").figures) == ["z", "top1", "by_step"]
    assert len(LocalizationStory.load_all(tmp_path)) == 2
    assert saved(LearnStory, tmp_path).rounds[0].reasons == {"too spread": 2}


def test_nothing_saved_is_none_and_damage_is_one_clear_line(tmp_path):
    assert PatchStory.load_all(tmp_path) == []
    assert ScenesStory.load_all(tmp_path / "nowhere") == []
    path = BoundStory({"bound": 1.0}).save(tmp_path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInput, match=r"bound\.safetensors"):
        BoundStory.load_all(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    TableStory(["a"], [[1]]).save(tmp_path).rename(tmp_path / "learn.safetensors")
    with pytest.raises(BadInput, match="not a LearnStory"):
        LearnStory.load_all(tmp_path)


def test_numbers_that_json_lacks_become_none(tmp_path):
    path = LocalizationStory({"ece": math.nan, "worst": -math.inf, "n": np.int64(3), "by_step": np.eye(2)}).save(
        tmp_path
    )
    figures = saved(LocalizationStory, tmp_path).figures
    assert figures == {"ece": None, "worst": None, "n": 3, "by_step": [[1.0, 0.0], [0.0, 1.0]]}
    json.loads(load_metadata(path)["story"], parse_constant=lambda constant: pytest.fail(constant))


def test_five_thousand_scenes_stay_small_and_show_failures_too(tmp_path):
    small = scene()
    many = [
        SceneStory(f"{index}.png", small.thumbnail, 6000, 4000, success=index % 50 != 0, steps=small.steps)
        for index in range(5000)
    ]
    story = ScenesStory(many, total=5000)
    assert story.total == 5000 and len(story.scenes) == 24
    assert sum(item.success is False for item in story.scenes) == 12
    assert len(ScenesStory(many[:60], 60).scenes) == 24  # only two failures among them: the others fill up
    assert story.save(tmp_path).stat().st_size < 4e6


def test_big_photographs_are_kept_as_thumbnails():
    kept = SceneStory("big", np.full((4000, 6000, 3), 90, np.uint16), 6000, 4000)
    with Image.open(io.BytesIO(kept.thumbnail)) as picture:
        assert picture.size == (360, 240)


def test_pictures_are_told_by_where_their_channels_are():
    red = np.zeros((2, 5, 7, 3), dtype=np.uint8)
    red[..., 0] = 255
    floats = torch.zeros(2, 3, 5, 7)
    floats[:, 0] = 1.0
    for given in (red, floats, red.astype(np.uint16) * 257):
        np.testing.assert_array_equal(PatchStory(given, 2).patches, red)
    with pytest.raises(ValueError, match="three channels"):
        PatchStory(torch.zeros(2, 4, 5, 7), 2)


def test_spread_averages_angles_on_the_circle():
    # Draws at 179 and -179 degrees: centre 180, standard deviation about 1 degree, never 0 and 179.
    angles = np.radians(np.tile([179.0, -179.0], 500))
    draws = np.stack([20 * np.cos(angles), 20 * np.sin(angles), np.full(1000, 5.0), np.arange(1000.0)], axis=1)
    spread = Spread.from_draws(draws)
    assert abs(math.degrees(spread.angle)) == pytest.approx(180.0, abs=1e-6)
    assert math.degrees(spread.angle_std) == pytest.approx(1.0, rel=1e-3)
    assert spread.covariance[1][1] == pytest.approx(np.var(np.arange(1000.0), ddof=1))
    assert spread.log_scale_std == pytest.approx(0.0, abs=1e-9)
