"""`foveate evaluate`: what it needs, what it prints, what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from founds import found
from PIL import Image

from foveate.boltzmann.dbn import GaussianDBN
from foveate.cli import main as cli
from foveate.evaluation.bound import evaluate_bound
from foveate.evaluation.patches import load_patches
from foveate.scenes.listing import scan

SHORT = ["--chains", "4", "--temperatures", "20", "--samples", "5", "--importance-samples", "10"]


def small_model(n_visible):
    model = GaussianDBN(n_visible, 4, 3)
    for tensor in (model.grbm.W, model.rbm.W):
        tensor.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def run_path(tmp_path):
    """A RUN with a patch model of D = 6 and nothing else."""
    path = tmp_path / "run"
    path.mkdir()
    small_model(6).save(path / "gdbn.safetensors")
    return path


@pytest.fixture
def patches(tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32))
    return path


@pytest.fixture
def scenes(tmp_path):
    """Three pictures with one, two and no annotated squares."""
    folder = tmp_path / "scenes"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(folder / "images" / f"{number}.png")
    boxes = [(0, [5, 5, 20, 20]), (1, [10, 8, 16, 16]), (1, [20, 15, 22, 22])]
    content = {
        "images": [{"id": k, "file_name": f"{k}.png", "width": 50, "height": 40} for k in range(3)],
        "annotations": [{"id": k, "image_id": i, "category_id": 1, "bbox": b} for k, (i, b) in enumerate(boxes)],
        "categories": [{"id": 1, "name": "square"}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def evaluate(*words):
    return cli.run(["evaluate", *map(str, words)])


def test_the_bound_needs_of_a_run_its_patch_model_alone_and_prints_what_is_promised(run_path, patches, capfd):
    assert evaluate("bound", run_path, patches, *SHORT, "--baselines", patches, "--grbm", "--json", "--seed", "3") == 0
    out = capfd.readouterr().out
    figures = json.loads(out)
    promised = "n dim bound bound_stderr iw_bound pixel_offset log_z log_z_lower log_z_upper log_z_stderr ess chains"
    assert set(promised.split()) | {"temperatures", "seconds", "baselines", "grbm_log_density"} <= figures.keys()
    assert {"diagonal", "factor_analysis", "ppca", "ledoit_wolf"} <= figures["baselines"].keys()
    assert out.count("\n") == 1 and (figures["n"], figures["dim"]) == (9, 6)
    direct = evaluate_bound(
        GaussianDBN.load(run_path / "gdbn.safetensors"),
        load_patches(patches),
        chains=4,
        temperatures=20,
        samples=5,
        importance_samples=10,
        seed=3,
    )
    assert figures["bound"] == direct["bound"] and figures["log_z_upper"] == direct["log_z_upper"]


@pytest.mark.parametrize("kind", [">f4", "<f8", ">f8"])
def test_patches_of_any_byte_order_and_width_give_the_same_figures(run_path, patches, tmp_path, capfd, kind):
    np.save(tmp_path / "other.npy", np.load(patches).astype(kind))
    found = []
    for path in (patches, tmp_path / "other.npy"):
        assert evaluate("bound", run_path, path, *SHORT, "--baselines", path, "--json") == 0
        found.append(json.loads(capfd.readouterr().out) | {"seconds": 0})
    assert found[0] == found[1]


def test_shards_merged_are_the_whole(run_path, patches, tmp_path, capfd):
    words = [run_path, patches, *SHORT, "--json"]
    assert evaluate("bound", *words) == 0
    whole = json.loads(capfd.readouterr().out)
    for number in (1, 2):
        assert evaluate("bound", *words, "--shard", f"{number}/2", "--state", tmp_path / f"s{number}") == 0
    capfd.readouterr()
    assert evaluate("bound", *words, "--merge", tmp_path / "s1", "--merge", tmp_path / "s2") == 0
    merged = json.loads(capfd.readouterr().out)
    for name in ("n", "bound", "iw_bound", "log_z", "log_z_upper", "ess"):
        assert merged[name] == whole[name]


def test_scenes_mean_the_aligned_patches_of_their_objects(tmp_path, scenes, capfd):
    run = tmp_path / "colour"
    run.mkdir()
    small_model(1728).save(run / "gdbn.safetensors")
    assert evaluate("bound", run, scenes, *SHORT, "--json") == 0
    assert json.loads(capfd.readouterr().out)["n"] == 3
    assert evaluate("bound", run, scenes, *SHORT, "--json", "--select", "1:2") == 0
    assert json.loads(capfd.readouterr().out)["n"] == 2
    assert evaluate("bound", run, scenes, *SHORT, "--select", "2:3") == 2
    assert "no object is annotated" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.zeros((3, 5), np.float32), "expected [N, 6]"),
        (np.zeros((0, 6), np.float32), "N at least 1"),
        (np.zeros((3, 6), np.uint8), "uint8"),
        (np.full((3, 6), np.nan, np.float32), "not finite"),
        (np.full((3, 6), 1e300), "not finite"),
        (np.zeros((3, 6), np.complex64), "complex64"),
        (np.zeros(3, [("a", "f4"), ("b", "f4")]), "expected standardised float32"),
        (np.array([{"a": 1}], dtype=object), "not a .npy file of numbers"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", "not a .npy file of numbers"),
        (b"nothing", "not a .npy file of numbers"),
        (b"", "not a .npy file of numbers"),
    ],
)
def test_patches_that_can_not_be_used_are_one_line(run_path, tmp_path, capfd, content, said):
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    assert evaluate("bound", run_path, path, *SHORT) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("foveate: ") and said in last


def test_a_pickle_in_a_patches_file_is_never_opened(run_path, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.save(tmp_path / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert evaluate("bound", run_path, tmp_path / "x.npy", *SHORT) == 2
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{p}", "--select", "0:1"], "--select needs a folder of images"),
        (["{p}", "--resume"], "--state"),
        (["{p}", "--shard", "3/2"], "--shard 3/2"),
        (["{p}x"], "no such file or folder"),
        (["{p}", "--merge", "{p}"], "p.npy"),
    ],
)
def test_wrong_use_of_bound_is_one_line(run_path, patches, capfd, words, said):
    assert evaluate("bound", run_path, *(word.format(p=patches) for word in words)) == 2
    err = capfd.readouterr().err
    assert said in err and err.count("\n") == 1


def test_figures_go_into_a_closed_pipe_without_a_word(run_path, patches, environment):
    command = [sys.executable, "-m", "foveate", "evaluate", "bound", str(run_path), str(patches), *SHORT, "--json"]
    script = f"{' '.join(command)} | true; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (ended.stdout.strip(), ended.stderr) in (("0", ""), ("141", ""))


@pytest.fixture
def fakes(run_path, monkeypatch):
    """A whole RUN that finds an unlikely gaze that is right in the first of `scenes`, and a false one, everywhere."""
    from foveate.attention.attend import Attention
    from foveate.storage.files import save_tensors

    class Fake(Attention):
        gdbn = GaussianDBN(1728, 2, 2)

        def __init__(self):
            pass

        def attend_one(self, image, name, settings):
            truth, false = np.array([10.0, 0, 15, 15]), np.array([3.0, 0, 40, 5])
            return [found(u, p, p, [u, u]) for u, p in ((truth, 0.4), (false, 0.2)) if p >= settings.min_probability]

    for name in ("shiftnet", "background"):
        save_tensors(run_path / f"{name}.safetensors", {})
    monkeypatch.setattr(Attention, "load", classmethod(lambda cls, run, device="cpu": Fake()))


def test_localization_counts_the_best_gaze_however_unlikely_and_keeps_the_figures(fakes, run_path, scenes, capfd):
    assert evaluate("localization", run_path, scenes, "--json", "--select", "0:1", "--min-probability", "0.5") == 0
    figures = json.loads(capfd.readouterr().out)
    assert (figures["photos"], figures["objects"]) == (1, 1)
    assert figures["top1"]["0.5"] == 1.0 and figures["recall"]["0.5"] == 0.0
    assert evaluate("localization", run_path, scenes, "--json", "--select", "0:1", "--min-probability", "0.3") == 0
    assert json.loads(capfd.readouterr().out)["recall"]["0.5"] == 1.0
    assert [path.name for path in (run_path / "story").iterdir()] == ["localization-scenes-0-1.safetensors"]


def test_of_several_kinds_the_run_s_own_is_evaluated_and_another_is_told(fakes, run_path, scenes, capfd):
    (run_path / "config.toml").write_text('category = "square"\n')
    document = json.loads((scenes / "annotations.json").read_text())
    document["categories"].append({"id": 2, "name": "ring"})
    document["annotations"].append({"id": 9, "image_id": 2, "category_id": 2, "bbox": [5, 5, 20, 20]})
    (scenes / "annotations.json").write_text(json.dumps(document))
    for words, objects in (([], 3), (["--category", "ring"], 1)):
        assert evaluate("localization", run_path, scenes, "--json", *words) == 0
        out, err = capfd.readouterr()
        assert json.loads(out)["objects"] == objects
        assert ("was trained on 'square'" in err and "'ring'" in err) == (objects == 1)


def test_scenes_without_annotations_are_nothing_to_evaluate_against(fakes, run_path, scenes, capfd):
    (scenes / "annotations.json").unlink()
    for what in ("localization", "bound"):
        assert evaluate(what, run_path, scenes) == 2
        assert "no annotations to evaluate against" in capfd.readouterr().err.splitlines()[-1]


def test_localization_is_plotted_into_the_run_or_where_it_is_asked(fakes, run_path, scenes, tmp_path, capfd):
    assert evaluate("localization", run_path, scenes) == 0
    with Image.open(run_path / "localization-scenes.png") as picture:
        assert picture.width > 1000
    assert f"plot: {run_path / 'localization-scenes.png'}" in capfd.readouterr().err.splitlines()
    assert evaluate("localization", run_path, scenes, "--turn", "90", "--plot", tmp_path / "p.PDF") == 0
    assert (tmp_path / "p.PDF").read_bytes().startswith(b"%PDF")
    assert [path.name for path in run_path.glob("*.png")] == ["localization-scenes.png"]
    assert scan(run_path.parent).images == scan(scenes).images, "no picture of ours is attended or learned from"
    capfd.readouterr()
    for name, said in (("p.txt", ".png, .pdf, .svg"), ("gone/p.svg", "can't write")):
        assert evaluate("localization", run_path, scenes, "--plot", tmp_path / name) == 2
        assert said in capfd.readouterr().err.splitlines()[-1]


def test_a_run_that_can_not_be_written_to_is_evaluated_all_the_same(fakes, run_path, scenes, tmp_path, capfd):
    (run_path / "localization-scenes.png").mkdir()  # stands for a RUN on a read-only disk: root may write anywhere
    assert evaluate("localization", run_path, scenes, "--json") == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["photos"] == 3 and "no plot: can't write" in err
    for path in (run_path / "story").iterdir():
        path.unlink()
    (run_path / "story").rmdir()
    (run_path / "story").touch()
    assert evaluate("localization", run_path, scenes, "--json", "--plot", tmp_path / "p.svg") == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["photos"] == 3 and "not added to the page" in err and (tmp_path / "p.svg").is_file()
