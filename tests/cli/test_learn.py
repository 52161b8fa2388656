"""`foveate learn`: what it begins with, what it replays, and that nobody tells it where the new objects are."""

import json
import os
import shutil
import sys
import tomllib
import types
from dataclasses import field

import numpy as np
import pytest
import torch
from PIL import Image

from foveate.boltzmann.dbn import GaussianDBN
from foveate.cli import main as cli
from foveate.errors import Interrupted
from foveate.storage.config import settings, write_toml
from foveate.storage.files import load_tensors, save_tensors


@settings
class TrainSettings:
    seed: int = 0
    mirror: bool = True
    steps: int = 9


@settings
class LearnSettings:
    seed: int = 0
    rounds: int = 2
    train: TrainSettings = field(default_factory=TrainSettings)


@pytest.fixture
def heard(monkeypatch):
    """Learning that writes down what it is given; its weights depend on all of it, and it stops where `stop` is set."""
    calls = []

    def learn(source, scenes, run, settings, progress, replay, keep):
        calls.append((scenes, settings, replay))
        run.checkpoints.save("begun", {}, {})
        if stop:
            raise Interrupted(15)
        seen = [len(scenes.scenes), settings.rounds, *(len(scene.gazes) for scene in scenes.scenes)]
        gazes = [] if replay is None else [scene.gazes.sum() for scene in replay.scenes]
        for name in ("gdbn", "shiftnet", "background"):
            weights = torch.tensor([*seen, *gazes], dtype=torch.float64)
            save_tensors(run.path / f"{name}.safetensors", {"x": weights})
        return None, types.SimpleNamespace(names=[scene.name for scene in scenes.scenes]), []

    stop = []
    fake = types.ModuleType("fake")
    fake.learn, fake.save_learning_story = learn, lambda story, *learned: None
    for name in ("foveate.learning.learn", "foveate.report.stories"):
        monkeypatch.setitem(sys.modules, name, fake)
    import foveate.cli.learn as command
    import foveate.report.page
    from foveate.attention.models import Models

    presets = {"quick": LearnSettings(rounds=1, train=TrainSettings(steps=3)), "standard": LearnSettings()}
    monkeypatch.setattr(command, "PRESETS", presets)
    monkeypatch.setattr(foveate.report.page, "write_report", lambda path: path)

    monkeypatch.setattr(Models, "load", classmethod(lambda cls, run: types.SimpleNamespace(to=lambda device: None)))
    return types.SimpleNamespace(calls=calls, stop=stop)


def scenes_in(folder, count=6, kinds=("disc",), first=0):
    """Pictures with an object of each kind, the first kind's at 10 + its number pixels from the left."""
    folder.mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        shade = np.full((20, 40, 3), 20 * (number + first), np.uint8)
        Image.fromarray(shade).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 40, "height": 20})
        for kind, _ in enumerate(kinds):
            box = [5 + number + kind, 5, 10, 10]
            annotations.append({"id": len(annotations), "image_id": number, "category_id": kind, "bbox": box})
    categories = [{"id": kind, "name": name} for kind, name in enumerate(kinds)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def known(tmp_path):
    """What RUN was trained on."""
    return scenes_in(tmp_path / "known", kinds=("disc", "cross"))


@pytest.fixture
def new(tmp_path):
    return scenes_in(tmp_path / "new", first=6)


@pytest.fixture
def run(tmp_path, known):
    """A RUN that was trained on three of the known pictures, with settings of its own."""
    path = tmp_path / "run"
    path.mkdir()
    GaussianDBN(3, 2, 2).save(path / "gdbn.safetensors")
    for name in ("shiftnet", "background"):
        save_tensors(path / f"{name}.safetensors", {})
    settings = {"seed": 4, "mirror": False, "steps": 5}
    told = {"scenes": str(known), "select": "1:4", "category": "disc", "preset": "quick", "settings": settings}
    write_toml(path / "config.toml", {"command": "train", **told})
    return path


def learn(*words):
    return cli.run(["learn", *map(str, words)])


def config(run):
    return tomllib.loads((run / "config.toml").read_text())


def replayed(heard):
    _, _, replay = heard.calls[-1]
    return None if replay is None else [os.path.relpath(scene.path, scene.path + "/../..") for scene in replay.scenes]


def test_what_the_run_was_trained_on_is_replayed_and_nothing_else_of_it(heard, run, new, tmp_path, capfd):
    assert learn(run, new, "--out", tmp_path / "out", "--json") == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["replayed"] == 3 and f"replay: 3 annotated scenes of {tmp_path / 'known'} [1:4]" in err
    assert replayed(heard) == ["known/1.png", "known/2.png", "known/3.png"]
    scenes, _, replay = heard.calls[-1]
    assert [len(scene.gazes) for scene in replay.scenes] == [1, 1, 1], "crosses are no discs"
    assert [len(scene.gazes) for scene in scenes.scenes] == [0] * 6
    assert learn(tmp_path / "out", new, "--out", tmp_path / "again") == 0
    assert replayed(heard) == ["known/1.png", "known/2.png", "known/3.png"], "the run that learned hands it on"


def test_replay_can_be_another_folder_or_none(heard, run, new, tmp_path, capfd, monkeypatch):
    scenes_in(tmp_path / "other", count=2)
    monkeypatch.chdir(tmp_path)
    assert learn(run, new, "--out", "a", "--replay", "other") == 0
    assert replayed(heard) == ["other/0.png", "other/1.png"]
    assert config(tmp_path / "a")["replay"] == str(tmp_path / "other")
    assert learn(run, new, "--out", "b", "--no-replay") == 0
    assert replayed(heard) is None and "replay" not in config(tmp_path / "b")
    assert "no replay: --no-replay" in capfd.readouterr().err.splitlines()
    assert learn(run, new, "--out", "c", "--replay", "known") == 0
    assert len(replayed(heard)) == 6
    for wrong, said in ((["--replay", "gone"], "gone: not a folder"), (["--replay", "other", "--no-replay"], "both")):
        assert learn(run, new, "--out", "d", *wrong) == 2
        assert said in capfd.readouterr().err.splitlines()[-1] and not (tmp_path / "d").exists()


@pytest.mark.parametrize("loss", ["gone", "no longer annotated", "not told"])
def test_scenes_that_are_no_longer_there_are_a_note_and_no_error(heard, run, new, known, tmp_path, capfd, loss):
    if loss == "gone":
        shutil.rmtree(known)
    elif loss == "not told":
        (run / "config.toml").unlink()
    else:
        (known / "annotations.json").unlink()
    assert learn(run, new, "--out", tmp_path / "out") == 0
    notes = [line for line in capfd.readouterr().err.splitlines() if line.startswith("no replay: ")]
    assert replayed(heard) is None and len(notes) == 1


def test_nobody_says_where_the_new_objects_are(heard, run, known, new, tmp_path, capfd):
    assert learn(run, new, "--out", tmp_path / "with") == 0
    (new / "annotations.json").unlink()
    assert learn(run, new, "--out", tmp_path / "without") == 0
    weights = [load_tensors(tmp_path / name / "gdbn.safetensors")["x"] for name in ("with", "without")]
    assert torch.equal(*weights)
    assert learn(run, known, "--out", tmp_path / "some", "--select", "2:") == 0
    assert replayed(heard) == ["known/1.png"] and "2 scenes are not replayed" in capfd.readouterr().err
    assert learn(run, known, "--out", tmp_path / "all") == 0
    assert replayed(heard) is None and "no annotated scene that is not among the new" in capfd.readouterr().err


def test_preset_and_settings_are_those_of_the_run_unless_something_else_is_said(heard, run, new, tmp_path):
    assert learn(run, new, "--out", tmp_path / "a", "--set", "train.steps=7", "--seed", "2") == 0
    its = TrainSettings(seed=4, mirror=False, steps=7)  # its seed too, which says what it held out
    assert heard.calls[-1][1] == LearnSettings(seed=2, rounds=1, train=its)
    assert config(tmp_path / "a")["preset"] == "quick"
    assert learn(run, new, "--out", tmp_path / "b", "--preset", "standard") == 0
    assert heard.calls[-1][1] == LearnSettings(train=TrainSettings(seed=4))
    assert learn(tmp_path / "a", new, "--out", tmp_path / "c") == 0
    assert heard.calls[-1][1] == LearnSettings(rounds=1, train=its)
    assert learn(run, new, "--out", tmp_path / "d", "--config", tmp_path / "a" / "config.toml") == 0
    assert config(tmp_path / "d") == config(tmp_path / "a")


def test_resuming_replays_what_was_replayed(heard, run, new, known, tmp_path, capfd):
    heard.stop.append(True)
    assert learn(run, new, "--out", tmp_path / "out", "--replay", known, "--set", "rounds=3") == 143
    heard.stop.clear()
    for wrong in (["--no-replay"], ["--replay", new]):
        assert learn(run, new, "--out", tmp_path / "out", "--resume", *wrong) == 2
        assert "was started with replay = " in capfd.readouterr().err.splitlines()[-1]
    shutil.move(known, tmp_path / "away")
    assert learn(run, new, "--out", tmp_path / "out", "--resume") == 2
    assert "not a folder" in capfd.readouterr().err.splitlines()[-1]
    shutil.move(tmp_path / "away", known)
    assert learn(run, new, "--out", tmp_path / "out", "--resume") == 0
    assert len(replayed(heard)) == 6 and heard.calls[-1][1].rounds == 3
    assert learn(run, new, "--out", tmp_path / "once", "--replay", known, "--set", "rounds=3") == 0
    assert config(tmp_path / "once") == config(tmp_path / "out")


def test_the_frame_of_the_run_is_handed_on_and_no_other_is_taken(heard, run, new, tmp_path, capfd):
    points = {"left": [-0.4, -0.3], "right": [0.4, -0.3]}
    write_toml(run / "config.toml", {**config(run), "canonical": points})
    assert learn(run, new, "--out", tmp_path / "out") == 0
    assert config(tmp_path / "out")["canonical"] == points
    assert learn(tmp_path / "out", new, "--out", tmp_path / "again") == 0
    assert config(tmp_path / "again")["canonical"] == points
    write_toml(tmp_path / "own.toml", {"canonical": {**points, "left": [-0.5, 0.0]}})
    assert learn(run, new, "--out", tmp_path / "other", "--config", tmp_path / "own.toml") == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert "canonical" in said and str(run) in said and not (tmp_path / "other").exists()


def test_the_symmetry_of_the_run_is_handed_on_and_no_other_is_taken(heard, run, new, tmp_path, capfd):
    write_toml(run / "config.toml", {**config(run), "symmetry": "2"})
    assert learn(run, new, "--out", tmp_path / "out") == 0
    assert config(tmp_path / "out")["symmetry"] == "2"
    assert learn(tmp_path / "out", new, "--out", tmp_path / "again") == 0
    assert config(tmp_path / "again")["symmetry"] == "2"
    write_toml(tmp_path / "own.toml", {"symmetry": "any"})
    assert learn(run, new, "--out", tmp_path / "other", "--config", tmp_path / "own.toml") == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert "symmetry = 'any'" in said and "'2'" in said and not (tmp_path / "other").exists()


def test_resuming_goes_on_with_the_same_run_and_scenes(heard, run, new, known, tmp_path, capfd):
    heard.stop.append(True)
    assert learn(run, new, "--out", tmp_path / "out") == 143
    heard.stop.clear()
    begun = config(tmp_path / "out")
    shutil.copytree(run, tmp_path / "run-b")
    shutil.copytree(new, tmp_path / "new-b")
    for words, said in (((run, tmp_path / "new-b"), "scenes = "), ((tmp_path / "run-b", new), "run = ")):
        assert learn(*words, "--out", tmp_path / "out", "--resume") == 2
        assert f"was started with {said}" in capfd.readouterr().err.splitlines()[-1]
    assert config(tmp_path / "out") == begun
    assert learn(run, new, "--out", tmp_path / "out", "--resume") == 0


def test_training_learns_also_from_the_images_that_are_not_annotated(heard, run, known, tmp_path, capfd, monkeypatch):
    import foveate.cli.train as command

    def train_run(scenes, out, *how):
        shutil.copytree(run, out)
        return {"run": out}

    monkeypatch.setattr(command, "train_run", train_run)
    out = tmp_path / "out"
    words = ["train", str(known), "--category", "disc", "--also", str(known), "--json"]
    assert cli.run([*words, "--select", "1:4", "--out", str(out)]) == 0
    scenes, _, _ = heard.calls[-1]
    assert [scene.name for scene in scenes.scenes] == ["0.png", "4.png", "5.png"]
    assert replayed(heard) == ["known/1.png", "known/2.png", "known/3.png"]
    figures = json.loads(capfd.readouterr().out)
    assert figures["images"] == 3 and figures["marks"]["run"] == f"{out}-marks" == config(out)["run"]
    for more, said in (
        (["--out", str(out)], f"{out} exists: --resume continues it"),
        (["--out", str(tmp_path / "all")], "0 images beside the 6 annotated ones, 2 are needed"),
    ):
        assert cli.run([*words, *more]) == 2 and said in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "all-marks").exists()
