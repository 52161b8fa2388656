"""Settings: nested dataclasses that check their values, one name for each, and config.toml, which keeps them.

A preset to begin with, a TOML file over it, the command line over both; an error names the setting as it is written:
`gdbn.n_hidden1`. A setting has one name in every command, wherever it lies: see `name_of`.
"""

import dataclasses
import difflib
import functools
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic.dataclasses
from pydantic import Field

from foveate import __version__
from foveate.errors import BadInput
from foveate.storage.files import reason, write_atomic
from foveate.storage.older import ANY, GONE, RENAMED

Settings = TypeVar("Settings")
Kind = TypeVar("Kind", bound=type)

# What numbers a setting may have; every one is finite. Neither a text nor a truth value is taken for a number.
AtLeast0 = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]

Unlisted = Field(exclude=True)
"""Marks a field that presets and code set, but no `--set` and no file: it has no name there."""

FORMAT = 2  # of config.toml: the first had no `format`, and settings lay in it as they lie in the classes


@dataclass_transform(frozen_default=True)
def settings(kind: Kind) -> Kind:
    """A class of settings: a frozen dataclass whose values are checked whenever one is made, by `replace` too.

    `BadInput` names the field whose type or bounds don't take the value.
    """
    config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    made: Any = pydantic.dataclasses.dataclass(frozen=True, config=config)(kind)
    check = made.__init__

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        try:
            check(self, *values, **named)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            at, *within = first["loc"]  # a value given by its position is located by that
            name = ".".join(map(str, [dataclasses.fields(made)[at].name if isinstance(at, int) else at, *within]))
            text = first["msg"].removeprefix("Input ")
            text = text[:1].lower() + text[1:]
            raise BadInput(f"{name}: {text}, got {first['input']!r}") from error

    made.__init__ = functools.wraps(check)(__init__)
    return made


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """A valid TOML file, or `BadInput`; a byte-order mark, as editors of Windows leave it, is no fault."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInput(f"can't read {path}: {reason(error)}") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are both of this kind
        raise BadInput(f"{path}: not valid TOML ({error})") from error


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """A config.toml of this version or of an earlier one; `BadInput` also where a later one wrote it."""
    table = read_toml(path)
    if isinstance(made := table.get("format", 1), int) and made > FORMAT:
        raise BadInput(f"{path}: format = {made} is of a later version of foveate, this one reads up to {FORMAT}")
    return table


def write_toml(path: str | os.PathLike, table: Mapping[str, Any]) -> None:
    """Write a TOML file, atomically; entries that are None are left out, as TOML has no word for them."""
    write_atomic(path, to_toml(table))


def to_toml(table: Mapping[str, Any]) -> str:
    """A table as TOML text."""
    import tomli_w

    return tomli_w.dumps(without_none(table))


def without_none(value: Any) -> Any:
    """Nested tables without their None entries, tuples and sets as lists, paths as text."""
    if isinstance(value, Mapping):
        return {str(name): without_none(item) for name, item in value.items() if item is not None}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [without_none(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def name_of(path: str) -> str:
    """The name of a setting in every command, of where it lies in the settings of one: "train.attend.search.angles".

    Names leave out `train` (training's settings within those of learning), a plan's `rule`, and `attend` where a table
    follows. Names that earlier versions wrote become those of today.
    """
    name = path.removeprefix("train.").replace(".rule.", ".")
    name = name.removeprefix("attend.") if name.startswith(("attend.search.", "attend.posterior.")) else name
    return next((re.sub(old, new, name) for old, new in RENAMED if re.fullmatch(old, name)), name)


def listed(settings: Any, under: str = "") -> dict[str, Any]:
    """Every setting by its name; `under` is where they lie within larger ones: "attend." for `AttendSettings`."""
    return {name_of(under + path): value for path, value, is_listed in _leaves(settings) if is_listed}


def to_table(settings: Any) -> dict[str, Any]:
    """Settings as nested tables by their names, as config.toml keeps them."""
    return without_none(nested(listed(settings)))


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted names as nested tables; what `flat` undoes."""
    table: dict[str, Any] = {}
    for name, value in values.items():
        _put(table, name, value)
    return table


def recorded(command: str, scenes: str | os.PathLike, settings: Any, **more: Any) -> dict[str, Any]:
    """The table of config.toml: with it as `--config`, the same command does the same again.

    The folder of scenes is kept as an absolute path; `more` is what else the work depends on, and what it found.
    """
    made = {"format": FORMAT, "command": command, "version": __version__, "scenes": os.path.abspath(scenes)}
    return without_none({**made, **more, "settings": to_table(settings)})


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, by dotted names."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """`NAME=VALUE` words as a table: "gdbn.n_hidden1=500" is {"gdbn.n_hidden1": 500}; `BadInput` where there is no "=".

    Values are TOML; what is not valid TOML is taken as text, so that `attend.starts=one` needs no quotes.
    """
    table: dict[str, Any] = {}
    for word in words:
        name, sign, text = (part.strip() for part in word.partition("="))
        if not sign or not name:
            raise BadInput(f"--set {word}: expected NAME=VALUE, such as gdbn.n_hidden1=500")
        if name.split(".")[-1] == "seed":
            raise BadInput(f"--set {word}: the seed is given by --seed")
        try:
            table[name] = tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            table[name] = text
    return flat(table)


def override(settings: Settings, table: Mapping[str, Any], source: str, under: str = "") -> Settings:
    """The settings with some of them replaced, by name, nested or dotted.

    `source` is where the values come from, for messages ("--set", a file's name); `under` where the settings lie within
    larger ones, which names may leave out.

    Raises:
        BadInput: There is no setting of that name, or it doesn't take the value. What is no setting any more is taken
            at the value that it has.
    """
    leaves = {name_of(under + path): (path, now, is_listed) for path, now, is_listed in _leaves(settings)}
    placed: dict[str, Any] = {}
    for given, value in flat(table).items():
        name = name_of(given) if name_of(given) in leaves else name_of(under + given)
        was = GONE.get(name_of(given))
        path, now, is_listed = leaves.get(name, ("", was, False))
        if is_listed:
            _put(placed, path, value)
        elif now is None:
            raise BadInput(f"{source}: {_unknown(name_of(given), value, listed(settings, under))}")
        elif now != ANY and value not in (now, was):
            raise BadInput(f"{source}: {name_of(given)} is no setting any more: it is {now!r}, got {value!r}")
    return _replaced(settings, placed, source, under)


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The names at which two tables of values differ, each with both values."""
    names = sorted({*mine, *theirs})
    return [f"{n} = {mine.get(n)!r}, not {theirs.get(n)!r}" for n in names if mine.get(n) != theirs.get(n)]


def _leaves(settings: Any, prefix: str = "", is_listed: bool = True) -> Iterator[tuple[str, Any, bool]]:
    """(path, value, whether it is listed) of every field."""
    for name, field in type(settings).__pydantic_fields__.items():
        value, seen = getattr(settings, name), is_listed and not field.exclude
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{prefix}{name}.", seen)
        else:
            yield prefix + name, value, seen


def _put(table: dict[str, Any], path: str, value: Any) -> None:
    *folders, leaf = path.split(".")
    for folder in folders:
        table = table.setdefault(folder, {})
    table[leaf] = value


def _unknown(name: str, value: Any, names: Iterable[str]) -> str:
    if any(other.startswith(f"{name}.") for other in names):
        return f"{name} is a table of settings, got {value!r}"
    if close := difflib.get_close_matches(name, names, n=1):
        return f"no setting {name}, did you mean {close[0]}?"
    return f"no setting {name}; there are {', '.join(sorted({other.partition('.')[0] for other in names}))}"


def _replaced(settings: Any, placed: Mapping[str, Any], source: str, prefix: str) -> Any:
    values = {}
    for name, value in placed.items():
        if isinstance(value, Mapping):
            value = _replaced(getattr(settings, name), value, source, f"{prefix}{name}.")
        values[name] = tuple(value) if isinstance(value, list) else value  # TOML has no tuples
    try:
        return dataclasses.replace(settings, **values)
    except BadInput as error:
        raise BadInput(f"{source}: {name_of(prefix + str(error))}") from error
