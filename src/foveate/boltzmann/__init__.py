"""Energy-based models of vectors: restricted Boltzmann machines and the Gaussian deep belief network."""

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.rbm import BernoulliRBM, GaussianBernoulliRBM

__all__ = ["BernoulliRBM", "GaussianBernoulliRBM", "GaussianDBN"]
