"""The examples: each is short, runs, makes a picture, and has its place in the guide."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from untrained import write_untrained

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
GUIDE = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]


@pytest.fixture
def arguments(tmp_path):
    """What an example is given besides the picture to make: one's own RUN and photographs, here two of noise."""
    write_untrained(tmp_path / "RUN", 6, 4)
    (tmp_path / "photographs").mkdir()
    for number, shape in enumerate(((30, 45, 3), (40, 30, 3))):
        noise = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photographs" / f"{number}.png")
    return {"own_photographs.py": ["RUN", "photographs"]}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_makes_its_picture(example, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(example), *arguments.get(example.name, []), "picture.png"])
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out, "it says in figures what the picture shows"
    with Image.open("picture.png") as picture:
        assert min(picture.size) >= 300 and len(picture.convert("L").getcolors()) > 20


def test_without_a_run_attention_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["own_photographs.py"])
    with pytest.raises(SystemExit, match="make demo"):
        runpy.run_path(str(ROOT / "examples" / "own_photographs.py"), run_name="__main__")


def test_examples_are_short_and_linked_from_the_guide():
    text = "".join(page.read_text(encoding="utf-8") for page in GUIDE)
    assert EXAMPLES and all(f"examples/{example.name})" in text for example in EXAMPLES)
    assert max(example.read_text(encoding="utf-8").count("\n") for example in EXAMPLES) <= 100
