"""`foveate train`: claims, resumes to the same weights, replaces late, keeps what is needed to do it again."""

import json
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
import torch
from PIL import Image

from foveate.cli import main as cli
from foveate.errors import Interrupted
from foveate.storage.files import load_tensors, read_lines

# A training of two phases whose weights depend on the seed, on its settings and on every step before, with a checkpoint
# at every third step. It stands for the models so that the test is about the command.
FAKE = """
import sys, time, types
from dataclasses import field
import torch
from foveate.storage.config import settings
from foveate.storage.files import save_tensors
from foveate.runtime.random import generator

@settings
class Layer:
    steps: int = 12
    pause: float = 0.0

@settings
class TrainSettings:
    seed: int = 0
    first: Layer = field(default_factory=Layer)
    second: Layer = field(default_factory=Layer)
    attend: Layer = field(default_factory=Layer)

def phase(name, scenes, run, settings, steps, pause, progress):
    kept = run.checkpoints.load(name)
    rng = generator(settings.seed, name)
    x, begin = torch.full((4,), float(len(scenes.scenes))), 0
    if kept is not None:
        x, begin = kept[0]["x"], kept[1]["step"]
        rng.set_state(kept[0]["rng"])
    with progress.phase(name, steps) as tick:
        for step in range(begin, steps):
            x = x * 0.9 + torch.randn(4, generator=rng)
            run.log({"phase": name, "step": step})
            if step % 3 == 2:
                run.checkpoints.save(name, {"x": x, "rng": rng.get_state()}, {"step": step + 1})
            time.sleep(pause)
            tick(step + 1)
    return x

def train(scenes, run, settings, progress, device):
    assert not torch.cuda.is_available() or device.type == "cuda"
    for model, name in (("gdbn", "first"), ("shiftnet", "second")):
        layer = getattr(settings, name)
        if not run.checkpoints.done(name + " written"):
            x = phase(name, scenes, run, settings, layer.steps, layer.pause, progress)
            save_tensors(run.path / f"{model}.safetensors", {"x": x})
            run.checkpoints.finish(name + " written", {})
    save_tensors(run.path / "background.safetensors", {"x": torch.zeros(1)})
    return None, None

fake = types.ModuleType("fake")
fake.train, fake.save_training_story = train, lambda story, *trained: None
sys.modules["foveate.training.train"] = sys.modules["foveate.report.stories"] = fake
import foveate.report.page
foveate.report.page.write_report = lambda path: path
import foveate.cli.train as command
command.PRESETS = {"quick": TrainSettings(first=Layer(steps=6)), "standard": TrainSettings()}
"""


@pytest.fixture
def fakes(monkeypatch):
    import foveate.cli.train as command
    import foveate.report.page

    for module, name in ((command, "PRESETS"), (foveate.report.page, "write_report")):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back at the end
    for name in ("foveate.training.train", "foveate.report.stories"):
        monkeypatch.setitem(sys.modules, name, None)
    exec(compile(FAKE, "fake", "exec"), {"__name__": "fake"})


@pytest.fixture
def scenes(tmp_path):
    """Eight annotated pictures."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    images, annotations = [], []
    for number in range(8):
        name = f"{number}.png"
        Image.fromarray(np.full((20, 30, 3), number * 20, np.uint8)).save(folder / name)
        images.append({"id": number, "file_name": name, "width": 30, "height": 20})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": [5, 5, 8, 8]})
    categories = [{"id": 1, "name": "disc"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def weights(run):
    return {name: load_tensors(run / f"{name}.safetensors")["x"].tolist() for name in ("gdbn", "shiftnet")}


def train(*words):
    return cli.run(["train", *map(str, words)])


def test_the_run_tells_all_that_is_needed_to_do_it_again(fakes, scenes, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--preset", "quick", "--seed", "5", "--select", "1:7", "--set", "second.steps=4", "--json"]
    assert train("scenes", "--out", tmp_path / "a", *words) == 0
    figures = json.loads(capfd.readouterr().out)
    assert figures["images"] == 6 and figures["objects"] == 6 and figures["category"] == "disc"
    config = tomllib.loads((tmp_path / "a" / "config.toml").read_text())
    assert config["seed"] == 5 and config["select"] == "1:7" and config["category"] == "disc" and "version" in config
    assert config["scenes"] == str(scenes), "the folder is found from anywhere"
    assert config["settings"] == {
        "seed": 5,
        "first": {"steps": 6, "pause": 0.0},
        "second": {"steps": 4, "pause": 0.0},
        "attend": {"steps": 12, "pause": 0.0},
    }
    assert train(scenes, "--out", tmp_path / "b", "--config", tmp_path / "a" / "config.toml") == 0
    assert weights(tmp_path / "b") == weights(tmp_path / "a")
    assert train(scenes, "--out", tmp_path / "c", "--config", tmp_path / "a" / "config.toml", "--seed", "6") == 0
    assert weights(tmp_path / "c") != weights(tmp_path / "a")


def test_the_command_line_goes_over_the_file_and_the_file_over_the_preset(fakes, scenes, tmp_path, capfd):
    file = tmp_path / "mine.toml"
    file.write_text('preset = "quick"\nseed = 3\n[settings.first]\nsteps = 9\npause = 0.5\n')
    words = ["--out", tmp_path / "r", "--config", file, "--set", "first.pause=0.25", "--print-config"]
    assert train(scenes, *words) == 0
    printed = tomllib.loads(capfd.readouterr().out)
    assert printed["seed"] == 3 and printed["settings"]["first"] == {"steps": 9, "pause": 0.25}
    assert (printed["category"], printed["images"], printed["objects"]) == ("disc", 8, 8), "the scenes were looked at"
    assert train(tmp_path / "gone", *words) == 2 and not (tmp_path / "r").exists()


def test_a_gpu_that_is_asked_for_must_be_there_and_is_taken_without_asking(fakes, scenes, tmp_path, capfd, monkeypatch):
    words = ["--out", tmp_path / "r", "--preset", "quick"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train(scenes, *words, "--device", "cuda") == 2 and "no CUDA device" in capfd.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert train(scenes, *words) == 0
    assert tomllib.loads((tmp_path / "r" / "config.toml").read_text())["device"] == "cuda"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sed = 3", "no entry sed"),
        ("seed = 'x'", "seed: should be a valid integer, got 'x'"),
        ("seed = -1", "seed: should be greater than or equal to 0, got -1"),
        ("preset = 'slow'", "preset 'slow': there are quick, standard"),
        ("[settings.frist]\nsteps = 3", "no setting frist.steps, did you mean first.steps?"),
        ("[settings.first]\nsteps = 'x'", "first.steps"),
        ("[canonical]\neye = [1]", "canonical.eye: list should have at least 2 items"),
        ("seed =", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_file_and_field(fakes, scenes, tmp_path, capfd, text, said):
    (tmp_path / "mine.toml").write_text(text)
    assert train(scenes, "--out", tmp_path / "r", "--config", tmp_path / "mine.toml") == 2
    err = capfd.readouterr().err
    assert said in err and err.count("\n") == 1 and not (tmp_path / "r").exists()


def test_a_run_that_exists_is_not_touched_and_a_finished_one_is_not_done_again(fakes, scenes, tmp_path, capfd):
    assert train(scenes, "--out", tmp_path / "r", "--preset", "quick") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    assert train(scenes, "--out", tmp_path / "r", "--preset", "quick") == 2
    assert train(scenes, "--out", tmp_path / "r", "--preset", "quick", "--resume") == 0
    assert "finished by an earlier run" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()} == before


def test_resuming_with_other_settings_is_refused(fakes, scenes, tmp_path, capfd, monkeypatch):
    from foveate.runtime import signals

    monkeypatch.setattr(signals, "_asked", None)
    words = ["--out", tmp_path / "r", "--seed", "1", "--set", "first.steps=7"]
    run_module = sys.modules["foveate.training.train"]
    whole = run_module.train

    def stopped(scenes, run, settings, progress, device):
        run.checkpoints.save("begun", {}, {})
        monkeypatch.setattr(signals, "_asked", 15)
        return whole(scenes, run, settings, progress, device)

    monkeypatch.setattr(run_module, "train", stopped)
    assert train(scenes, *words) == 143
    monkeypatch.setattr(signals, "_asked", None)
    monkeypatch.setattr(run_module, "train", whole)
    capfd.readouterr()
    for more, said in (
        (["--seed", "2"], "seed = 1, not 2"),
        (["--set", "first.steps=8"], "first.steps = 7, not 8"),
        (["--preset", "quick"], "preset = 'standard', not 'quick'"),
        (["--select", "0:7"], "select = None, not '0:7'"),
    ):
        assert train(scenes, "--out", tmp_path / "r", "--resume", *more) == 2
        assert said in capfd.readouterr().err
    assert train(scenes, *words, "--resume") == 0
    assert train(scenes, "--out", tmp_path / "other", *words[2:]) == 0
    assert weights(tmp_path / "r") == weights(tmp_path / "other")


def test_a_training_goes_on_where_it_was_begun(fakes, scenes, tmp_path, capfd, monkeypatch):
    module, words = sys.modules["foveate.training.train"], [scenes, "--out", tmp_path / "r", "--preset", "quick"]
    whole, seen = module.train, []

    def stopped(scenes, run, settings, progress, device):
        run.checkpoints.save("begun", {}, {})
        raise Interrupted(15)

    def watched(scenes, run, settings, progress, device):
        seen.append(device.type)
        assert device.type == "cpu"

    with monkeypatch.context() as once:
        once.setattr(module, "train", stopped)
        assert train(*words, "--device", "cpu") == 143
    capfd.readouterr()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # a machine with a GPU
    assert train(*words, "--resume", "--device", "cuda") == 2
    assert "started with device = 'cpu'" in capfd.readouterr().err
    monkeypatch.setattr(module, "train", lambda *given: (watched(*given), whole(*given[:4], torch.device("cuda")))[1])
    assert train(*words, "--resume") == 0 and seen == ["cpu"]


def test_resuming_with_other_scenes_is_refused(fakes, scenes, tmp_path, capfd, monkeypatch):
    run_module = sys.modules["foveate.training.train"]

    def stopped(scenes, run, settings, progress, device):
        run.checkpoints.save("begun", {}, {})
        raise Interrupted(15)

    with monkeypatch.context() as once:
        once.setattr(run_module, "train", stopped)
        assert train(scenes, "--out", tmp_path / "r") == 143
    content = json.loads((scenes / "annotations.json").read_text())
    del content["annotations"][0]
    (scenes / "annotations.json").write_text(json.dumps(content))
    assert train(scenes, "--out", tmp_path / "r", "--resume") == 2
    assert "was started with objects = 8, now it is 7" in capfd.readouterr().err


def test_bad_scenes_leave_no_run_behind(fakes, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    assert train(tmp_path / "empty", "--out", tmp_path / "r") == 2
    assert train(tmp_path / "gone", "--out", tmp_path / "r") == 2
    assert not (tmp_path / "r").exists()


def test_nothing_is_written_into_the_scenes(fakes, scenes, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in scenes.rglob("*")}
    assert train(scenes, "--out", tmp_path / "r", "--preset", "quick") == 0
    assert {path: path.stat().st_mtime_ns for path in scenes.rglob("*")} == before


def test_killed_and_stopped_in_different_phases_and_resumed_it_gives_the_same_weights_and_log(
    scenes, tmp_path, environment
):
    program = tmp_path / "program.py"
    program.write_text(FAKE + "from foveate.cli import main as cli\nsys.exit(cli.main())\n")
    command = [sys.executable, str(program), "train", str(scenes)]
    slow = ["--set", "first.pause=0.05", "--set", "second.pause=0.05", "--resume"]
    for phase, steps, number in (("first", 5, signal.SIGKILL), ("second", 8, signal.SIGTERM)):
        with subprocess.Popen([*command, "--out", str(tmp_path / "r"), *slow], env=environment) as child:
            while child.poll() is None and records(tmp_path / "r", phase) < steps:
                time.sleep(0.005)
            child.send_signal(number)
        assert child.returncode == (143 if number == signal.SIGTERM else -number)
    for name in ("r", "whole"):
        ended = subprocess.run([*command, "--out", str(tmp_path / name), *slow], env=environment, check=False)
        assert ended.returncode == 0
    assert weights(tmp_path / "r") == weights(tmp_path / "whole")
    assert (tmp_path / "r" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


def records(run, phase):
    path = run / "metrics.jsonl"
    return sum(record["phase"] == phase for record in read_lines(path))
