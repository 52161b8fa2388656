"""A checkpoint is whole whenever its process dies, and brings everything back."""

import subprocess
import sys

import pytest
import torch

from foveate.errors import BadInput
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints

KILLED_WRITERS = """
import os, pathlib, signal, sys, time, torch
from foveate.storage.checkpoints import Checkpoints

for number in range(6):
    folder = pathlib.Path(sys.argv[1]) / str(number)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        checkpoints = Checkpoints(folder)
        for step in range(10**9):
            checkpoints.save("phase", {"x": torch.full((50_000,), float(step))}, {"step": step})
            os.write(writer, b"%d\\n" % step)
    os.close(writer)
    said = b""
    while said.count(b"\\n") < 3:
        said += os.read(reader, 1000)
    time.sleep(number * 0.0027)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reader, 100_000):
        said += more
    os.close(reader)
    tensors, meta = Checkpoints(folder).load("phase")
    assert meta["step"] >= int(said.split()[-1]), (meta, said)
    assert bool((tensors["x"] == meta["step"]).all())
    print("whole")
"""


def test_everything_comes_back_also_the_state_of_a_generator(tmp_path):
    generator = torch.Generator().manual_seed(7)
    torch.rand(3, generator=generator)
    checkpoints = Checkpoints(tmp_path / "checkpoint")
    checkpoints.save("rbm", {"W": torch.eye(3), "rng": generator.get_state()}, {"epoch": 4, "rate": 0.1})
    expected = torch.rand(5, generator=generator)
    tensors, meta = Checkpoints(tmp_path / "checkpoint").load("rbm")
    restored = torch.Generator()
    restored.set_state(tensors["rng"])
    assert meta == {"epoch": 4, "rate": 0.1}
    assert torch.equal(torch.rand(5, generator=restored), expected)


def test_a_phase_is_done_only_after_finish_and_keeps_its_last_state(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert not checkpoints.done("grbm") and checkpoints.load("grbm") is None
    checkpoints.save("grbm", {"W": torch.ones(2)}, {"epoch": 1})
    assert not checkpoints.done("grbm")
    checkpoints.finish("grbm")
    assert checkpoints.done("grbm")
    tensors, meta = checkpoints.load("grbm")
    assert torch.equal(tensors["W"], torch.ones(2)) and meta == {"epoch": 1}
    checkpoints.finish("grbm", {"W": torch.zeros(2)}, {"error": 0.5})
    assert torch.equal(checkpoints.load("grbm")[0]["W"], torch.zeros(2))


def test_the_log_belongs_to_the_newest_checkpoint(tmp_path):
    lengths = iter([100, 250])
    checkpoints = Checkpoints(tmp_path, lambda: next(lengths))
    assert checkpoints.log_end() == 0
    checkpoints.finish("first", {})
    checkpoints.save("second", {})
    assert Checkpoints(tmp_path).log_end() == 250


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", " a", "a ", "x\n", "é"])
def test_a_name_leads_nowhere_else(tmp_path, name):
    with pytest.raises(ValueError, match="checkpoint name"):
        Checkpoints(tmp_path).save(name, {})


def test_a_damaged_or_foreign_file_is_bad_input(tmp_path):
    from safetensors.torch import save_file

    checkpoints = Checkpoints(tmp_path)
    (tmp_path / "torn.safetensors").write_bytes(b"\0" * 40)
    save_file({"x": torch.ones(1)}, tmp_path / "foreign.safetensors")
    for name in ("torn", "foreign"):
        with pytest.raises(BadInput, match=name):
            checkpoints.load(name)


def test_after_a_kill_the_checkpoint_is_the_last_whole_one(tmp_path, environment):
    command = [sys.executable, "-c", KILLED_WRITERS, str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["whole"] * 6


def test_nothing_is_kept_without_a_run():
    checkpoints = NoCheckpoints()
    checkpoints.save("x", {"W": torch.ones(1)}, {})
    checkpoints.finish("x")
    assert checkpoints.load("x") is None and not checkpoints.done("x")
