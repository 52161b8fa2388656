"""A `learn` that is refused leaves nothing behind, whatever it was refused for."""

import pytest
from folders import picture
from untrained import write_untrained

from foveate.cli import main as cli


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["empty"], "no images"),
        (["nosuch"], "not a folder"),
        (["one"], "1 scene: at least 2 are needed"),
        (["two", "--select", "7:9"], "none of 2 images"),
        (["two", "--set", "rounds=0"], "rounds"),
        (["two", "--replay", "nosuch"], "not a folder"),
        (["two", "--group", "("], "not a valid regular expression"),
    ],
)
def test_a_refused_learn_leaves_nothing(tmp_path, monkeypatch, capfd, words, said):
    monkeypatch.chdir(tmp_path)
    write_untrained(tmp_path / "run", 6, 4)
    for folder, count in (("empty", 0), ("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            picture(60, 40, seed=number).save(tmp_path / folder / f"{number}.png")
    assert cli.run(["learn", "run", *words, "--out", "learned"]) == 2
    assert said in capfd.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "one", "run", "two"]
