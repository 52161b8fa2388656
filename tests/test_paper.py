"""`train --paper` and `attend --paper`: the paper's models and its inference, and nothing beyond them."""

import importlib
import json
import math
import re

import pytest
import torch
from tiny import SETTINGS, presets
from untrained import write_untrained

from foveate.attention.models import Models
from foveate.attention.posterior.paper import ROUNDS, STEPS, PaperStart
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.cli import main as cli
from foveate.cli import train as command
from foveate.demo.digits import KNOWN, write_digit_scenes
from foveate.errors import present
from foveate.learning.settings import LearnSettings, Trust
from foveate.scenes.gaze import from_scale_angle
from foveate.scenes.pyramid import Pyramids
from foveate.training.settings import PRESETS, as_in_the_paper


def foveate(*words):
    return cli.run([str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    write_digit_scenes(folder / "scenes", KNOWN, 14, seed=0)
    with presets(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(command.PRESETS, "paper-quick", as_in_the_paper(SETTINGS, 20, 2, SETTINGS.shiftnet.steps))
        words = ["--out", folder / "run", "--preset", "quick", "--paper"]
        assert foveate("train", folder / "scenes", *words) == 0
    return folder


def test_a_run_of_the_paper_has_a_plain_model_one_network_and_no_periphery(folder):
    models = Models.load(folder / "run")
    assert isinstance(models.gdbn.grbm, GaussianBernoulliRBM)
    assert models.fine is None and models.periphery is None and models.paper is not None
    assert not (folder / "run" / "periphery.safetensors").exists()
    assert 'preset = "paper-quick"' in (folder / "run" / "config.toml").read_text()
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {record["epoch"] for record in records if record["phase"] == "grbm"} == {0, 1, 2}


def test_its_inference_sets_out_from_the_mean_gaze_takes_the_steps_and_then_the_rounds(folder, tmp_path):
    words = ["--paper", "--set", "attend.min_probability=0", "--overlays", tmp_path / "shown"]
    for name in ("first", "again"):
        out = tmp_path / f"{name}.jsonl"
        assert foveate("attend", folder / "run", folder / "scenes" / "images", "--out", out, *words) == 0
        words = words[:3]
    lines = [json.loads(line) for line in (tmp_path / "first.jsonl").read_text().splitlines()]
    start = present(Models.load(folder / "run").paper, "the paper's start")
    assert (tmp_path / "first.jsonl").read_text() == (tmp_path / "again.jsonl").read_text()
    seen = [(line, gaze) for line in lines for gaze in line["gazes"]]
    assert seen and all(len(line["gazes"]) <= 1 for line in lines)
    for line, gaze in seen:
        blank = torch.zeros(line["height"], line["width"], 3).numpy()
        expected = start.start(Pyramids.from_images([blank]))[0].tolist()
        assert gaze["trail"][0] == pytest.approx(expected) and len(gaze["trail"]) == 1 + STEPS + ROUNDS
        assert gaze["trail"][-1] == gaze["u"]


def test_the_mean_gaze_is_that_of_images_of_one_size():
    images = [torch.zeros(100, 200, 3).numpy(), torch.zeros(200, 400, 3).numpy()]
    gazes = from_scale_angle(*torch.tensor([[20.0, 80.0], [0.1, -0.1], [50.0, 300.0], [40.0, 120.0]]).double())
    start = PaperStart.of(torch.ones(2, 1728), Pyramids.from_images(images), torch.tensor([0, 1]).numpy(), gazes)
    mean = start.start(Pyramids.from_images(images[:1]))[0].tolist()
    assert mean == pytest.approx([(20 * 40) ** 0.5, 0.0, 100.0, 50.0])


def test_other_runs_are_refused_in_one_line(tmp_path, capsys):
    run = write_untrained(tmp_path / "run", 6, 4)
    write_digit_scenes(tmp_path / "scenes", KNOWN, 2, seed=0)
    assert foveate("attend", run, tmp_path / "scenes" / "images", "--out", tmp_path / "x.jsonl", "--paper") == 2
    assert "not trained by foveate train --paper" in capsys.readouterr().err
    assert not (tmp_path / "x.jsonl").exists()


def test_the_presets_of_the_paper_learn_every_sigma_by_contrastive_divergence():
    for name in ("paper", "paper-quick"):
        gdbn = PRESETS[name].gdbn
        assert (
            gdbn.start == "small" and gdbn.first.method == "cd" and gdbn.first.epochs and gdbn.first.rule.rate_log_sigma
        )
        assert gdbn.second.method == "fast_pcd" and PRESETS[name].fine.steps == 0


@pytest.mark.slow
def test_the_papers_experiments_make_one_page(tmp_path, monkeypatch):
    benchmark = importlib.import_module("paper")
    tiny = as_in_the_paper(SETTINGS, 40, 3, SETTINGS.shiftnet.steps)
    trust = Trust(probability=0.0, centre=math.inf, log_scale=math.inf, angle=math.inf, fewest=2)
    lessons = LearnSettings(rounds=1, shiftnet_steps=2, fine_steps=2, periphery_steps=2, train=tiny, trust=trust)
    monkeypatch.setattr(benchmark, "PRESETS", {"paper-quick": tiny})
    monkeypatch.setattr(benchmark, "LEARNING", {"paper-quick": lessons})
    monkeypatch.setattr(benchmark, "COUNTS", {"quick": {"train": 20, "new": 16, "test-known": 12, "test-new": 8}})
    monkeypatch.setattr(benchmark, "BOUND", {"quick": {"chains": 10, "temperatures": 50, "importance_samples": 5}})
    monkeypatch.setattr(benchmark, "FACES", {"quick": (16, 5)})
    monkeypatch.setattr(benchmark, "PAIRS", 4)
    monkeypatch.setattr(benchmark, "CONVERGING", 4)
    write_digit_scenes(tmp_path / "photographs", KNOWN, 24, seed=1)
    out = tmp_path / "paper"
    monkeypatch.setattr("sys.argv", ["paper.py", str(out), "--faces", str(tmp_path / "photographs")])
    benchmark.main()
    page = (out / "paper.html").read_text()
    for part in ("Table 1", "Figure 2", "Figure 3", "Two objects", "Convergence", "unknown", "Samples"):
        assert part in page
    for part in ("Figure 2", "Figure 3", "Convergence"):
        assert re.search(f"<h2>{part}[^<]*, digits</h2>", page) and re.search(f"<h2>{part}[^<]*, faces</h2>", page)
    assert page.count("What differs") >= 9 and "old validation" in page and "2,352" in page

    made = {path: path.stat().st_mtime_ns for path in (out / "figures").iterdir()}
    benchmark.main()
    assert {path: path.stat().st_mtime_ns for path in (out / "figures").iterdir()} == made and len(made) == 9
    parts = [text.split("<section><h2>What it took")[0] for text in (page, (out / "paper.html").read_text())]
    assert parts[0] == parts[1]
