"""The command line: exit statuses, one line for each mistake, JSON alone on stdout, a quick --help."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from foveate.boltzmann.dbn import GaussianDBN
from foveate.cli import main as cli
from foveate.errors import BadInput, Interrupted
from foveate.storage.files import CannotWrite


@pytest.fixture
def run_with(foveate, tmp_path):
    """A RUN folder with a patch model of D = 27 (3 x 3 pixels) and nothing else."""
    path = tmp_path / "run"
    path.mkdir()
    model = GaussianDBN(27, 4, 3)
    for tensor in (model.grbm.W, model.rbm.W):
        tensor.normal_(generator=torch.Generator().manual_seed(0))
    model.save(path / "gdbn.safetensors")
    return path


def outcome(monkeypatch, capfd, error):
    """Exit status and stderr of a command that raises `error`."""

    def fails(name, words):
        raise error

    monkeypatch.setattr(cli, "call", fails)
    return cli.run(["train"]), capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BadInput("scenes: no annotations"), 2, "foveate: scenes: no annotations\n"),
        (BadInput("first\n  second"), 2, "foveate: first second\n"),
        (CannotWrite("can't write x: no space left on device"), 2, "foveate: can't write x: no space left on device\n"),
        (PermissionError(13, "Permission denied", "x.png"), 2, "foveate: x.png: permission denied\n"),
        (OSError(28, "No space left on device"), 2, "foveate: no space left on device\n"),
        (Interrupted(2), 130, "foveate: interrupted\n"),
        (Interrupted(15), 143, "foveate: interrupted\n"),
        (KeyboardInterrupt(), 130, "foveate: interrupted\n"),
    ],
)
def test_what_is_not_our_fault_is_one_line_and_no_traceback(monkeypatch, capfd, error, status, said):
    assert outcome(monkeypatch, capfd, error) == (status, said)


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(5, "Input/output error"), RuntimeError("size 3 != 4")])
def test_a_fault_of_ours_is_a_traceback_and_status_1(monkeypatch, capfd, error):
    status, said = outcome(monkeypatch, capfd, error)
    assert status == 1 and "Traceback" in said and type(error).__name__ in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "did you mean 'train'"),
        (["evaluate"], "evaluate ambiguity, evaluate bound, evaluate convergence, evaluate localization"),
        (["evaluate", "bounds"], "evaluate ambiguity, evaluate bound, evaluate convergence, evaluate localization"),
        (["train"], "SCENES"),
        (["train", "scenes"], "--out"),
        (["train", "scenes", "--out", "run", "--seed", "x"], "--seed"),
        (["train", "scenes", "--out", "run", "--seed", "-1"], "--seed"),
        (["train", "scenes", "--out", "run", "--device", "gpu"], "--device"),
        (["train", "scenes", "--out", "run", "--prest", "quick"], "--preset"),
        (["attend", "run", "--out", "x"], "IMAGES"),
        (["attend", "run", "images", "--out", "x", "--min-probability", "1.5"], "--min-probability"),
        (["sample", "run", "--out", "x", "--count", "0"], "--count"),
        (["report", "a", "b"], "b"),
    ],
)
def test_wrong_use_is_one_line_that_names_the_word_and_status_2(capfd, words, said):
    assert cli.run(words) == 2
    out, err = capfd.readouterr()
    assert out == "" and said in err and err.count("\n") == 1 and err.startswith("foveate: ")


@pytest.mark.parametrize("name", sorted(cli.COMMANDS.keys() - {"completion"}))  # which computes nothing
def test_every_command_tells_of_itself(capfd, name):
    assert cli.run([*name.split(), "--help"]) == 0
    out, err = capfd.readouterr()
    assert err == "" and all(option in out for option in ("--seed", "--device", "--json"))


def test_the_general_help_lists_every_command_and_needs_no_torch(foveate, environment):
    script = (
        "import sys; from foveate.cli import main as cli; cli.run(['--help']); "
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert all(name in ended.stdout for name in cli.COMMANDS)
    assert not {"torch", "numpy", "cyclopts", "rich", "PIL"} & set(eval(ended.stderr))


@pytest.mark.parametrize("name", ["train", "attend", "learn", "evaluate localization"])
def test_a_command_reads_its_words_without_what_only_its_work_needs(foveate, environment, name):
    script = (
        f"import sys; from foveate.cli import main as cli; cli.run([*{name.split()}, '--help']); "
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "PIL", "jaxtyping"} & set(eval(ended.stderr))


def test_help_takes_under_three_tenths_of_a_second_of_processor_time(foveate):
    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def once():
        before = spent()
        assert foveate("--help").returncode == 0
        return spent() - before

    assert min(once() for _ in range(3)) < 0.3


def test_json_is_one_object_alone_on_stdout(foveate, run_with, tmp_path):
    ended = foveate("sample", run_with, "--count", "5", "--steps", "3", "--out", tmp_path / "s.png", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"out": str(tmp_path / "s.png"), "count": 5, "steps": 3}
    assert ended.stdout.count("\n") == 1


def test_samples_depend_on_the_seed_alone(run_with, tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        words = ["--count", "9", "--steps", "30", "--seed", seed, "--out", str(tmp_path / name)]
        assert cli.run(["sample", str(run_with), *words]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_samples_are_drawn_as_patches_side_by_side(run_with, tmp_path):
    from PIL import Image

    assert cli.run(["sample", str(run_with), "--count", "5", "--steps", "2", "--out", str(tmp_path / "s.png")]) == 0
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.size == (3 * 9 + 2, 2 * 9 + 1)  # 3 columns and 2 rows of 3 x 3 patches, times 3; a pixel between
        assert picture.getchannel("A").getextrema() == (0, 255)  # nothing where there is no patch


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_a_closed_pipe_is_no_error(environment, words):
    command = " ".join([sys.executable, "-m", "foveate", *words])
    script = f"{command} | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    for unbuffered in ("1", ""):
        ended = subprocess.run(
            ["bash", "-c", script],
            env={**environment, "PYTHONUNBUFFERED": unbuffered},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stderr == "" and ended.stdout.strip() in ("0", "141")


def test_a_reader_that_is_gone_before_we_write_is_no_error(environment):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "foveate", "--help"]
    ended = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_names_that_are_no_text_are_printed_all_the_same(run_with, environment):
    there = os.fsencode(run_with)
    odd = there + b"-\xff\xc3\xa9"
    os.rename(there, odd)
    command = [sys.executable, "-m", "foveate", "report", odd]
    ended = subprocess.run(command, env={**environment, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(there) and b"report.html" in ended.stdout


def test_cuda_where_there_is_none_is_wrong_use(run_with, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.run(["sample", str(run_with), "--out", str(tmp_path / "s.png"), "--device", "cuda"]) == 2
    assert "device cuda: no CUDA device found" in capfd.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["attend", "{run}", "{images}", "--out", "{tmp}/o"],
        ["report", "{tmp}/none"],
        ["sample", "{tmp}/none", "--out", "{tmp}/o"],
        ["evaluate", "localization", "{run}", "{images}"],
    ],
)
def test_an_unfinished_or_missing_run_is_wrong_use(run_with, tmp_path, capfd, words):
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    places = {"run": run_with, "images": tmp_path / "images", "tmp": tmp_path}
    assert cli.run([word.format(**places) for word in words]) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("foveate: ") and ("no shiftnet.safetensors" in last or "no such RUN folder" in last)
    assert not (tmp_path / "o").exists()


def test_foveate_names_are_imported_when_they_are_used():
    import foveate

    assert foveate.GaussianDBN is GaussianDBN and "GaussianBernoulliRBM" in dir(foveate)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = foveate.nothing_like_it
