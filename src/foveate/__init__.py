"""Generative models with visual attention: where the objects of one kind are, how sure that is, what they look like.

`foveate.load(RUN)` gives a trained run, `foveate.train` and `foveate.learn` make one. Models, samplers and estimators
stand on their own: `from foveate import GaussianBernoulliRBM`. Names are imported when they are first used, so `import
foveate` is quick.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Read where torch is loaded, which is later. Threads that spin long while they wait for one another take the processors
# that the others need: beside other busy programs a convolution on two threads took up to eight times as long. A short
# spin is as fast on a quiet machine.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_HOME = {
    "api.attention": ("load", "plot", "to_dataframe"),
    "api.training": ("learn", "train"),
    "attention.attend": ("Attention",),
    "attention.found": ("Found",),
    "attention.settings": ("AttendSettings",),
    "boltzmann.bernoulli": ("BernoulliRBM",),
    "boltzmann.dbn": ("GaussianDBN",),
    "boltzmann.gaussian": ("GaussianBernoulliRBM",),
    "boltzmann.log_z.bracket": ("bracket_log_z",),
    "boltzmann.training.fit": ("train_rbm",),
    "errors": ("BadInput", "FoveateError", "Interrupted"),
    "scenes.image": ("read_image",),
    "storage.run": ("Run",),
}

__all__ = [
    "AttendSettings", "Attention", "BadInput", "BernoulliRBM", "Found", "FoveateError", "GaussianBernoulliRBM",
    "GaussianDBN", "Interrupted", "Run", "__version__", "bracket_log_z", "learn", "load", "plot", "read_image",
    "to_dataframe", "train", "train_rbm",
]  # fmt: skip

if TYPE_CHECKING:
    from foveate.api.attention import load, plot, to_dataframe
    from foveate.api.training import learn, train
    from foveate.attention.attend import Attention
    from foveate.attention.found import Found
    from foveate.attention.settings import AttendSettings
    from foveate.boltzmann.bernoulli import BernoulliRBM
    from foveate.boltzmann.dbn import GaussianDBN
    from foveate.boltzmann.gaussian import GaussianBernoulliRBM
    from foveate.boltzmann.log_z.bracket import bracket_log_z
    from foveate.boltzmann.training.fit import train_rbm
    from foveate.errors import BadInput, FoveateError, Interrupted
    from foveate.scenes.image import read_image
    from foveate.storage.run import Run


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            found = getattr(import_module(f"foveate.{module}"), name)
            globals()[name] = found  # asked for once
            return found
    raise AttributeError(f"module 'foveate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
