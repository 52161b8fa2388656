"""What tests of `foveate attend` share: a RUN that is never loaded, and pictures."""

import pytest
from fake_attention import FAKE, picture

from foveate.boltzmann.dbn import GaussianDBN
from foveate.storage.files import save_tensors


@pytest.fixture
def fakes(monkeypatch):
    from foveate.attention.attend import Attention

    monkeypatch.setattr(Attention, "load", Attention.__dict__["load"])  # put back at the end
    exec(compile(FAKE, "fake", "exec"), {"__name__": "fake"})


@pytest.fixture
def run_path(tmp_path):
    """A RUN whose models are there; the fake looks at none of them."""
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.toml").write_text('category = "disc"\n')
    GaussianDBN(3, 2, 2).save(path / "gdbn.safetensors")
    for name in ("shiftnet", "background"):
        save_tensors(path / f"{name}.safetensors", {})
    return path


@pytest.fixture
def images(tmp_path):
    """Twelve pictures of different shades."""
    for number in range(12):
        picture(tmp_path / "in" / f"{number:02d}.png", 10 * number)
    return tmp_path / "in"
