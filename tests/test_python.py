"""The door of the package: its names, what importing it costs, and the commands as functions."""

import shutil
import subprocess
import sys
import types

import pytest
import torch
from tiny import SETTINGS

import foveate
from foveate.api import demo as cached
from foveate.demo import story
from foveate.demo.photographs import MissingExtra
from foveate.errors import BadInput
from foveate.storage.files import load_tensors

pytestmark = pytest.mark.usefixtures("tiny_presets")


def test_every_public_name_is_listed_once_is_there_and_is_told_what_it_is():
    assert dir(foveate) == sorted(set(foveate.__all__)) and len(foveate.__all__) == len(set(foveate.__all__))
    for name in dir(foveate):
        thing = getattr(foveate, name)
        if name != "__version__":
            assert thing.__name__ == name and thing.__doc__, name
            assert not isinstance(thing, types.ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        foveate.lod  # noqa: B018


def test_importing_it_is_quick_and_brings_neither_torch_nor_numpy(environment):
    program = (
        "import time; begun = time.perf_counter(); import foveate; spent = time.perf_counter() - begun; import sys\n"
        "dir(foveate); print(spent, *(name in sys.modules for name in ('torch', 'numpy', 'PIL', 'pydantic')))"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    spent, *there = done.stdout.split()
    assert there == ["False"] * 4 and float(spent) < 0.5


def test_the_help_is_quick_and_brings_no_torch(environment):
    program = "import sys; from foveate.cli.main import run; run(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "Usage: foveate" in done.stdout and done.stdout.endswith("False\n")


@pytest.fixture(scope="module")
def scenes(tiny_folder):
    return tiny_folder / "scenes"


@pytest.fixture(scope="module")
def run(tiny_folder):
    return tiny_folder / "run"


def test_training_from_python_gives_the_run_that_the_command_gives(scenes, run, tmp_path, capfd):
    made = tmp_path / "run"
    stated = {"gdbn": {"n_hidden1": SETTINGS.gdbn.n_hidden1}}
    how = {"preset": "quick", "settings": stated, "select": "0:13", "device": "cpu", "progress": False}
    attention = foveate.train(scenes, made, **how)
    for name in ("gdbn", "periphery", "shiftnet", "background"):
        one, other = (load_tensors(at / f"{name}.safetensors") for at in (run, made))
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one), name
    assert (run / "config.toml").read_text() == (made / "config.toml").read_text()
    assert attention.category == "digit" and attention.settings.search.most == SETTINGS.attend.search.most
    assert (made / "report.html").is_file() and capfd.readouterr().out == ""


def test_what_is_wrong_is_said_before_anything_is_written(scenes, run, tmp_path):
    for wrong, why in (({"gdbn.n_hiden1": 5}, "did you mean gdbn.n_hidden1"), ({"held_out": 7}, "held_out")):
        with pytest.raises(BadInput, match=why):
            foveate.train(scenes, tmp_path / "run", settings=wrong)
    with pytest.raises(BadInput, match="exists"):
        foveate.train(scenes, run)
    with pytest.raises(BadInput, match="no such RUN"):
        foveate.learn(tmp_path / "none", scenes, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_learning_from_python_writes_a_run_and_gives_it(scenes, run, tmp_path, capfd):
    still = {"posterior.chains": 0}
    learned = foveate.learn(run, scenes, tmp_path / "learned", settings=still, replay=False, device="cpu")
    assert (tmp_path / "learned" / "report.html").is_file() and capfd.readouterr().out == ""
    before = load_tensors(run / "gdbn.safetensors")["grbm.W"]
    assert learned.settings.posterior.chains == 0 and not torch.equal(learned.gdbn.grbm.W, before)


def test_the_model_to_try_at_once_is_made_once_and_kept(run, tmp_path, monkeypatch):
    """What makes it is the demo's own, which tests of the whole run."""
    made = []

    def train_digits(out, seed, preset, progress):
        made.append((seed, preset))
        shutil.copytree(run, out / "run")

    monkeypatch.setenv("FOVEATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(story, "train_digits", train_digits)
    attention = foveate.load("demo", device="cpu")
    (folder,) = (tmp_path / "cache").iterdir()
    assert folder.name == f"demo-{foveate.__version__}" and attention.category == "digit"
    assert torch.equal(foveate.load("demo", device="cpu").gdbn.grbm.W, attention.gdbn.grbm.W)
    assert made == [(0, "quick")]


def test_the_cache_is_the_users_and_a_missing_extra_leaves_nothing_there(tmp_path, monkeypatch):
    monkeypatch.delenv("FOVEATE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached.cache_folder() == tmp_path / "foveate"
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtra, match=r"foveate\[demo\]"):
        foveate.load("demo", device="cpu")
    assert not list(tmp_path.iterdir())


def test_a_machine_shows_its_sizes():
    assert repr(foveate.BernoulliRBM(5, 3)) == "BernoulliRBM(n_visible=5, n_hidden=3)"
    assert "GaussianBernoulliRBM(n_visible=6, n_hidden=4)" in repr(foveate.GaussianDBN(6, 4, 2))
