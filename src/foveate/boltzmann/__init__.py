"""Energy-based models of vectors: restricted Boltzmann machines, the Gaussian deep belief network, their learning and evaluation."""

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.rbm import BernoulliRBM, GaussianBernoulliRBM

__all__ = ["BernoulliRBM", "GaussianBernoulliRBM", "GaussianDBN"]
