"""Boltzmann machines with scikit-learn's face: estimators for its pipelines, grid searches and clones.

    make_pipeline(MinMaxScaler(), BernoulliRBMEstimator(n_components=100), LogisticRegression())

Names are those of `sklearn.neural_network.BernoulliRBM`; but `score_samples` is log p(x) in nats, whose normaliser is
summed exactly or annealed, so that machines of different size and kind can be compared.
"""

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, no_type_check

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.log_z.bracket import bracket_log_z
from foveate.boltzmann.log_z.exact import enumerable, log_z_exact
from foveate.boltzmann.rbm import RestrictedBoltzmannMachine
from foveate.boltzmann.training import fit as fitting
from foveate.boltzmann.training.contrastive import METHODS, CDState, Diverged, init
from foveate.boltzmann.training.settings import Plan, Rule
from foveate.runtime.random import generator

__all__ = ["BernoulliRBMEstimator", "GaussianRBMEstimator", "UncertainLogZ"]

REMEMBERED = 1000  # Rows of the data that are kept for annealing, which begins where the data is


class UncertainLogZ(UserWarning):
    """The annealed log Z may be wrong by more than a nat, and every score with it."""


class RBMEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What both kinds share.

    Args:
        n_components: Number of hidden units.
        method: "cd", "pcd" or "fast_pcd".
        learning_rate: Of all parameters; `fast_pcd` drives its chains with fast weights of the same rate.
        batch_size: Rows a step.
        n_iter: Passes over the data.
        chains: Persistent chains in learning.
        average: What the averaged weights, which are the result, keep of themselves a step.
        temperatures: Steps of the annealing that `score_samples` needs where no layer has 20 units or fewer.
        device, random_state: Torch's name of where to compute; an integer, a RandomState or None.

    Attributes:
        machine_: The machine.
        components_, intercept_hidden_, intercept_visible_: Its parameters, as scikit-learn has them.
        n_features_in_, feature_names_in_: Of the data that it was fitted on.
    """

    machine_: RestrictedBoltzmannMachine

    @no_type_check  # scikit-learn's own checks pass anything, and want it kept
    def __init__(
        self, n_components: int = 256, *, method: str = "pcd", learning_rate: float = 0.1, batch_size: int = 20,
        n_iter: int = 50, chains: int = 100, average: float = 0.99, temperatures: int = 2000, device: str = "cpu",
        random_state: Any = None,
    ):  # fmt: skip
        self.n_components = n_components
        self.method = method
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.chains = chains
        self.average = average
        self.temperatures = temperatures
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "RBMEstimator":
        """Learn from X [n_samples, n_features], from the beginning; the rates rise at first and fall at the end.

        Raises:
            ValueError, BadInput: X, or a parameter, can't be used.
            Diverged: Learning left the finite numbers; a smaller learning rate helps.
        """
        data = self._begin(X)
        plan = Plan(self._rule(data), self.method, self.n_iter, self.batch_size, self.chains)

        def keep(state: CDState, epochs_done: int) -> None:
            self._state = state

        fitting.fit(self.machine_, data, plan, self._seed, after_epoch=keep, name=type(self).__name__)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> "RBMEstimator":
        """One pass over X at the full learning rate, also after `fit`; raises as that does, and Diverged leaves the
        machine as it was."""
        fresh = not hasattr(self, "machine_")
        data = self._begin(X) if fresh else self._tensor(self._checked(X))
        state = self._state or init(self.machine_, data, self.chains, self._seed)
        self._state, self._log_z = None, None
        for batch in data.split(self.batch_size):
            state, info = METHODS[self.method](state, batch, self._rule(data))
            if info.failed:
                raise Diverged(info.failed, state.step, type(self).__name__)
        fitting.put(self.machine_, state.average)
        self._state = state
        return self

    def transform(self, X: Any) -> NDArray[np.floating]:
        """p(h_j = 1 | x): [n_samples, n_components], in the type of X."""
        rows = self._checked(X)
        return self._exactly(lambda machine, v: machine.hidden_mean(v), rows).astype(rows.dtype)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """log p(x) = -F(x) - log Z of each row, in nats; log Z is `log_z()`."""
        rows = self._checked(X)
        return self._exactly(lambda machine, v: -machine.free_energy(v), rows) - self.log_z()

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: what a grid search maximises."""
        return float(self.score_samples(X).mean())

    def log_z(self) -> float:
        """log Z in nats: exact where a layer has 20 units or fewer, else annealed (low rather than high), and kept.

        Warns:
            UncertainLogZ: The chains give reasons to doubt it; more `temperatures` help.
        """
        check_is_fitted(self)
        if self._log_z is None and enumerable(self.machine_):
            self._log_z = log_z_exact(self.machine_)
        elif self._log_z is None:
            bracket = bracket_log_z(self.machine_, self._remembered, temperatures=self.temperatures, seed=self._seed)
            for doubt in bracket.doubts:
                warnings.warn(doubt, UncertainLogZ, stacklevel=3)
            self._log_z = bracket.forward.log_z
        return self._log_z

    @property
    def components_(self) -> NDArray[np.float32]:
        """[n_components, n_features] couplings."""
        return self.machine_.W.T.cpu().numpy()

    @property
    def intercept_hidden_(self) -> NDArray[np.float32]:
        """[n_components] biases of the hidden units."""
        return self.machine_.c.cpu().numpy()

    @property
    def intercept_visible_(self) -> NDArray[np.float32]:
        """[n_features] biases of the visible units."""
        return self.machine_.b.cpu().numpy()

    @property
    def _n_features_out(self) -> int:
        return self.machine_.n_hidden

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _begin(self, X: Any) -> Tensor:
        """A machine before learning, what goes with it, and X as a tensor."""
        data = self._tensor(self._checked(X, reset=True))
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        some = torch.randperm(len(data), generator=generator(seed, "remembered"))[:REMEMBERED]
        machine = self._machine(data.shape[1])
        machine.begin(data.cpu(), seed)
        self.machine_ = machine.to(self.device)
        self._seed, self._remembered, self._state, self._log_z = seed, data[some.to(data.device)], None, None
        return data

    def _checked(self, X: Any, reset: bool = False) -> NDArray[np.floating]:
        """X, found to be rows of finite numbers, as many in each as there were in `fit`."""
        if not reset:
            check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=reset))

    def _tensor(self, rows: NDArray[np.floating]) -> Tensor:
        return torch.tensor(rows, dtype=torch.float32).to(self.device)

    def _exactly(self, function: Callable[[Any, Tensor], Tensor], rows: NDArray) -> NDArray[np.float64]:
        """A function of machine and rows in float64, in which a row's result hardly depends on its neighbours."""
        machine = copy.deepcopy(self.machine_).double()
        return function(machine, torch.tensor(rows, dtype=torch.float64).to(self.device)).cpu().numpy()

    def _rule(self, data: Tensor) -> Rule:
        rule = Rule(rate=self.learning_rate, fast_rate=self.learning_rate, average=self.average)
        return fitting.scaled(rule, data)

    def _machine(self, n_features: int) -> RestrictedBoltzmannMachine:
        raise NotImplementedError


class BernoulliRBMEstimator(RBMEstimator):
    """A `BernoulliRBM` for rows of zeros and ones.

    Args:
        n_components, method, ...: As in `RBMEstimator`, with a learning rate of 0.2.
        binarize: Threshold above which a number is taken as 1, and else as 0. None: numbers from 0 to 1, of which
            those between are probabilities in `fit` and `transform`, and refused by `score_samples`.
    """

    machine_: BernoulliRBM

    @no_type_check
    def __init__(
        self, n_components: int = 256, *, method: str = "pcd", learning_rate: float = 0.2, batch_size: int = 20,
        n_iter: int = 50, chains: int = 100, average: float = 0.99, temperatures: int = 2000, device: str = "cpu",
        random_state: Any = None, binarize: float | None = None,
    ):  # fmt: skip
        super().__init__(
            n_components, method=method, learning_rate=learning_rate, batch_size=batch_size, n_iter=n_iter,
            chains=chains, average=average, temperatures=temperatures, device=device, random_state=random_state,
        )  # fmt: skip
        self.binarize = binarize

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """As in `RBMEstimator`; refuses numbers that are neither 0 nor 1."""
        self._require_binary(self._checked(X))
        return super().score_samples(X)

    def pseudo_log_likelihood(self, X: Any) -> NDArray[np.float64]:
        """sum_i log P(x_i | all other x) of each row of zeros and ones, in nats: needs no log Z, and is exact, where
        scikit-learn's `score_samples` takes one feature at random and multiplies."""
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

    With method "cd" sigma shrinks too far, and the density suffers. log sigma learns at a tenth of the learning rate.
    """

    machine_: GaussianBernoulliRBM

    @property
    def sigma_(self) -> NDArray[np.float32]:
        """[n_features] standard deviation of each visible unit given the hidden ones."""
        return self.machine_.sigma.cpu().numpy()

    def _rule(self, data: Tensor) -> Rule:
        return replace(super()._rule(data), rate_log_sigma=self.learning_rate / 10)

    def _machine(self, n_features: int) -> GaussianBernoulliRBM:
        return GaussianBernoulliRBM(n_features, self.n_components)
