"""Energy-based models of vectors: restricted Boltzmann machines and the Gaussian deep belief network.

Names are imported when they are first used, so that settings are read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveate.boltzmann.dbn import GaussianDBN
    from foveate.boltzmann.health import Diverged
    from foveate.boltzmann.rbm import BernoulliRBM, GaussianBernoulliRBM
    from foveate.boltzmann.training.contrastive import contrastive_divergence, fast_persistent, persistent
    from foveate.boltzmann.training.fit import fit, train_rbm
    from foveate.boltzmann.training.greedy import train_gdbn
    from foveate.boltzmann.training.settings import GDBNSettings, Plan, Rule
    from foveate.boltzmann.training.starts import start_from_combs, start_small

_HOME = {
    "BernoulliRBM": "rbm",
    "Diverged": "health",
    "GDBNSettings": "training.settings",
    "GaussianBernoulliRBM": "rbm",
    "GaussianDBN": "dbn",
    "Plan": "training.settings",
    "Rule": "training.settings",
    "contrastive_divergence": "training.contrastive",
    "fast_persistent": "training.contrastive",
    "fit": "training.fit",
    "persistent": "training.contrastive",
    "start_from_combs": "training.starts",
    "start_small": "training.starts",
    "train_gdbn": "training.greedy",
    "train_rbm": "training.fit",
}

__all__ = [
    "BernoulliRBM",
    "Diverged",
    "GDBNSettings",
    "GaussianBernoulliRBM",
    "GaussianDBN",
    "Plan",
    "Rule",
    "contrastive_divergence",
    "fast_persistent",
    "fit",
    "persistent",
    "start_from_combs",
    "start_small",
    "train_gdbn",
    "train_rbm",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"foveate.boltzmann.{_HOME[name]}"), name)
    raise AttributeError(f"module 'foveate.boltzmann' has no attribute {name!r}")
