"""Settings: nested dataclasses, a preset to begin with, a TOML file over it, the command line over both.

Every value is checked against the field's type and bounds, and an error names the field as it is written:
`gdbn.n_hidden1`.
"""

import dataclasses
import difflib
import functools
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic.dataclasses
from pydantic import Field

from foveate.errors import BadInput
from foveate.storage.files import reason, write_atomic

Settings = TypeVar("Settings")
Kind = TypeVar("Kind", bound=type)

# What numbers a setting may have; every one is finite. Neither a text nor a truth value is taken for a number.
AtLeast0 = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


@dataclass_transform(frozen_default=True)
def settings(kind: Kind) -> Kind:
    """A class of settings: a frozen dataclass whose values are checked whenever one is made, by `replace` too.

    Raises:
        BadInput: From the constructor, for a value that its field's type or bounds don't take; named by its field.
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
            text = first["msg"][:1].lower() + first["msg"][1:]
            raise BadInput(f"{name}: {text}, got {first['input']!r}") from error

    made.__init__ = functools.wraps(check)(__init__)
    return made


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """A TOML file.

    Raises:
        BadInput: It can't be read, or is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"can't read {path}: {reason(error)}") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are both of this kind
        raise BadInput(f"{path}: no TOML ({error})") from error


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


def to_table(settings: Any) -> dict[str, Any]:
    """A nested dataclass as nested tables, as config.toml keeps it."""
    return without_none(dataclasses.asdict(settings))


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """`NAME=VALUE` words as nested tables: "gdbn.n_hidden1=500" is {"gdbn": {"n_hidden1": 500}}.

    Values are TOML; what is no TOML is taken as text, so that `device=cpu` needs no quotes.

    Raises:
        BadInput: A word has no "=".
    """
    table: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name.strip():
            raise BadInput(f"--set {word}: expected NAME=VALUE, such as gdbn.n_hidden1=500")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            value = text
        *folders, leaf = name.strip().split(".")
        place = table
        for folder in folders:
            place = place.setdefault(folder, {})
            if not isinstance(place, dict):
                raise BadInput(f"--set {word}: {folder} was given a value before")
        place[leaf] = value
    return table


def override(settings: Settings, table: Mapping[str, Any], source: str) -> Settings:
    """The settings with some fields replaced.

    Args:
        settings: A dataclass, whose fields may be dataclasses.
        table: Nested values by field name.
        source: Where they come from, for messages ("--set", a file's name).

    Raises:
        BadInput: An unknown field, or a value that its type doesn't take.
    """
    return _override(settings, table, source, "")


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names at which two nested tables differ, each with both values."""
    found = []
    for name in sorted({*mine, *theirs}):
        here, there = mine.get(name), theirs.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found += differences(here, there, f"{prefix}{name}.")
        elif here != there:
            found.append(f"{prefix}{name} = {here!r}, not {there!r}")
    return found


def _override(settings: Any, table: Mapping[str, Any], source: str, prefix: str) -> Any:
    there = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in there:
            close = difflib.get_close_matches(name, there, n=1)
            hint = f", did you mean {prefix}{close[0]}?" if close else f"; there are {', '.join(sorted(there))}"
            raise BadInput(f"{source}: no setting {prefix}{name}{hint}")
        if dataclasses.is_dataclass(there[name]):
            if not isinstance(value, Mapping):
                raise BadInput(f"{source}: {prefix}{name} is a table of settings, got {value!r}")
            value = _override(there[name], value, source, f"{prefix}{name}.")
        values[name] = tuple(value) if isinstance(value, list) else value  # TOML has no tuples
    try:
        return dataclasses.replace(settings, **values)
    except BadInput as error:
        raise BadInput(f"{source}: {prefix}{error}") from error
