"""The whole, from annotated scenes to gazes on others, with models too small to be good: do the parts fit?"""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SETTINGS, lessons

from foveate.attention.attend import Attention
from foveate.attention.models import Models
from foveate.cli import learn as learn_command
from foveate.cli import main as cli
from foveate.demo import story as demo
from foveate.demo.digits import KNOWN, write_digit_scenes
from foveate.errors import BadInput
from foveate.learning.learn import learn
from foveate.learning.settings import LearnSettings, Trust
from foveate.report.page import write_report
from foveate.report.stories import save_learning_story
from foveate.runtime.progress import Quiet
from foveate.scenes.folder import read_image, read_scenes
from foveate.storage.files import load_tensors
from foveate.storage.run import MODELS, Run
from foveate.training.train import train

pytestmark = pytest.mark.usefixtures("tiny_presets")


@pytest.fixture(scope="module")
def run(tiny_folder):
    return tiny_folder / "run"


@pytest.fixture(scope="module")
def folder(tiny_folder):
    return tiny_folder / "scenes"


def foveate(*words):
    return cli.run([str(word) for word in words])


def test_a_run_holds_what_it_promises(run):
    for name in ("config.toml", "gdbn.safetensors", "shiftnet.safetensors", "background.safetensors", "metrics.jsonl"):
        assert (run / name).is_file()
    phases = {json.loads(line)["phase"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    assert phases >= {"grbm", "rbm", "shiftnet", "evidence"}


def test_training_again_on_a_finished_run_changes_nothing(folder, run):
    before = (run / "shiftnet.safetensors").read_bytes()
    with Run.claim(run, resume=True) as again:
        models, _ = train(read_scenes(folder, slice(0, 13)), again, SETTINGS, Quiet())
    assert (run / "shiftnet.safetensors").read_bytes() == before
    assert torch.equal(models.gdbn.grbm.W, Models.load(run).gdbn.grbm.W)


def test_an_image_gives_the_same_gazes_in_any_company(folder, run):
    attention, scenes = Attention.load(run), read_scenes(folder).scenes[:3]
    every = replace(SETTINGS.attend, min_probability=0.0, max_gazes=3)
    images = [read_image(scene.path) for scene in scenes]
    alone = [attention.attend(image, every) for image in images]
    together = attention.attend(images[::-1], every)[::-1]
    for one, other in zip(alone, together, strict=True):
        assert [found.u.tolist() for found in one] == [found.u.tolist() for found in other]
        assert all(np.isfinite(found.u).all() and 0 <= found.probability <= 1 for found in one)
        assert all(found.score >= after.score for found, after in pairwise(one))
        assert all(len(found.trail) > found.network_steps for found in one)


def test_the_single_start_leaves_a_trail_of_its_steps(folder, run):
    scene = read_scenes(folder).scenes[0]
    settings = replace(SETTINGS.attend, starts="one", one_steps=3, min_probability=0.0)
    (found,) = Attention.load(run).attend_one(read_image(scene.path), scene.name, settings)
    assert found.network_steps == 3 + SETTINGS.attend.search.fine
    assert np.allclose(found.trail[0][2:], [scene.width / 2, scene.height / 2])


def test_the_page_of_a_run_is_one_file(run):
    page = write_report(run).read_text()
    assert "<html" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_the_command_attends_as_python_does_whatever_the_files_are_called(folder, run, tmp_path, capfd):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, scene in zip(("b.png", "a.png"), read_scenes(folder).scenes[:2], strict=True):
        (pictures / name).write_bytes(Path(scene.path).read_bytes())
    assert foveate("attend", run, pictures, "--out", "-", "--min-probability", "0", "--max-gazes", "2") == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [Path(line["image"]).name for line in lines] == ["a.png", "b.png"]
    images = [read_image(line["image"]) for line in lines]
    founds = Attention.load(run).attend(images, settings=replace(SETTINGS.attend, min_probability=0.0, max_gazes=2))
    for line, found in zip(lines, founds, strict=True):
        assert [gaze["u"] for gaze in line["gazes"]] == [pytest.approx(one.u.tolist(), abs=1e-3) for one in found]


class StopAt(Quiet):
    """Interrupts where a phase begins."""

    def __init__(self, name: str):
        self.name = name

    def phase(self, name, total=None):
        if name == self.name:
            raise KeyboardInterrupt
        return super().phase(name, total)


def test_learning_looks_at_no_annotation_and_goes_on_after_an_interruption_to_the_same_weights(
    run, tmp_path, capfd, monkeypatch
):
    """Of annotated scenes at once, and of the same scenes without annotations in parts."""
    for name in ("annotated", "bare"):
        write_digit_scenes(tmp_path / name, KNOWN, 10, seed=5)
    (tmp_path / "bare" / "annotations.json").unlink()
    words = ["--set", "posterior.chains=0", "--json"]
    assert foveate("learn", run, tmp_path / "annotated", "--out", tmp_path / "at-once", *words) == 0
    printed = json.loads(capfd.readouterr().out)
    assert (printed["replayed"], printed["images"], len(printed["rounds"])) == (13, 10, 1)
    assert (tmp_path / "at-once" / "report.html").is_file()

    resumed = ("learn", run, tmp_path / "bare", "--out", tmp_path / "in-parts", *words, "--resume")
    for stop in ("periphery", "ShiftNet, closer"):
        with monkeypatch.context() as patch:
            patch.setattr(learn_command, "progress", lambda stop=stop: StopAt(stop))
            assert foveate(*resumed) == 130
        assert not (tmp_path / "in-parts" / "gdbn.safetensors").exists()
    assert foveate(*resumed) == 0
    (whole, log), (stopped, again) = (learned(tmp_path / name) for name in ("at-once", "in-parts"))
    assert log == again
    assert all(torch.equal(value, stopped[key]) for key, value in whole.items())
    assert not torch.equal(whole["grbm.W"], load_tensors(run / "gdbn.safetensors")["grbm.W"])


def learned(run: Path) -> tuple[dict, list]:
    """The weights of a RUN, and its log without times."""
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    parts = [load_tensors(run / f"{part}.safetensors") for part in ("gdbn", "periphery", "shiftnet", "background")]
    untimed = [{key: value for key, value in record.items() if "seconds" not in key} for record in log]
    return {key: value for part in parts for key, value in part.items()}, untimed


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"shiftnet_rate": 1e30}, "ShiftNet: .* learning rate is too high"), ({"tolerance": -1e6}, "fell from")],
)
def test_a_round_that_blows_up_or_explains_less_is_undone_and_said(folder, run, tmp_path, changes, why):
    """The networks that such a rate makes are no numbers; and no round raises a bound by a million nats."""
    read, said = read_scenes(folder, annotated=False, select=slice(0, 8)), []
    heard = Quiet()
    heard.say = said.append
    with Run.claim(tmp_path / "out") as out:
        models, gallery, rounds = learn(Models.load(run), read, out, lessons(**changes), heard)
        (only,) = rounds
        save_learning_story(out.story, Models.load(run), models, gallery, rounds, Quiet())
        out.finish()
    assert re.search(why, only.undone) and said == [f"round 1 undone: {only.undone}"]
    for name in MODELS:
        kept, was = load_tensors(tmp_path / "out" / name), load_tensors(run / name)
        assert kept.keys() == was.keys() and all(torch.equal(kept[key], was[key]) for key in was), name
    (record,) = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()][-1:]
    assert (record["phase"], record["undone"]) == ("learn", only.undone)
    assert "Round 1 was undone:" in write_report(tmp_path / "out").read_text()


def test_learning_without_steps_keeps_the_networks_and_begins_none(folder, run, tmp_path):
    read, models = read_scenes(folder, annotated=False, select=slice(0, 8)), Models.load(run)
    with Run.claim(tmp_path / "kept") as out:
        still = lessons(shiftnet_steps=0, fine_steps=0)
        better, _, _ = learn(models, read, out, still, Quiet())
    for name in ("shiftnet", "fine"):
        kept, was = getattr(better, name).state_dict(), getattr(models, name).state_dict()
        assert all(torch.equal(kept[key], was[key]) for key in was), name
    with Run.claim(tmp_path / "none") as out:
        better, _, _ = learn(replace(models, fine=None), read, out, lessons(), Quiet())
    assert better.fine is None and Models.load(tmp_path / "none").fine is None


def test_gazes_found_in_some_scenes_are_not_taken_for_those_of_others(folder, run, tmp_path):
    first, other = (read_scenes(folder, annotated=False, select=some) for some in (slice(8), slice(1, 9)))
    with pytest.raises(KeyboardInterrupt), Run.claim(tmp_path / "out") as out:
        learn(Models.load(run), first, out, lessons(), StopAt("second layer"))
    with pytest.raises(BadInput, match="not those that round 1"), Run.claim(tmp_path / "out", resume=True) as out:
        learn(Models.load(run), other, out, lessons(), Quiet())


def test_the_demo_tells_its_whole_story_and_does_nothing_twice(tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(demo.COUNTS, "quick", {"train": 14, "new": 10, "test-known": 2, "test-new": 2})
    monkeypatch.setitem(demo.PRESETS, "quick", lessons().train)
    monkeypatch.setitem(demo.BOUND, "quick", {"chains": 4, "temperatures": 20})
    assert foveate("demo", "--out", tmp_path / "demo", "--json") == 0
    figures = json.loads(capfd.readouterr().out)
    assert {"known digits found (top1 at 0.5)", "oracle (nats per new digit)", "gap closed"} <= figures.keys()
    assert figures["page"] == str(tmp_path / "demo" / "report.html")
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "known digits found" in page and "Looking for “digit”" in page
    scenes = sorted(path.name for path in (tmp_path / "demo" / "scenes").iterdir())
    assert scenes == ["new", "test-known", "test-new", "train"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*.safetensors") if is_model(path)}
    assert len(before) >= 6 and foveate("demo", "--out", tmp_path / "demo", "--json") == 0
    again = json.loads(capfd.readouterr().out)
    assert {**again, "seconds": 0} == {**figures, "seconds": 0}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for other in (["--seed", "1"], ["--preset", "standard"]):
        assert foveate("demo", "--out", tmp_path / "demo", *other) == 2
        assert "was started with" in capfd.readouterr().err.splitlines()[-1]


def is_model(path):
    return path.name in MODELS


def test_scenes_in_which_nothing_can_be_trusted_end_learning_in_one_line(folder, run, tmp_path):
    nothing = Trust(probability=1.1, share=0.0)
    read = read_scenes(folder, annotated=False)
    with pytest.raises(BadInput, match="seem to hold the object"), Run.claim(tmp_path / "never") as learned:
        learn(Models.load(run), read, learned, LearnSettings(trust=nothing, train=SETTINGS), Quiet())
    with Run.claim(tmp_path / "kept") as learned:
        settings = LearnSettings(trust=nothing, train=SETTINGS)
        models, _, rounds = learn(Models.load(run), read, learned, settings, Quiet(), keep=True)
        assert not rounds and torch.equal(models.gdbn.grbm.W, Models.load(tmp_path / "kept").gdbn.grbm.W)
        assert torch.equal(models.gdbn.grbm.W, Models.load(run).gdbn.grbm.W)


def test_too_few_annotated_scenes_are_refused(folder, tmp_path):
    with pytest.raises(BadInput, match="scenes with an annotated object"), Run.claim(tmp_path / "run") as run:
        train(read_scenes(folder, select=slice(0, 3)), run, SETTINGS, Quiet())
