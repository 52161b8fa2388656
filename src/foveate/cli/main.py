"""The command line: parses, calls, prints.

Each command is a function in `foveate.cli`, imported when it is called, so that `foveate --help` is quick. Exit
statuses: 0 success; 1 internal error, with a traceback; 2 wrong usage or bad input, with a one-line reason; 130 or 143
interrupted by SIGINT or SIGTERM. A reader that closes the pipe early is no error.
"""

import difflib
import errno
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from foveate import __version__
from foveate.errors import FoveateError, Interrupted, one_line
from foveate.runtime import signals

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = {
    "demo": ("demo:demo", "The whole pipeline on generated scenes: train, attend, learn, evaluate."),
    "check": ("check:check", "Report what a folder of annotated images contains, and what looks wrong."),
    "train": ("train:train", "Train on annotated scenes of one kind of object."),
    "attend": ("attend:attend", "Find objects in images, with probabilities and posteriors."),
    "learn": ("learn:learn", "Learn from scenes without annotations."),
    "suggest": ("suggest:suggest", "Which images to annotate next, and why."),
    "recalibrate": ("recalibrate:recalibrate", "Probabilities and spreads anew, from a few annotated scenes."),
    "evaluate bound": ("evaluate:bound", "Log density of patches: bounds in nats, log Z bracketed."),
    "evaluate ambiguity": ("evaluate:ambiguity", "Two objects side by side, one in mind: which is attended to."),
    "evaluate convergence": (
        "evaluate:convergence",
        "From how far off gazes find their object, beside template matching.",
    ),
    "evaluate localization": ("evaluate:localization", "Accuracy, errors and calibration on annotated scenes."),
    "sample": ("sample:sample", "Draw samples from the patch model."),
    "report": ("report:report", "Write the HTML page of a run."),
    "export": ("export:export", "Write the networks as ONNX files, compared with torch's."),
    "serve": ("serve:serve", "A page on this machine to try a run on your own images."),
    "completion": ("main:completion", "Print a script that completes commands and options in a shell."),
}

GENERAL_HELP = """Usage: foveate COMMAND [OPTIONS]

Finds objects of one kind in images, with calibrated uncertainty, and learns a density model of them.

Commands:
{commands}

See foveate COMMAND --help for every option. foveate --version prints the version.
"""

_ENVIRONMENT = {
    getattr(errno, name) for name in "EACCES EDQUOT EFBIG EISDIR ENAMETOOLONG ENOENT ENOSPC ENOTDIR EPERM EROFS".split()
}
"""Errors of the user's system; everything else is an internal error."""


def main() -> int:
    """The entry of the program: takes over the signals of the process, runs, and gives the exit status."""
    signals.install()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text in any encoding
    status = run(sys.argv[1:])
    if status == 0:
        signals.leave()
    return status


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit status; errors are printed on stderr."""
    try:
        _dispatch(list(arguments))
        sys.stdout.flush()
        return 0
    except Interrupted as error:
        return _stopped(error.signal_number)
    except KeyboardInterrupt:
        return _stopped(2)
    except FoveateError as error:
        return _complain(one_line(error), 2)
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except OSError as error:
        if error.errno not in _ENVIRONMENT:
            return _internal()
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{(error.strerror or str(error)).lower()}", 2)
    except Exception:
        return _internal()


def _dispatch(words: list[str]) -> None:
    first, second = (*words, "", "")[:2]
    family = [name for name in COMMANDS if name.startswith(f"{first} ")]
    if first in ("", "--help", "-h", "help"):
        sys.stdout.write(general_help())
    elif first == "--version":
        sys.stdout.write(f"foveate {__version__}\n")
    elif first in COMMANDS:
        call(first, words[1:])
    elif not family:
        close = difflib.get_close_matches(first, COMMANDS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise FoveateError(f"no command {first!r}{hint} (see foveate --help)")
    elif second in ("--help", "-h"):
        sys.stdout.write(general_help(prefix=f"{first} "))
    elif f"{first} {second}" not in COMMANDS:
        raise FoveateError(f"foveate {first}: expected one of {', '.join(sorted(family))} (see foveate --help)")
    else:
        call(f"{first} {second}", words[2:])


def call(name: str, words: list[str]) -> None:
    """Parse a command's own words and call it; wrong use is a `FoveateError`, in one line."""
    from cyclopts import CycloptsError
    from rich.console import Console

    class Pipe(Console):
        """rich ends the process where a pipe is closed; here that is no error, and `run` sees to it."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    app = _app(f"foveate {name}", console=Pipe(), suppress_keyboard_interrupt=False, result_action="return_value")
    app.default(function(name))
    try:
        app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise FoveateError(f"{one_line(error)} (see foveate {name} --help)") from error


def everything() -> "App":
    """All commands as one program of cyclopts, for what describes them: they are run by `call`, one by one."""
    program = _app("foveate")
    families: dict[str, App] = {}
    for name in COMMANDS:
        *family, last = name.split()
        if family and family[0] not in families:
            families[family[0]] = _app(family[0])
            program.command(families[family[0]])
        (families[family[0]] if family else program).command(function(name), name=last)
    return program


def _app(name: str, **more: Any) -> "App":
    from cyclopts import App, Parameter

    return App(name=name, help_format="markdown", version_flags=[], default_parameter=Parameter(negative=""), **more)


def function(name: str) -> Callable[..., Any]:
    """The function of a command."""
    module, attribute = COMMANDS[name][0].split(":")
    return getattr(import_module(f"foveate.cli.{module}"), attribute)


def general_help(prefix: str = "") -> str:
    """The text of `foveate --help`, or of those commands alone that begin with `prefix`."""
    shown = {name: summary for name, (_, summary) in COMMANDS.items() if name.startswith(prefix)}
    width = max(map(len, shown))
    return GENERAL_HELP.format(commands="\n".join(f"  {name:{width}}  {summary}" for name, summary in shown.items()))


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that completes commands and options in a shell.

    In bash, `eval "$(foveate completion bash)"` in ~/.bashrc. In zsh, `foveate completion zsh > _foveate` into a folder
    of $fpath. In fish, `foveate completion fish > ~/.config/fish/completions/foveate.fish`.

    Args:
        shell: Which shell.
    """
    print(everything().generate_completion(prog_name="foveate", shell=shell))


def _stopped(number: int) -> int:
    signals.settle()
    return _complain("interrupted", 128 + number)


def _complain(line: str, status: int) -> int:
    _flush_stdout()
    try:
        print(f"foveate: {line}", file=sys.stderr, flush=True)
    except (BrokenPipeError, ValueError):
        pass  # nobody is left to read it
    return status


def _internal() -> int:
    _flush_stdout()
    traceback.print_exc()
    print("foveate: internal error; the traceback is above", file=sys.stderr)
    return 1


def _flush_stdout() -> None:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _silence_stdout()


def _silence_stdout() -> None:
    """Nobody reads stdout any more: let the interpreter's last flush go nowhere, without a word."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # stdout is no file of the system, so that there is nothing to flush
