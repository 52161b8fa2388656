"""One object in mind: which of two it is, whatever the light; what is refused; what lines, tables and pictures say."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from untrained import write_untrained

from foveate import load
from foveate.api.attention import to_dataframe
from foveate.attention.models import Models
from foveate.cli import main as cli
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    write_untrained(folder, 6, 4)
    return folder


def blobs(seed, side=96):
    """A smooth picture in [0, 1], another for each seed."""
    rng = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, 12, 12, generator=rng)
    shown = torch.nn.functional.interpolate(small, size=(side, side), mode="bicubic", align_corners=False)
    return shown[0].permute(1, 2, 0).clamp(0, 1).numpy()


def as_file(path, pixels):
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path)
    return path


def test_the_one_in_mind_is_told_from_others_through_another_gaze_and_light(run):
    models = Models.load(run)
    right = 0
    for k in range(20):
        one, other = blobs(k), blobs(100 + k)
        mind = models.looking_for(one).mind
        pyramids = Pyramids.from_images([0.2 + 0.5 * one, other])
        at = torch.tensor([[50.0, 3.0, 50.0, 46.0]] * 2, dtype=torch.float64)
        likeness = mind.likeness(glimpses(pyramids, np.arange(2), at))
        right += likeness[0] > 0 > likeness[1]
        assert likeness[0] > likeness[1]
    assert right >= 18


def test_a_crop_and_a_gaze_that_show_the_same_bring_the_same_to_mind(run, tmp_path):
    models, picture = Models.load(run), blobs(3, 120)
    whole, cut = as_file(tmp_path / "a:b.png", picture), as_file(tmp_path / "crop.png", picture[20:80, 40:100])
    first = models.looking_for(str(cut)).mind
    second = models.looking_for(f"{whole}:30,0,70,50").mind
    third = models.looking_for((str(whole), [30, 0, 70, 50])).mind
    assert torch.allclose(first.v, second.v, atol=0.05) and torch.equal(second.v, third.v)


@pytest.mark.parametrize(
    ("like", "why"),
    [
        ("missing.png", "missing.png"),
        ("text.png", "text.png"),
        ("flat.png", "nothing to be seen"),
        ("tiny.png", "window of 4 pixels"),
        ("good.png:9,0,1000,5", "isn't in the image"),
        ("good.png:9,0,nan,5", "isn't in the image"),
        ("good.png:0,0,50,50", "window of 0 pixels"),
        ("good.png:a,b,50,50", "four numbers"),
    ],
)
def test_what_shows_nothing_is_refused_in_one_line_before_anything_is_written(run, tmp_path, capsys, like, why):
    as_file(tmp_path / "good.png", blobs(1))
    as_file(tmp_path / "flat.png", np.full((40, 40, 3), 0.5))
    as_file(tmp_path / "tiny.png", blobs(1)[:4, :4])
    (tmp_path / "text.png").write_text("no image")
    out = tmp_path / "found.jsonl"
    assert (
        cli.run(["attend", str(run), str(tmp_path / "good.png"), "--out", str(out), "--like", f"{tmp_path}/{like}"])
        == 2
    )
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert why in said and not out.exists()


def test_gazes_are_ordered_by_likeness_in_lines_tables_and_python(run, tmp_path):
    picture = as_file(tmp_path / "one.png", np.concatenate([blobs(k) for k in range(5)], 1))
    like, out, table = f"{picture}:40,0,48,48", tmp_path / "found.jsonl", tmp_path / "found.csv"
    how = ["--min-probability", "0", "--max-gazes", "9"]
    for setting in ("posterior.chains=0", "search.coarse=0", "search.fine=0", "search.floor=0.001"):
        how += ["--set", setting]
    overlays = tmp_path / "overlays"
    written = ["--out", str(out), "--csv", str(table), "--overlays", str(overlays)]
    assert cli.run(["attend", str(run), str(picture), "--like", like, *written, *how]) == 0
    gazes = json.loads(out.read_text())["gazes"]
    likeness = [gaze["likeness"] for gaze in gazes]
    assert len(gazes) > 1 and likeness == sorted(likeness, reverse=True)
    assert [float(row.split(",")[13]) for row in table.read_text().splitlines()[1:]] == likeness
    assert len(list(overlays.glob("*.jpg"))) == 1
    search = {"coarse": 0, "fine": 0, "floor": 0.001}
    options = {"min_probability": 0.0, "max_gazes": 9, "posterior": {"chains": 0}, "search": search}
    found = load(run, "cpu").attend(str(picture), like=like, **options)
    assert [one.likeness for one in found] == likeness and list(to_dataframe(found)["likeness"]) == likeness
    assert all(one.likeness is None for one in load(run, "cpu").attend(str(picture), **options))
