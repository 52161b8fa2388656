"""Boltzmann machines with scikit-learn's face: estimators for its pipelines, grid searches and clones.

    make_pipeline(MinMaxScaler(), BernoulliRBMEstimator(n_components=100), LogisticRegression())

Names of parameters and attributes are those of `sklearn.neural_network.BernoulliRBM`. `score_samples` is another thing
than there: log p(x) in nats, whose normaliser is summed exactly or annealed, so that machines of different size and
kind can be compared by it. Needs scikit-learn (extra `sklearn`).
"""

from dataclasses import replace
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.estimator_base import RBMEstimator, UncertainLogZ
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.training.settings import Rule

__all__ = ["BernoulliRBMEstimator", "GaussianRBMEstimator", "UncertainLogZ"]


class BernoulliRBMEstimator(RBMEstimator):
    """A `BernoulliRBM` for rows of zeros and ones.

    Args:
        n_components: Number of hidden units.
        method: "cd", "pcd" or "fast_pcd".
        learning_rate: Of all parameters; `fast_pcd` drives its chains with fast weights of the same rate.
        batch_size: Rows a step.
        n_iter: Passes over the data.
        chains: Persistent chains in learning.
        average: What the averaged weights, which are the result, keep of themselves a step.
        temperatures: Steps of the annealing that `score_samples` needs where no layer has 20 units or fewer.
        device: Torch's name of where to compute.
        random_state: An integer, a RandomState or None.
        binarize: Threshold above which a number is taken as 1, and else as 0. None: numbers lie between 0 and 1
            already; those between are taken as probabilities in `fit` and `transform`, and `score_samples`, which is
            of zeros and ones, won't have them.

    Attributes:
        machine_: The `BernoulliRBM`.
        components_, intercept_hidden_, intercept_visible_: Its parameters, as scikit-learn has them.
        n_features_in_, feature_names_in_: Of the data that it was fitted on.
    """

    machine_: BernoulliRBM

    @no_type_check  # scikit-learn's own checks pass anything, and want it kept
    def __init__(
        self,
        n_components: int = 256,
        *,
        method: str = "pcd",
        learning_rate: float = 0.2,
        batch_size: int = 20,
        n_iter: int = 50,
        chains: int = 100,
        average: float = 0.99,
        temperatures: int = 2000,
        device: str = "cpu",
        random_state: Any = None,
        binarize: float | None = None,
    ):
        super().__init__(
            n_components, method=method, learning_rate=learning_rate, batch_size=batch_size, n_iter=n_iter,
            chains=chains, average=average, temperatures=temperatures, device=device, random_state=random_state,
        )  # fmt: skip
        self.binarize = binarize

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """log P(x) = -F(x) - log Z of each row, in nats; log Z is `log_z()`.

        Raises:
            ValueError: A number is neither 0 nor 1.
        """
        self._require_binary(self._checked(X))
        return super().score_samples(X)

    def pseudo_log_likelihood(self, X: Any) -> NDArray[np.float64]:
        """sum_i log P(x_i | all other x) of each row, in nats: needs no log Z, and compares nothing but like with like.

        Exact, where scikit-learn's `score_samples` takes one feature at random and multiplies.

        Raises:
            ValueError: A number is neither 0 nor 1.
        """
        rows = self._checked(X)
        self._require_binary(rows)
        return self._exactly(lambda machine, v: machine.pseudo_log_likelihood(v), rows)

    def _checked(self, X: Any, reset: bool = False) -> NDArray[np.floating]:
        rows = super()._checked(X, reset)
        if self.binarize is not None:
            return (rows > self.binarize).astype(rows.dtype)
        if rows.min() < 0 or rows.max() > 1:
            wrong = rows.flat[np.argmax(np.abs(rows - 0.5))]
            raise ValueError(f"X holds {wrong:g}: expected numbers from 0 to 1 (or set binarize=THRESHOLD)")
        return rows

    def _require_binary(self, rows: NDArray[np.floating]) -> None:
        between = rows[(rows != 0) & (rows != 1)]
        if len(between):
            raise ValueError(f"X holds {between[0]:g}: P(x) is of zeros and ones (set binarize=THRESHOLD)")

    def _machine(self, n_features: int) -> BernoulliRBM:
        return BernoulliRBM(n_features, self.n_components)


class GaussianRBMEstimator(RBMEstimator):
    """A `GaussianBernoulliRBM` for rows of real numbers, best standardised (`StandardScaler`); sigma is learned.

    Args:
        n_components: Number of hidden units.
        method: "cd", "pcd" or "fast_pcd". With "cd" sigma shrinks too far, and the density suffers.
        learning_rate: Of all parameters but log sigma, whose rate is a tenth of it.
        batch_size: Rows a step.
        n_iter: Passes over the data.
        chains: Persistent chains in learning.
        average: What the averaged weights, which are the result, keep of themselves a step.
        temperatures: Steps of the annealing that `score_samples` needs where there are more than 20 hidden units.
        device: Torch's name of where to compute.
        random_state: An integer, a RandomState or None.

    Attributes:
        machine_: The `GaussianBernoulliRBM`.
        components_, intercept_hidden_, intercept_visible_, sigma_: Its parameters.
        n_features_in_, feature_names_in_: Of the data that it was fitted on.
    """

    machine_: GaussianBernoulliRBM

    @no_type_check  # scikit-learn's own checks pass anything, and want it kept
    def __init__(
        self,
        n_components: int = 256,
        *,
        method: str = "pcd",
        learning_rate: float = 0.1,
        batch_size: int = 20,
        n_iter: int = 50,
        chains: int = 100,
        average: float = 0.99,
        temperatures: int = 2000,
        device: str = "cpu",
        random_state: Any = None,
    ):
        super().__init__(
            n_components, method=method, learning_rate=learning_rate, batch_size=batch_size, n_iter=n_iter,
            chains=chains, average=average, temperatures=temperatures, device=device, random_state=random_state,
        )  # fmt: skip

    @property
    def sigma_(self) -> NDArray[np.float32]:
        """[n_features] standard deviation of each visible unit given the hidden ones."""
        return self.machine_.sigma.cpu().numpy()

    def _rule(self) -> Rule:
        return replace(super()._rule(), rate_log_sigma=self.learning_rate / 10)

    def _machine(self, n_features: int) -> GaussianBernoulliRBM:
        return GaussianBernoulliRBM(n_features, self.n_components)
