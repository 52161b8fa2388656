"""Settings: preset, then file, then command line; an error names the field."""

import tomllib
from dataclasses import asdict, dataclass, field

import pytest

from foveate.errors import BadInput
from foveate.storage.config import differences, override, parse_overrides, read_toml, to_table, to_toml, write_toml


@dataclass(frozen=True)
class Layer:
    units: int = 500
    rate: float = 0.05
    kinds: tuple[str, ...] = ("a", "b")


@dataclass(frozen=True)
class Whole:
    first: Layer = field(default_factory=Layer)
    second: Layer = field(default_factory=lambda: Layer(units=300))
    name: str = "x"
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
        ("mirror=7", r"mirror: .*boolean.*, got 7"),
        ("first.units", r"expected NAME=VALUE"),
        ("=3", r"expected NAME=VALUE"),
    ],
)
def test_a_wrong_word_is_one_line_that_names_it(word, text):
    with pytest.raises(BadInput, match=text) as error:
        override(Whole(), parse_overrides([word]), "--set")
    assert "\n" not in str(error.value)


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
    mine, theirs = asdict(Whole()), asdict(Whole(Layer(64)))
    assert differences(mine, theirs) == ["first.units = 500, not 64"]
    assert differences(mine, mine) == []
