"""Options that several commands share, and how figures are printed."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from foveate.errors import BadInput
from foveate.runtime.progress import Progress, shown, tell
from foveate.scenes.layouts.periods import Symmetry
from foveate.storage.files import to_json

if TYPE_CHECKING:
    import torch

Preset = Annotated[
    Literal["quick", "standard"], Parameter(help="quick: smoke test in minutes; standard: full training.")
]
Select = Annotated[
    str | None, Parameter(help="A slice START:STOP of the images sorted by name.", allow_leading_hyphen=True)
]
Resume = Annotated[bool, Parameter(help="Continue what an interrupted run left unfinished.", show_default=False)]
Overwrite = Annotated[
    bool, Parameter(help="Overwrite; the old one is kept until the new one is complete.", show_default=False)
]
Starts = Annotated[
    str | None,
    Parameter(
        help="many: search the whole image; one: the paper's single start; paper: the paper's inference, after train "
        "--paper. [default: the RUN's]"
    ),
]


def whole(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number as it is typed; cyclopts would take 1.5 for 1."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError("expected a whole number") from None


note = tell  # one line for people, on stderr
ONE_OR_MORE = Parameter(converter=whole, validator=Number(gte=1))
Count = Annotated[int, ONE_OR_MORE]
MaxGazes = Annotated[
    int | None, Parameter(help="Maximum number of gazes per image. [default: the RUN's setting]"), ONE_OR_MORE
]
MinProbability = Annotated[
    float | None,
    Parameter(
        help="Report gazes with this probability or more. [default: the RUN's setting, usually 0.1]",
        validator=Number(gte=0, lte=1),
    ),
]
ConfigFile = Annotated[
    str | None, Parameter(name="--config", help="A TOML file of settings, such as a RUN's config.toml.")
]
Overrides = Annotated[
    list[str] | None, Parameter(name="--set", help="Set NAME=VALUE; overrides the file. May be repeated.")
]
Category = Annotated[str | None, Parameter(help="Kind of object to use, where several are annotated.")]

Unannotated = Annotated[
    Literal["empty", "ignore"] | None,
    Parameter(help="What images without annotations are, where others have some. [default: empty, with a warning]"),
]
Turns = Annotated[
    Symmetry | None,
    Parameter(
        name="--symmetry",
        help="What leaves an object as it looks: 2 or 4: turns by 180 or 90 degrees; any: all turns; mirror: its "
        "mirror image; none: neither. [default: mirror, and what the annotations say of its angle]",
    ),
]
Group = Annotated[
    str | None,
    Parameter(help="What to hold out together: folder, or a REGEX whose first group in the file name is the group."),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command.

    Args:
        seed: Seed of all random numbers. [default: 0]
        device: Device to compute on; auto uses a GPU if there is one.
        json: Print figures as one JSON object on stdout.
    """

    seed: Annotated[int | None, Parameter(converter=whole, validator=Number(gte=0))] = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    json: Annotated[bool, Parameter(show_default=False)] = False

    def torch_device(self) -> "torch.device":
        """The device that is asked for."""
        from foveate.runtime.devices import resolve

        return resolve(self.device)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class On:
    """Which annotated scenes something is measured on, and settings of how they are attended."""

    select: Select = None
    category: Category = None
    unannotated: Unannotated = None
    set_: Overrides = None


def progress() -> Progress:
    """The bars of a command that may take long."""
    return shown(True)


def print_figures(figures: Mapping[str, Any], as_json: bool) -> None:
    """Print figures on stdout: one JSON object, or a line each for people."""
    if as_json:
        print(to_json(figures), flush=True)
        return
    rows = list(_rows(figures))
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        print(f"{name:{width}}  {text}")
    sys.stdout.flush()


def parse_shard(text: str | None) -> tuple[int, int]:
    """The I and N of `--shard I/N`; one of one where there is none."""
    if text is None:
        return 1, 1
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise BadInput(f"--shard {text}: expected I/N with I from 1 to N, such as 1/4")
    return int(number), int(count)


def _rows(figures: Mapping[str, Any], prefix: str = "") -> Any:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", _text(value)


def _text(value: Any) -> str:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}" if abs(value) < 1e5 else f"{value:.1f}"
    if isinstance(value, (list, tuple)):
        parts = [f"({_text(item)})" if isinstance(item, (list, tuple)) else _text(item) for item in value]
        return ", ".join(parts) or "none"
    return str(value)
