"""One gaze an object, whatever the order."""

import math
import time

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from foveate.attention.nms import modes, non_maximum_suppression


def crowd(n, seed=0, span=300.0):
    rng = np.random.default_rng(seed)
    s, angle = np.exp(rng.uniform(2, 4, n)), rng.uniform(-math.pi, math.pi, n)
    return np.stack([s * np.cos(angle), s * np.sin(angle), rng.uniform(0, span, n), rng.uniform(0, span, n)], axis=1)


def by_hand(gazes, scores, iou, inside):
    """The rule, pair by pair, written out: the indices kept."""

    def shared(i, k):
        (one, other), extent = np.hypot(gazes[[i, k], 0], gazes[[i, k], 1]), 1.0
        for axis in (2, 3):
            low = max(gazes[i, axis] - one, gazes[k, axis] - other)
            extent *= max(min(gazes[i, axis] + one, gazes[k, axis] + other) - low, 0.0)
        return extent / (4 * one**2 + 4 * other**2 - extent), extent / (4 * min(one, other) ** 2)

    pairs = [[shared(i, k) for k in range(len(gazes))] for i in range(len(gazes))]
    overlap, share = np.array(pairs).reshape(len(gazes), len(gazes), 2).transpose(2, 0, 1)
    same = (overlap >= iou) | (share >= inside)
    kept = []
    for i in sorted(range(len(gazes)), key=lambda i: (-scores[i], *gazes[i])):
        if not any(same[i, k] for k in kept):
            kept.append(i)
    return kept


@given(seed=st.integers(0, 10**6), n=st.integers(0, 60), ties=st.booleans())
def test_merging_agrees_with_the_rule_applied_pair_by_pair(seed, n, ties):
    gazes = crowd(n, seed)
    scores = np.random.default_rng(seed).normal(size=n)
    scores = np.round(scores) if ties else scores
    assert non_maximum_suppression(gazes, scores, 0.35, 0.8).tolist() == by_hand(gazes, scores, 0.35, 0.8)


@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_input_changes_nothing_even_with_tied_scores(seed):
    gazes = crowd(80, seed)
    rng = np.random.default_rng(seed)
    scores, order = rng.integers(0, 4, 80).astype(float), rng.permutation(80)
    one, other = non_maximum_suppression(gazes, scores), non_maximum_suppression(gazes[order], scores[order])
    assert (gazes[one] == gazes[order][other]).all()


def test_the_same_place_at_another_angle_is_the_same_object():
    gazes = np.array([[20.0, 0.0, 50.0, 50.0], [-20.0, 0.0, 52.0, 50.0], [0.0, 20.0, 50.0, 51.0]])
    merged = non_maximum_suppression(gazes, np.array([1.0, 3.0, 2.0]))
    assert merged.tolist() == [1]


def test_a_forehead_taken_for_a_face_upside_down_is_the_same_object_and_a_cheek_beside_it_is_not():
    face, forehead, neighbour = [40.0, 0.0, 100.0, 100.0], [-40.0, 0.0, 100.0, 62.0], [40.0, 0.0, 148.0, 100.0]
    merged = non_maximum_suppression(np.array([face, forehead, neighbour]), np.array([3.0, 2.0, 1.0]))
    assert merged.tolist() == [0, 2]


def test_a_gaze_inside_another_is_a_duplicate_whichever_scores_more():
    face, eye, neighbour = [40.0, 0.0, 100.0, 100.0], [8.0, 0.0, 85.0, 90.0], [40.0, 0.0, 190.0, 100.0]
    gazes = np.array([face, eye, neighbour])
    assert sorted(non_maximum_suppression(gazes, np.array([3.0, 2.0, 1.0]))) == [0, 2]
    assert sorted(non_maximum_suppression(gazes, np.array([2.0, 3.0, 1.0]))) == [1, 2]
    assert sorted(non_maximum_suppression(gazes, np.array([2.0, 3.0, 1.0]), inside=1.1)) == [0, 1, 2]


def test_a_score_that_is_not_a_number_comes_last_and_no_gazes_give_none():
    gazes = np.array([[20.0, 0.0, 50.0, 50.0], [20.0, 0.0, 51.0, 50.0]])
    assert non_maximum_suppression(gazes, np.array([np.nan, -1e9])).tolist() == [1]
    assert len(non_maximum_suppression(np.zeros((0, 4)), np.zeros(0))) == 0


def test_two_thousand_gazes_take_a_fraction_of_a_second():
    gazes, scores = crowd(2000, 5, span=2000.0), np.random.default_rng(5).normal(size=2000)
    non_maximum_suppression(gazes[:2], scores[:2])
    start = time.process_time()
    non_maximum_suppression(gazes, scores)
    assert time.process_time() - start < 1.0


def test_no_more_are_kept_than_asked_for():
    gazes, scores = crowd(80, seed=3), np.random.default_rng(3).normal(size=80)
    every = non_maximum_suppression(gazes, scores)
    for most in (0, 1, 5, 1000):
        np.testing.assert_array_equal(non_maximum_suppression(gazes, scores, most=most), every[:most])


def test_modes_are_the_angles_at_one_place_weighed_by_their_odds():
    def at(degrees, x=50.0):
        turn = math.radians(degrees)
        return [20 * math.cos(turn), 20 * math.sin(turn), x, 40.0]

    gazes = torch.tensor([at(10), at(-175), at(20), at(170), at(100, x=300.0)], dtype=torch.float64)
    scores = np.array([2.0, 1.0, 1.5, 0.5, 5.0])
    first, second = modes(gazes[0].numpy(), gazes, scores)
    assert (round(first.angle), round(second.angle)) == (10, -175)  # 20 and 170 are the same two, 100 is elsewhere
    assert math.isclose(first.weight / second.weight, math.e) and math.isclose(first.weight + second.weight, 1)
    assert modes(gazes[0].numpy(), gazes[[0, 2, 4]], scores[[0, 2, 4]]) == ()
    assert modes(gazes[0].numpy(), gazes, scores + np.array([9, 0, 0, 0, 0.0])) == ()  # too improbable to be told
