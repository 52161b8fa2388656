"""The errors that reach a user, each as one line."""

from importlib import import_module
from typing import Any, TypeVar

Thing = TypeVar("Thing")


class FoveateError(Exception):
    """Base of everything that foveate raises on purpose; its text is one line made for a person."""


class BadInput(FoveateError):
    """A file or value given by the user can't be used; the text names it. Exit status 2."""


class NotFinite(FoveateError):
    """Weights or a loss left the finite numbers; a smaller learning rate helps, most of the time."""


class Interrupted(FoveateError):
    """The run was asked to stop (INT or TERM) and has stopped in good order.

    Attributes:
        signal_number: The signal that asked, 2 (INT) or 15 (TERM); the exit status is 128 plus it.
    """

    def __init__(self, signal_number: int = 2):
        super().__init__("interrupted")
        self.signal_number = signal_number


def extra(module: str, name: str, of: str) -> Any:
    """A module of an extra `of` ours, imported; `BadInput` with how to install it where `name` is not there."""
    try:
        return import_module(module)
    except ImportError:
        raise BadInput(f"{name} is not installed: pip install 'foveate[{of}]'") from None


def one_line(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def present(thing: Thing | None, name: str) -> Thing:
    """`thing`; a `FoveateError` that says that `name` has not been trained yet where it is None."""
    if thing is None:
        raise FoveateError(f"{name} has not been trained yet")
    return thing
