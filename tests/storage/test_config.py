"""Settings: preset, then file, then command line; an error names the field."""

import tomllib
from dataclasses import field, replace
from typing import Literal

import pytest

from foveate.errors import BadInput
from foveate.storage.config import (
    AtLeast1,
    Share,
    differences,
    listed,
    override,
    parse_overrides,
    read_toml,
    settings,
    to_table,
    to_toml,
    write_toml,
)


@settings
class Layer:
    units: AtLeast1 = 500
    rate: Share = 0.05
    kinds: tuple[str, ...] = ("a", "b")


@settings
class Whole:
    first: Layer = field(default_factory=Layer)
    second: Layer = field(default_factory=lambda: Layer(units=300))
    name: Literal["x", "cpu", 'quo"te\n'] = "x"
    limit: float | None = None
    mirror: bool = True


def test_a_value_replaces_its_field_and_no_other():
    words = ["first.units=64", "first.rate=1", "name=cpu", "limit=2.5", "mirror=false", 'second.kinds=["c"]']
    changed = override(Whole(), parse_overrides(words), "--set")
    expected = Whole(Layer(64, 1.0), Layer(300, kinds=("c",)), "cpu", 2.5, False)
    assert changed == expected and isinstance(changed.first.rate, float)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("first.unit=3", r"no setting first\.unit, did you mean first\.units\?"),
        ("zz=1", r"no setting zz; there are first, limit"),
        ("first=3", r"first is a table of settings, got 3"),
        ("first.units=many", r"first\.units: .*valid integer.*, got 'many'"),
        ("first.units=2.5", r"first\.units: .*integer.*, got 2\.5"),
        ("first.units=true", r"first\.units: .*integer.*, got True"),
        ("first.units=0", r"first\.units: .*greater than or equal to 1, got 0"),
        ("second.rate=1.01", r"second\.rate: .*less than or equal to 1, got 1\.01"),
        ("second.rate=nan", r"second\.rate: .*finite.*, got nan"),
        ("limit=inf", r"limit: .*finite.*, got inf"),
        ("name=y", r"name: .*'x', 'cpu'.*, got 'y'"),
        ("mirror=7", r"mirror: .*boolean.*, got 7"),
        ("first.units", r"expected NAME=VALUE"),
        ("=3", r"expected NAME=VALUE"),
    ],
)
def test_a_wrong_word_is_one_line_that_names_it(word, text):
    with pytest.raises(BadInput, match=text) as error:
        override(Whole(), parse_overrides([word]), "--set")
    assert "\n" not in str(error.value)


def test_what_is_made_or_replaced_in_python_is_checked_too():
    with pytest.raises(BadInput, match=r"units: .*greater than or equal to 1, got 0"):
        Layer(units=0)
    with pytest.raises(BadInput, match=r"name: .*, got 'y'"):
        replace(Whole(), name="y")
    with pytest.raises(BadInput, match="breadth: unexpected"):
        Layer(breadth=3)


def test_settings_survive_a_toml_file(tmp_path):
    settings = Whole(Layer(7, 1e-6), name='quo"te\n')
    write_toml(tmp_path / "config.toml", {"settings": to_table(settings)})
    read = read_toml(tmp_path / "config.toml")["settings"]
    assert override(Whole(), read, "config.toml") == settings
    assert "limit" not in read  # None has no word in TOML


def test_toml_keeps_nested_none_out_and_paths_as_text(tmp_path):
    table = tomllib.loads(to_toml({"a": {"b": None, "c": (1, 2)}, "p": tmp_path}))
    assert table == {"a": {"c": [1, 2]}, "p": str(tmp_path)}


def test_a_file_that_is_no_toml_is_named(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "b.toml").write_text("a = \n")
    for name in ("a.toml", "b.toml", "gone.toml"):
        with pytest.raises(BadInput, match=name):
            read_toml(tmp_path / name)


def test_differences_are_told_by_dotted_name():
    mine, theirs = listed(Whole()), listed(Whole(Layer(64)))
    assert differences(mine, theirs) == ["first.units = 500, not 64"]
    assert differences(mine, mine) == []
