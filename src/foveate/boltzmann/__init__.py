"""Energy-based models of vectors: restricted Boltzmann machines and the Gaussian deep belief network.

Machines, how they learn, what their log Z is. Names are imported when they are first used, so that settings are read
without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveate.boltzmann.bernoulli import BernoulliRBM
    from foveate.boltzmann.dbn import GaussianDBN
    from foveate.boltzmann.gaussian import GaussianBernoulliRBM
    from foveate.boltzmann.log_z.ais import anneal
    from foveate.boltzmann.log_z.bound import bound_terms
    from foveate.boltzmann.log_z.bracket import Bracket, bracket_log_z, forward_log_z
    from foveate.boltzmann.log_z.exact import log_z_exact
    from foveate.boltzmann.machine import Machine
    from foveate.boltzmann.rbm import RestrictedBoltzmannMachine
    from foveate.boltzmann.training.contrastive import Diverged, contrastive_divergence, fast_persistent, persistent
    from foveate.boltzmann.training.fit import fit, train_rbm
    from foveate.boltzmann.training.greedy import train_gdbn
    from foveate.boltzmann.training.settings import GDBNSettings, Plan, Rule
    from foveate.boltzmann.training.starts import start_from_combs, start_small
    from foveate.boltzmann.units import Units

_HOME = {
    "bernoulli": ("BernoulliRBM",),
    "dbn": ("GaussianDBN",),
    "gaussian": ("GaussianBernoulliRBM",),
    "log_z.ais": ("anneal",),
    "log_z.bound": ("bound_terms",),
    "log_z.bracket": ("Bracket", "bracket_log_z", "forward_log_z"),
    "log_z.exact": ("log_z_exact",),
    "machine": ("Machine",),
    "rbm": ("RestrictedBoltzmannMachine",),
    "training.contrastive": ("Diverged", "contrastive_divergence", "fast_persistent", "persistent"),
    "training.fit": ("fit", "train_rbm"),
    "training.greedy": ("train_gdbn",),
    "training.settings": ("GDBNSettings", "Plan", "Rule"),
    "training.starts": ("start_from_combs", "start_small"),
    "units": ("Units",),
}

__all__ = [
    "BernoulliRBM", "Bracket", "Diverged", "GDBNSettings", "GaussianBernoulliRBM", "GaussianDBN", "Machine", "Plan",
    "RestrictedBoltzmannMachine", "Rule", "Units", "anneal", "bound_terms", "bracket_log_z", "contrastive_divergence",
    "fast_persistent", "fit", "forward_log_z", "log_z_exact", "persistent", "start_from_combs", "start_small",
    "train_gdbn", "train_rbm",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"foveate.boltzmann.{module}"), name)
    raise AttributeError(f"module 'foveate.boltzmann' has no attribute {name!r}")
