"""How long a training takes, and the counts for a given time."""

import tomllib

import pytest
from folders import coco_folder

from foveate.cli import main as cli
from foveate.training.costs import COUNTS, core_seconds, counts, counts_for, with_counts
from foveate.training.settings import PRESETS


def test_the_table_gives_the_time_of_the_training_that_it_is_from():
    then = with_counts(PRESETS["standard"], {"shiftnet.steps": 4500, "fine.steps": 1200})
    assert core_seconds(then, 870, 870) == pytest.approx(1945, rel=0.03)
    assert core_seconds(PRESETS["standard"], 870, 870) < 25 * 60
    assert core_seconds(PRESETS["quick"], 100, 100) < 240


def test_the_presets_are_two_rows_of_the_counts():
    for share, preset in ((0.0, "quick"), (1.0, "standard")):
        table = counts(share)
        assert list(table) == list(COUNTS)
        assert with_counts(PRESETS[preset], table) == PRESETS[preset]


def test_counts_fill_the_time_and_stay_between_the_presets():
    (few, least), (some, spent), (all_, most) = (counts_for(m, 100, 100, "standard") for m in (0.1, 10.0, 500.0))
    assert few == counts(0.0) and all_ == counts(1.0) and least < 10 < most
    assert spent == pytest.approx(10, rel=0.02) and spent <= 10
    assert all(few[name] < some[name] < all_[name] for name in COUNTS)
    settings = with_counts(PRESETS["standard"], some)
    assert core_seconds(settings, 100, 100) == pytest.approx(60 * spent)


def test_the_command_line_writes_the_counts_and_what_is_set_goes_over_them(tmp_path, capfd):
    images = [(f"{number}.png", [[20, 20, 40, 40]]) for number in range(8)]
    words = ["train", str(coco_folder(tmp_path / "scenes", images)), "--out", str(tmp_path / "run"), "--minutes", "8"]
    assert cli.run([*words, "--set", "fine.steps=7", "--print-config"]) == 0
    out, err = capfd.readouterr()
    table, (found, _) = tomllib.loads(out)["settings"], counts_for(8.0, 8, 8, "standard")
    assert "about 8.0 minutes of one core; --minutes 8 is asked for" in err
    assert table["shiftnet"]["steps"] == found["shiftnet.steps"] != 1500 and table["fine"]["steps"] == 7
