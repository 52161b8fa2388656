"""The machines behind scikit-learn's face: its own checks, densities against exact sums, pipelines and searches."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import BernoulliRBM as TheirRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from foveate.boltzmann.estimators import BernoulliRBMEstimator, GaussianRBMEstimator, UncertainLogZ
from foveate.boltzmann.log_z import exact as enumeration
from foveate.boltzmann.training.contrastive import Diverged

QUICK = {"n_components": 5, "n_iter": 2, "random_state": 0}


def expected_failures(estimator):
    """Checks of scikit-learn that can't hold, by name, each with why. There is none."""
    return {}


# `binarize`, because the checks' data are real numbers, which a Bernoulli machine refuses.
@parametrize_with_checks(
    [BernoulliRBMEstimator(binarize=0.0, **QUICK), GaussianRBMEstimator(learning_rate=0.01, **QUICK)],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    """Small binary digits [600, 16] and what they are."""
    data = load_digits()
    return (small(data.images[:600]) > 6).astype(np.float64), data.target[:600]


def small(images):
    """Means of 2 x 2 pixels, [n, 16]."""
    return images.reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(-1, 16)


@pytest.fixture(scope="module")
def whole_digits():
    """Binary digits [600, 64] and what they are."""
    data, target = load_digits(return_X_y=True)
    return (data[:600] > 7).astype(np.float64), target[:600]


def every_state(units):
    return (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(float)


@pytest.mark.parametrize("method", ["cd", "pcd", "fast_pcd"])
def test_probabilities_of_all_binary_vectors_sum_to_one(digits, method):
    X, _ = digits
    rbm = BernoulliRBMEstimator(6, method=method, n_iter=3, random_state=0).fit(X[:, 4:12])
    assert np.exp(rbm.score_samples(every_state(8))).sum() == pytest.approx(1.0, abs=1e-9)


def test_annealed_log_z_and_the_exact_one_agree(digits, monkeypatch):
    """Within 4 standard errors and then some: both the Bernoulli and the Gaussian machine, at 2000 temperatures."""
    X, _ = digits
    for rbm in (
        BernoulliRBMEstimator(12, n_iter=5, random_state=0).fit(X),
        GaussianRBMEstimator(12, n_iter=5, random_state=0).fit(StandardScaler().fit_transform(X)),
    ):
        exact, annealed = rbm.log_z(), clone(rbm).set_params(temperatures=2000)
        monkeypatch.setattr("foveate.boltzmann.estimators.enumerable", lambda machine: False)
        annealed.fit(X if isinstance(rbm, BernoulliRBMEstimator) else StandardScaler().fit_transform(X))
        assert annealed.log_z() == pytest.approx(exact, abs=0.2)
        assert annealed.log_z() != exact
        monkeypatch.undo()


def test_gaussian_densities_integrate_to_one():
    X = np.random.default_rng(0).normal(size=(200, 1)) + np.repeat([[-2.0], [2.0]], 100, 0)
    rbm = GaussianRBMEstimator(4, n_iter=20, random_state=0).fit(X)
    line = np.linspace(-15, 15, 6001)
    assert np.trapezoid(np.exp(rbm.score_samples(line[:, None])), line) == pytest.approx(1.0, abs=1e-6)


def test_exact_log_z_of_a_gaussian_machine_is_a_sum_over_hidden_states_and_an_integral():
    rbm = GaussianRBMEstimator(3, n_iter=1, random_state=0).fit(np.array([[0.3], [1.0], [-2.0]]))
    machine = rbm.machine_.double()
    line = torch.linspace(-40, 40, 80001, dtype=torch.float64)[:, None]
    total = torch.trapezoid(torch.exp(-machine.free_energy(line)), line[:, 0])
    assert enumeration.log_z_exact(rbm.machine_) == pytest.approx(float(total.log()), abs=1e-6)


def test_the_pseudo_likelihood_is_what_bayes_makes_of_the_joint(digits):
    X, _ = digits
    rbm = BernoulliRBMEstimator(5, n_iter=3, random_state=0).fit(X[:, 4:10])
    states = every_state(6)
    joint = np.exp(rbm.score_samples(states))
    expected = np.zeros(64)
    for unit in range(6):
        expected += np.log(joint / (joint + joint[np.arange(64) ^ (1 << unit)]))
    np.testing.assert_allclose(rbm.pseudo_log_likelihood(states), expected, atol=1e-9)


def test_learning_raises_the_density_of_digits_held_out_above_that_of_independent_pixels(whole_digits):
    X, _ = whole_digits
    p = (X[:400].sum(0) + 1) / 402
    independent = (X[400:] * np.log(p) + (1 - X[400:]) * np.log1p(-p)).sum(1).mean()
    assert BernoulliRBMEstimator(12, random_state=0).fit(X[:400]).score(X[400:]) > independent + 3


def test_learning_raises_the_density_of_real_digits_above_that_of_its_start_a_diagonal_gaussian():
    X = StandardScaler().fit_transform(small(load_digits().images[:600]))
    start = GaussianRBMEstimator(12, n_iter=0, random_state=0).fit(X[:400])
    np.testing.assert_allclose(start.sigma_, X[:400].std(0), rtol=1e-4)
    learned = GaussianRBMEstimator(12, random_state=0).fit(X[:400])
    assert learned.score(X[400:]) > start.score(X[400:]) + 1.5


def test_features_serve_in_a_pipeline_and_a_grid_search_finds_the_larger_machine(whole_digits):
    X, y = whole_digits
    model = make_pipeline(BernoulliRBMEstimator(40, random_state=0), LogisticRegression(max_iter=500))
    assert model.fit(X, y).score(X, y) > 0.9
    names = model[:-1].get_feature_names_out()
    assert len(names) == 40 and names[0] == "bernoullirbmestimator0"
    search = GridSearchCV(BernoulliRBMEstimator(n_iter=20, random_state=0), {"n_components": [1, 12]}, cv=2)
    assert search.fit(X).best_params_ == {"n_components": 12}
    assert search.best_score_ == pytest.approx(np.mean([search.cv_results_[f"split{k}_test_score"][1] for k in (0, 1)]))


def test_parts_are_learned_one_after_another_and_fit_forgets_them(digits):
    X, _ = digits
    rbm = BernoulliRBMEstimator(8, random_state=0)
    for part in np.split(X[:500], 5):
        rbm.partial_fit(part)
    early = rbm.score(X)
    for _ in range(40):
        rbm.partial_fit(X[:500])
    assert rbm.score(X) > early + 0.3, "and log Z is another one"
    assert rbm.fit(X).score(X) == BernoulliRBMEstimator(8, random_state=0).fit(X).score(X)
    fitted = rbm.components_.copy()
    assert not np.array_equal(rbm.partial_fit(X).components_, fitted)


def test_a_batch_that_diverges_leaves_the_machine_as_it_was(digits):
    X, _ = digits
    rbm = BernoulliRBMEstimator(8, random_state=0).partial_fit(X)
    before = rbm.components_.copy()
    with pytest.raises(Diverged, match="smaller learning rate"):
        rbm.set_params(learning_rate=1e9).partial_fit(X)
    np.testing.assert_array_equal(rbm.components_, before)
    assert np.isfinite(rbm.set_params(learning_rate=0.1).partial_fit(X).score(X))


def test_attributes_are_those_of_scikit_learns_machine(digits):
    X, _ = digits
    ours, theirs = BernoulliRBMEstimator(7, n_iter=1, random_state=0).fit(X), TheirRBM(7, n_iter=1).fit(X)
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        setattr(theirs, name, getattr(ours, name).astype(float))
        assert getattr(ours, name).shape == getattr(theirs, name).shape
    np.testing.assert_allclose(theirs.transform(X), ours.transform(X), atol=1e-9)
    assert ours.transform(X.astype(np.float32)).dtype == np.float32


def test_a_pickle_knows_its_log_z_and_goes_on_learning(digits):
    X, _ = digits
    rbm = GaussianRBMEstimator(8, n_iter=2, random_state=0).fit(X)
    back = pickle.loads(pickle.dumps(rbm))
    np.testing.assert_array_equal(back.score_samples(X), rbm.score_samples(X))
    np.testing.assert_array_equal(back.partial_fit(X).components_, rbm.partial_fit(X).components_)


def test_numbers_that_are_no_probabilities_are_refused_with_what_to_do(digits):
    X, _ = digits
    rbm = BernoulliRBMEstimator(4, n_iter=1, random_state=0)
    with pytest.raises(ValueError, match=r"X holds 7: expected numbers from 0 to 1 .* binarize"):
        rbm.fit(X * 7)
    rbm.fit(X * 0.9)
    for function in (rbm.score_samples, rbm.pseudo_log_likelihood):
        with pytest.raises(ValueError, match=r"X holds 0.9: P\(x\) is of zeros and ones"):
            function(X * 0.9)
    rbm.set_params(binarize=0.5)
    np.testing.assert_array_equal(rbm.score_samples(X * 7), rbm.score_samples(X))


def test_scores_that_rest_on_too_short_an_annealing_warn(digits, monkeypatch):
    """A machine of two modes, all on and all off, which one step of annealing doesn't lead to in equal parts."""
    X, _ = digits
    for module in ("estimators", "log_z.bracket", "log_z.model_samples"):
        monkeypatch.setattr(f"foveate.boltzmann.{module}.enumerable", lambda machine: False)
    for kind in (BernoulliRBMEstimator, GaussianRBMEstimator):
        rbm = kind(8, n_iter=0, random_state=0, temperatures=1).fit(X)
        machine = rbm.machine_
        machine.W.data.fill_(4)
        machine.b.data.copy_(-machine.W.sum(1) / 2)
        machine.c.data.copy_(-machine.W.sum(0) / 2)
        with pytest.warns(UncertainLogZ):
            rbm.score_samples(X)
