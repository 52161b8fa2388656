"""Types and shapes are checked at the first calls of each function in a test, and at every so many from there on.

Checked at each of their thousands of calls, the functions of a Markov chain take three times as long. `make test-all`
checks every call (`FOVEATE_TESTS_CHECK=all`).
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

FIRST, EVERY = 20, 100
_calls: dict[Any, list[int]] = {}  # how often each function was called in this test, by its code


def install() -> None:
    """Makes `jaxtyping`'s decorator sparing: of what is imported through its hook from here on."""
    if os.environ.get("FOVEATE_TESTS_CHECK") == "all":
        return
    import jaxtyping

    inside = sys.modules[jaxtyping.jaxtyped.__module__]  # where it calls itself, for methods of several kinds
    jaxtyping.jaxtyped = inside.jaxtyped = sparing(jaxtyping.jaxtyped)


def begin_test() -> None:
    """From here on calls are counted anew."""
    for count in _calls.values():
        count[0] = 0


def sparing(jaxtyped: Callable) -> Callable:
    """The decorator `jaxtyped`, with checks of some calls alone."""

    def decorate(function=None, *, typechecker):
        if function is None:
            return functools.partial(decorate, typechecker=typechecker)
        # A class knows by its __init__ whether that is decorated already; the rest comes back here as functions.
        if not inspect.isfunction(function) or function.__name__ == "__init__":
            return jaxtyped(function, typechecker=typechecker)
        count, checked = _calls.setdefault(function.__code__, [0]), None

        @functools.wraps(function)
        def call(*args, **kwargs):
            __tracebackhide__ = True
            nonlocal checked
            count[0] += 1
            if count[0] > FIRST and count[0] % EVERY:
                return function(*args, **kwargs)
            if checked is None:
                checked = jaxtyped(function, typechecker=typechecker)
            return checked(*args, **kwargs)

        return call

    return decorate
