"""Generative models with visual attention: where the objects of one kind are, how sure that is, what they look like.

`foveate.load(RUN)` gives a trained run. Models, samplers and estimators stand on their own:
`from foveate import GaussianBernoulliRBM`. Names are imported when they are first used, so `import foveate` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "BadInput": "foveate.errors",
    "BernoulliRBM": "foveate.boltzmann.bernoulli",
    "FoveateError": "foveate.errors",
    "GaussianBernoulliRBM": "foveate.boltzmann.gaussian",
    "GaussianDBN": "foveate.boltzmann.dbn",
    "Interrupted": "foveate.errors",
    "Run": "foveate.storage.run",
}

__all__ = [
    "BadInput",
    "BernoulliRBM",
    "FoveateError",
    "GaussianBernoulliRBM",
    "GaussianDBN",
    "Interrupted",
    "Run",
    "__version__",
    "load",
]

if TYPE_CHECKING:
    from foveate.boltzmann.bernoulli import BernoulliRBM
    from foveate.boltzmann.dbn import GaussianDBN
    from foveate.boltzmann.gaussian import GaussianBernoulliRBM
    from foveate.errors import BadInput, FoveateError, Interrupted
    from foveate.storage.run import Run


def load(run: str) -> Any:
    """A trained run, ready to attend.

    Args:
        run: A RUN folder, as `foveate train` writes it.

    Returns:
        An `Attention`: `.attend(images)`, `.gdbn`, `.shiftnet`.

    Raises:
        BadInput: No such folder, or it isn't a whole RUN.
    """
    return import_module("foveate.attention.attend").Attention.load(run)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'foveate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
