"""P(object | score) and the ranking's logistic regression."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import LogisticRegression

from foveate.attention.calibration import Calibration, Logistic, fit_calibration, fit_logistic, sigmoid
from foveate.errors import BadInput


@pytest.fixture(autouse=True)
def floating_point_trouble_is_an_error():
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        yield


def test_scores_separated_by_tens_of_thousands_of_nats_give_probabilities_near_zero_and_one():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(-30000, 1, 500), rng.normal(2000, 1, 500)])
    labels = np.repeat([0, 1], 500)
    calibration = fit_calibration(scores, labels)
    probability = calibration.probability(scores)
    assert np.isfinite(probability).all()
    assert probability[:500].max() < 0.01 and probability[500:].min() > 0.99
    assert (np.diff(probability[np.argsort(scores)]) >= 0).all()
    extreme = calibration.probability(np.array([-np.inf, -1e308, -1e5, 1e5, 1e308, np.inf, np.nan]))
    assert np.isfinite(extreme).all() and (np.diff(extreme[:-1]) >= 0).all() and extreme[-1] == 0.0


@pytest.mark.parametrize(
    ("scores", "labels", "constant"),
    [
        (np.linspace(-5, 9000, 20), np.ones(20, int), 21 / 22),
        (np.linspace(-5, 9000, 20), np.zeros(20, int), 1 / 22),
        (np.full(30, 1234.5), np.repeat([0, 1], [20, 10]), 11 / 32),
        (np.zeros(0), np.zeros(0, int), 0.5),
    ],
)
def test_one_class_or_equal_scores_fall_back_on_the_smoothed_share(scores, labels, constant):
    calibration = fit_calibration(scores, labels)
    np.testing.assert_allclose(calibration.probability(np.array([-1e6, 0.0, 1e6])), constant, rtol=1e-12)


def test_the_logistic_calibration_is_the_optimum_of_its_objective():
    """The cross-entropy of the labels and of two observations at either class's edge: its two derivatives vanish."""
    rng = np.random.default_rng(1)
    labels = rng.random(400) < 0.3
    scores = 800.0 * labels + rng.normal(-300, 700, 400)
    low, high = np.quantile(scores[labels], 0.05), np.quantile(scores[~labels], 0.95)
    samples, targets = np.append(scores, [low, low, high, high]), np.append(labels, [0, 1, 0, 1])
    residual = fit_calibration(scores, labels).probability(samples) - targets
    assert abs(residual.sum()) < 1e-6
    assert abs(residual @ (samples - scores.mean()) / scores.std()) < 1e-6


def test_a_long_tail_of_easy_negatives_does_not_flatten_the_slope():
    """True slope 1/30 a nat; negatives reach down to -100,000. Standard error of the slope about 0.002."""
    rng = np.random.default_rng(11)
    scores = np.concatenate([rng.uniform(-100_000, -500, 4000), rng.normal(0, 150, 1500)])
    labels = rng.random(5500) < sigmoid(scores / 30)
    calibration = fit_calibration(scores, labels)
    assert 1 / 36 < calibration.slope / calibration.scale < 1 / 25


def test_the_logistic_calibration_recovers_the_probabilities_that_made_the_labels():
    """20,000 scores whose labels were drawn from a known logistic: the error is below 4 standard errors (0.014)."""
    rng = np.random.default_rng(2)
    scores = rng.normal(1000, 2000, 20000)
    true = sigmoid((scores - 1500) / 700)
    calibration = fit_calibration(scores, rng.random(20000) < true)
    assert np.abs(calibration.probability(scores) - true).max() < 0.02


def test_scores_that_fall_with_the_object_never_give_a_falling_probability():
    scores = np.linspace(-1, 1, 50)
    calibration = fit_calibration(scores, scores < 0)
    assert calibration.slope == 0.0
    assert np.ptp(calibration.probability(scores)) == 0.0


def test_a_few_monstrous_scores_do_not_flatten_the_rest():
    rng = np.random.default_rng(3)
    labels = rng.random(1000) < 0.5
    scores = np.where(labels, 3.0, -3.0) + rng.normal(0, 1, 1000)
    scores[:3] = (1e9, -1e9, 1e9)
    labels[:3] = (True, False, True)
    probability = fit_calibration(scores, labels).probability(np.array([-3.0, 3.0]))
    assert probability[0] < 0.01 and probability[1] > 0.99


@given(
    scores=hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e300, 1e300, allow_subnormal=False)),
    bits=st.integers(0, 2**30 - 1),
)
def test_any_finite_scores_and_labels_give_a_monotone_map_into_the_unit_interval(scores, bits):
    labels = np.array([(bits >> i) & 1 for i in range(len(scores))])
    calibration = fit_calibration(scores, labels)
    probability = calibration.probability(np.sort(scores))
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (np.diff(probability) >= 0).all()


def test_the_order_of_the_photographs_changes_no_bit():
    rng = np.random.default_rng(5)
    scores, labels = rng.normal(0, 4000, 300), rng.integers(0, 2, 300)
    order = rng.permutation(300)
    one, other = fit_calibration(scores, labels), fit_calibration(scores[order], labels[order])
    assert (one.probability(scores) == other.probability(scores)).all()


def test_a_saved_calibration_reads_back_exactly():
    rng = np.random.default_rng(6)
    scores, labels = rng.normal(0, 4000, 300), rng.integers(0, 2, 300)
    calibration = fit_calibration(scores, labels)
    again = Calibration.from_tensors({"other.tensor": torch.zeros(3), **calibration.tensors()})
    assert (again.probability(scores) == calibration.probability(scores)).all()
    assert (again.positives, again.negatives) == (calibration.positives, calibration.negatives)


def test_broken_calibration_tensors_are_refused():
    tensors = fit_calibration(np.array([0.0, 1.0, 2.0]), np.array([0, 1, 1])).tensors()
    with pytest.raises(BadInput, match="calibration"):
        Calibration.from_tensors({})
    with pytest.raises(BadInput, match="finite"):
        Calibration.from_tensors({**tensors, "calibration.logistic": torch.full((6,), torch.nan)})
    with pytest.raises(BadInput, match="fall"):
        Calibration.from_tensors({**tensors, "calibration.logistic": -tensors["calibration.logistic"].abs()})


def test_scores_that_are_not_finite_can_not_be_calibrated_on():
    with pytest.raises(BadInput, match="nan"):
        fit_calibration(np.array([0.0, np.nan]), np.array([0, 1]))


def test_the_regression_agrees_with_scikit_learn_under_the_same_penalty():
    rng = np.random.default_rng(7)
    features = rng.normal(size=(500, 4)) * (1.0, 3000.0, 0.01, 20.0) + (5.0, -9000.0, 0.0, 1.0)
    labels = (features[:, 0] - 5 + (features[:, 1] + 9000) / 3000 + rng.normal(size=500)) > 0
    ours = fit_logistic(features, labels, l2=0.7)
    standard = (features - ours.mean) / ours.scale
    theirs = LogisticRegression(C=1 / 0.7, tol=1e-10, max_iter=10000).fit(standard, labels)
    np.testing.assert_allclose(ours.weight, theirs.coef_[0], atol=1e-5)
    np.testing.assert_allclose(ours.logit(features), theirs.decision_function(standard), atol=1e-4)


def test_the_regression_ends_where_the_gradient_vanishes_even_when_classes_separate():
    rng = np.random.default_rng(8)
    features = rng.normal(size=(200, 3)) * 1e5
    labels = features[:, 0] > 0
    model = fit_logistic(features, labels, l2=0.1)
    standard = (features - model.mean) / model.scale
    residual = model.probability(features) - labels
    assert np.abs(standard.T @ residual + 0.1 * model.weight).max() < 1e-6 and abs(residual.sum()) < 1e-6


def test_constant_and_duplicated_features_do_no_harm():
    rng = np.random.default_rng(9)
    useful = rng.normal(size=300)
    labels = useful + rng.normal(size=300) > 0
    features = np.stack([useful, useful, np.full(300, 7.1)], axis=1)
    model = fit_logistic(features, labels, l2=1.0)
    assert model.weight[0] == pytest.approx(model.weight[1], rel=1e-6) and abs(model.weight[2]) < 1e-9


def test_one_class_gives_a_constant_and_nonsense_is_refused():
    features = np.arange(6.0).reshape(3, 2)
    model = fit_logistic(features, np.ones(3, int))
    np.testing.assert_allclose(model.probability(features), 4 / 5)
    with pytest.raises(BadInput, match="feature 1 of gaze 2"):
        fit_logistic(np.where(np.arange(6).reshape(3, 2) == 5, np.inf, features), np.array([0, 1, 1]))
    again = Logistic.from_tensors(model.tensors())
    assert (again.logit(features) == model.logit(features)).all()


@pytest.mark.parametrize("away", [-2.0, 0.0, 1.5])
def test_where_objects_are_rarer_or_more_common_the_log_odds_shift_and_nothing_else(away):
    """Of many gazes whose log-odds are all off by the same, the shift found is that, and the order stays."""
    rng = np.random.default_rng(0)
    scores = 3 * rng.standard_normal(40_000)
    calibration = fit_calibration(scores, rng.random(40_000) < 1 / (1 + np.exp(-scores)))
    elsewhere = rng.random(40_000) < 1 / (1 + np.exp(-scores - away))
    shifted = calibration.shifted(scores, elsewhere)
    assert shifted.intercept - calibration.intercept == pytest.approx(away, abs=0.05)
    assert shifted.slope == calibration.slope
    assert calibration.shifted(np.zeros(0), np.zeros(0, bool)) == calibration, "nothing known, nothing moved"
    few = calibration.shifted(scores[:2], np.array([False, False]))
    assert -2 < few.intercept - calibration.intercept < 0, "two gazes move it by less than the prior's two deviations"
