"""Energy-based models of vectors: restricted Boltzmann machines and the Gaussian deep belief network."""

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.health import Diverged, diversity, health
from foveate.boltzmann.rbm import BernoulliRBM, GaussianBernoulliRBM
from foveate.boltzmann.training.contrastive import Rule, contrastive_divergence, fast_persistent, persistent
from foveate.boltzmann.training.fit import Plan, fit, train_rbm
from foveate.boltzmann.training.greedy import GDBNSettings, train_gdbn
from foveate.boltzmann.training.starts import start_from_combs, start_small

__all__ = [
    "BernoulliRBM",
    "Diverged",
    "GDBNSettings",
    "GaussianBernoulliRBM",
    "GaussianDBN",
    "Plan",
    "Rule",
    "contrastive_divergence",
    "diversity",
    "fast_persistent",
    "fit",
    "health",
    "persistent",
    "start_from_combs",
    "start_small",
    "train_gdbn",
    "train_rbm",
]
