"""The FILE of `attend` knows what made it, and is not gone on with by anything else."""

import json

import pytest

from foveate.errors import BadInput
from foveate.storage.results import MADE_BY, Results

MADE = {"run": "run", "hash": "0a1b", "settings": {"max_gazes": 20, "search": {"angles": 4}}}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, *names, made_by=MADE, **options):
    with Results(str(path), made_by=made_by, **options) as results:
        for name in names:
            results.append({"image": name, "gazes": []})
        results.finish()
        return set(results.done)


def test_the_first_line_alone_tells_what_made_the_file_beside_its_image(tmp_path):
    write(tmp_path / "o.jsonl", "a", "b")
    assert lines(tmp_path / "o.jsonl") == [{"image": "a", "gazes": [], MADE_BY: MADE}, {"image": "b", "gazes": []}]


def test_a_file_is_gone_on_with_by_what_began_it_alone(tmp_path):
    path = tmp_path / "o.jsonl"
    write(path, "a")
    assert write(path, "b", resume=True) == {"a"}
    assert [MADE_BY in line for line in lines(path)] == [True, False]
    before = path.read_bytes()
    others = {
        r"the RUN run \(0a1b\), not the RUN other \(ffff\)": {**MADE, "run": "other", "hash": "ffff"},
        r"settings\.search\.angles = 4, not 8": {**MADE, "settings": {"max_gazes": 20, "search": {"angles": 8}}},
        r"tiles = None, not True": {**MADE, "tiles": True},
    }
    for reason, other in others.items():
        with pytest.raises(BadInput, match=f"was started with {reason}: --overwrite begins anew"):
            write(path, "c", made_by=other, resume=True)
        assert path.read_bytes() == before


def test_a_file_of_an_older_version_tells_nothing_and_is_gone_on_with(tmp_path):
    path = tmp_path / "o.jsonl"
    path.write_text('{"image": "a", "gazes": []}\n')
    assert write(path, "b", resume=True) == {"a"}
    assert not any(MADE_BY in line for line in lines(path))


def test_what_made_the_file_stays_in_the_first_line_when_lines_are_put_in_order(tmp_path):
    path = tmp_path / "o.jsonl"
    with Results(str(path), made_by=MADE) as results:
        for name in ("c", "a", "b"):
            results.append({"image": name, "gazes": [0.1]})
        results.arrange(["a", "b", "c"])
        results.finish()
    assert lines(path) == [
        {"image": "a", "gazes": [0.1], MADE_BY: MADE}, {"image": "b", "gazes": [0.1]}, {"image": "c", "gazes": [0.1]}
    ]  # fmt: skip
    assert path.read_text().startswith('{"image": "a"')
