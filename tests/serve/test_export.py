"""`foveate export`: what ONNX Runtime computes is what torch computes, and a difference is not kept."""

import json

import numpy as np
import pytest
import torch
from untrained import write_untrained

from foveate.attention.models import Models
from foveate.cli import main as cli
from foveate.serve import export

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime isn't installed: pip install 'foveate[onnx]'")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_untrained(tmp_path_factory.mktemp("export") / "RUN", 6, 4)


def test_networks_compute_the_same_at_other_batches_and_sizes(run, tmp_path, capsys):
    assert cli.run(["export", str(run), "--out", str(tmp_path / "onnx"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["difference"]
    models = Models.load(run)
    names = {"shiftnet", "density"} | {name for name in ("fine", "periphery") if getattr(models, name) is not None}
    assert told.keys() == names and max(told.values()) < 1e-4
    assert {path.stem for path in (tmp_path / "onnx").iterdir()} == names
    v = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "density.onnx")
    log_density, canonical = session.run(None, {"input": v.numpy()})
    expected = -models.gdbn.grbm.free_energy(models.gdbn.standardise(v))
    np.testing.assert_allclose(log_density, expected, rtol=1e-4, atol=1e-2)
    assert canonical.shape == (3, 3, 24, 24)
    if models.periphery is not None:
        glance = onnxruntime.InferenceSession(tmp_path / "onnx" / "periphery.onnx")
        cells = glance.run(None, {"input": np.full((1, 3, 96, 160), 115, np.float32)})[0]
        assert cells.shape == (1, 6, 12, 20)


def test_a_network_that_differs_is_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "CLOSE", 0.0)
    with pytest.raises(ArithmeticError, match="differs from torch"):
        export.export_onnx(Models.load(run), tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_without_onnx_it_says_what_to_install(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert cli.run(["export", str(run), "--out", str(tmp_path / "onnx")]) == 2
    assert "pip install 'foveate[onnx]'" in capsys.readouterr().err and not (tmp_path / "onnx").exists()
