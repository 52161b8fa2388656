"""A RUN is claimed by one process, goes on where it stopped, and is replaced only by a whole one."""

import subprocess
import sys

import pytest
import torch

from foveate.errors import BadInput, Interrupted
from foveate.storage.files import read_lines, save_tensors
from foveate.storage.run import METRICS, MODELS, Run

CLAIMANT = """
import sys, time
sys.modules["torch"] = None  # a claim needs no torch; without it, many processes start at nearly the same moment
from foveate.errors import BadInput
from foveate.storage.run import Run
print("ready", flush=True)
sys.stdin.readline()
try:
    with Run.claim(sys.argv[1], overwrite="o" in sys.argv[2], resume="r" in sys.argv[2]):
        print("won", flush=True)
        sys.stdin.readline()
except BadInput as error:
    print("lost", error, flush=True)
"""


def whole_run(path, seed=0):
    with Run.claim(path) as run:
        run.write_config({"seed": seed})
        for name in MODELS:
            save_tensors(run.path / name, {"x": torch.full((2,), float(seed))})
        run.finish()
    return path


@pytest.mark.parametrize(("mode", "before"), [("", "nothing"), ("r", "nothing"), ("r", "begun"), ("o", "whole")])
def test_of_many_processes_exactly_one_gets_the_run(tmp_path, environment, mode, before):
    path = tmp_path / "run"
    if before == "whole":
        whole_run(path)
    elif before == "begun":
        with Run.claim(path) as run:
            run.write_config({"seed": 0})
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMANT, str(path), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(6)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    answers = [child.stdout.readline() for child in children]
    for child in children:
        child.communicate("\n", timeout=60)
    assert sorted(answer.split()[0] for answer in answers) == ["lost"] * 5 + ["won"], answers


def test_a_run_that_exists_is_refused_unless_asked(tmp_path):
    path = whole_run(tmp_path / "run")
    with pytest.raises(BadInput, match=r"run exists: --resume .* --overwrite"):
        Run.claim(path)
    assert Run.open(path).config == {"seed": 0}


def test_the_old_run_stays_until_the_new_one_is_whole(tmp_path):
    path = whole_run(tmp_path / "run", seed=1)
    with pytest.raises(Interrupted), Run.claim(path, overwrite=True) as run:
        run.write_config({"seed": 2})
        run.checkpoints.save("grbm", {"x": torch.zeros(1)}, {})
        assert Run.open(path).config == {"seed": 1}
        raise Interrupted
    assert Run.open(path).config == {"seed": 1}
    with Run.claim(path, resume=True) as run:  # goes on with the one that was to replace it
        assert run.config == {"seed": 2} and run.checkpoints.load("grbm") is not None
        run.finish()
        assert run.path == path
    assert Run.open(path, needs=()).config == {"seed": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    assert not (path / MODELS[0]).exists()


def test_replacing_anew_drops_what_an_earlier_replacement_left(tmp_path):
    path = whole_run(tmp_path / "run", seed=1)
    with pytest.raises(Interrupted), Run.claim(path, overwrite=True) as run:
        run.checkpoints.save("grbm", {}, {})
        raise Interrupted
    with Run.claim(path, overwrite=True) as run:
        assert run.checkpoints.empty() and not run.begun


def test_a_run_that_fails_at_once_leaves_nothing(tmp_path):
    with pytest.raises(BadInput), Run.claim(tmp_path / "deep" / "run") as run:
        run.write_config({"seed": 0})
        run.log({"step": 1})
        raise BadInput("too few objects")
    assert not (tmp_path / "deep" / "run").exists()


def test_a_run_with_a_checkpoint_survives_a_failure(tmp_path):
    with pytest.raises(BadInput), Run.claim(tmp_path / "run") as run:
        run.write_config({"seed": 0})
        run.checkpoints.save("grbm", {}, {})
        raise BadInput("disk full")
    with Run.claim(tmp_path / "run", resume=True) as run:
        assert run.begun and not run.whole


def test_resuming_drops_the_records_that_will_be_written_again(tmp_path):
    with Run.claim(tmp_path / "run") as run:
        run.write_config({})
        for step in range(5):
            run.log({"step": step})
            if step == 2:
                run.checkpoints.save("shiftnet", {}, {"step": step})
    with open(tmp_path / "run" / "metrics.jsonl", "ab") as handle:
        handle.write(b'{"step": 5, "lo')
    with Run.claim(tmp_path / "run", resume=True) as run:
        for step in range(3, 6):
            run.log({"step": step})
        assert [record["step"] for record in read_lines(run.path / METRICS)] == [0, 1, 2, 3, 4, 5]


def test_parts_of_a_run_count_and_a_record_that_comes_again_is_not_doubled(tmp_path):
    with pytest.raises(Interrupted), Run.claim(tmp_path / "run") as run:
        run.write_config({})
        run.log({"round": 1, "bound": 3.5})
        run.checkpoints.within("round-1").finish("attended", {})
        run.log({"round": 2})
        raise Interrupted
    with Run.claim(tmp_path / "run", resume=True) as run:
        assert run.checkpoints.within("round-1").done("attended") and not run.checkpoints.done("attended")
        for record in ({"round": 1, "bound": 3.5}, {"round": 2}, {"round": 2}):
            run.log(record)
        assert read_lines(run.path / METRICS) == [{"round": 1, "bound": 3.5}, {"round": 2}, {"round": 2}]


def test_where_a_checkpoint_does_not_know_the_log_nothing_but_a_torn_line_is_dropped(tmp_path):
    from foveate.storage.checkpoints import Checkpoints

    with Run.claim(tmp_path / "run") as run:
        run.write_config({})
        Checkpoints(run.path / "checkpoint" / "round-1").save("attended", {})
        run.log({"step": 1})
    with open(tmp_path / "run" / "metrics.jsonl", "ab") as handle:
        handle.write(b'{"st')
    with Run.claim(tmp_path / "run", resume=True) as run:
        run.log({"step": 2})
        assert read_lines(run.path / METRICS) == [{"step": 1}, {"step": 2}]


def test_an_empty_folder_may_become_a_run_and_no_other_folder_may(tmp_path):
    (tmp_path / "empty").mkdir()
    with Run.claim(tmp_path / "empty") as run:
        run.write_config({})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for more in ({}, {"overwrite": True}, {"resume": True}, {"overwrite": True, "resume": True}):
        for name in ("photos", "file"):
            with pytest.raises(BadInput, match=name):
                Run.claim(tmp_path / name, **more)
    assert [entry.name for entry in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_opening_says_what_is_missing(tmp_path):
    with pytest.raises(BadInput, match="no such RUN folder"):
        Run.open(tmp_path / "run")
    with Run.claim(tmp_path / "run") as run:
        run.write_config({})
        run.checkpoints.save("grbm", {}, {})
    with pytest.raises(BadInput, match=r"no gdbn.safetensors in it, the run is unfinished"):
        Run.open(tmp_path / "run")
    (tmp_path / "run" / "config.toml").write_text("seed = ")
    with pytest.raises(BadInput, match=r"config.toml: not valid TOML"):
        _ = Run.open(tmp_path / "run", needs=()).config


def test_a_copy_without_its_checkpoints_is_whole(tmp_path):
    import shutil

    path = whole_run(tmp_path / "run")
    shutil.rmtree(path / "checkpoint")
    assert Run.open(path).whole
    with Run.claim(path, resume=True) as run:
        assert run.whole
