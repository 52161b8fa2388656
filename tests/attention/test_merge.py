"""One gaze an object, whatever the order."""

import math
import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foveate.attention.merge import merge
from foveate.attention.search import votes


def crowd(n, seed=0, span=300.0):
    rng = np.random.default_rng(seed)
    s, angle = np.exp(rng.uniform(2, 4, n)), rng.uniform(-math.pi, math.pi, n)
    return np.stack([s * np.cos(angle), s * np.sin(angle), rng.uniform(0, span, n), rng.uniform(0, span, n)], axis=1)


def by_hand(gazes, scores, iou, inside):
    """The rule, pair by pair, written out: the indices kept, and for each gaze the place in them of its own."""

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
    owner = [kept.index(i) if i in kept else
             max((p for p in range(len(kept)) if same[i, kept[p]]), key=lambda p: (overlap[i, kept[p]], -p))
             for i in range(len(gazes))]
    return kept, owner


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 60), ties=st.booleans())
def test_merging_agrees_with_the_rule_applied_pair_by_pair(seed, n, ties):
    gazes = crowd(n, seed)
    scores = np.random.default_rng(seed).normal(size=n)
    scores = np.round(scores) if ties else scores
    merged = merge(gazes, scores, 0.35, 0.8)
    kept, owner = by_hand(gazes, scores, 0.35, 0.8)
    assert merged.kept.tolist() == kept
    assert merged.votes.tolist() == [owner.count(place) for place in range(len(kept))]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_input_changes_nothing_even_with_tied_scores(seed):
    gazes = crowd(80, seed)
    rng = np.random.default_rng(seed)
    scores, order = rng.integers(0, 4, 80).astype(float), rng.permutation(80)
    one, other = merge(gazes, scores), merge(gazes[order], scores[order])
    assert (gazes[one.kept] == gazes[order][other.kept]).all()
    assert (one.votes == other.votes).all()
    assert (votes(gazes)[order] == votes(gazes[order])).all()


def test_the_same_place_at_another_angle_is_the_same_object():
    gazes = np.array([[20.0, 0.0, 50.0, 50.0], [-20.0, 0.0, 52.0, 50.0], [0.0, 20.0, 50.0, 51.0]])
    merged = merge(gazes, np.array([1.0, 3.0, 2.0]))
    assert merged.kept.tolist() == [1] and merged.votes.tolist() == [3.0]


def test_a_forehead_taken_for_a_face_upside_down_is_the_same_object_and_a_cheek_beside_it_is_not():
    face, forehead, neighbour = [40.0, 0.0, 100.0, 100.0], [-40.0, 0.0, 100.0, 62.0], [40.0, 0.0, 148.0, 100.0]
    merged = merge(np.array([face, forehead, neighbour]), np.array([3.0, 2.0, 1.0]))
    assert merged.kept.tolist() == [0, 2] and merged.votes.tolist() == [2.0, 1.0]


def test_a_gaze_inside_another_is_a_duplicate_whichever_scores_more():
    face, eye, neighbour = [40.0, 0.0, 100.0, 100.0], [8.0, 0.0, 85.0, 90.0], [40.0, 0.0, 190.0, 100.0]
    gazes = np.array([face, eye, neighbour])
    assert sorted(merge(gazes, np.array([3.0, 2.0, 1.0])).kept) == [0, 2]
    assert sorted(merge(gazes, np.array([2.0, 3.0, 1.0])).kept) == [1, 2]
    assert sorted(merge(gazes, np.array([2.0, 3.0, 1.0]), inside=1.1).kept) == [0, 1, 2]


def test_a_score_that_is_not_a_number_comes_last_and_no_gazes_give_none():
    gazes = np.array([[20.0, 0.0, 50.0, 50.0], [20.0, 0.0, 51.0, 50.0]])
    assert merge(gazes, np.array([np.nan, -1e9])).kept.tolist() == [1]
    empty = merge(np.zeros((0, 4)), np.zeros(0))
    assert len(empty.kept) == len(empty.votes) == 0 and len(votes(np.zeros((0, 4)))) == 0


def test_votes_are_a_kernel_density_of_log_scale_angle_and_place():
    """sum_j exp(-d_ij^2 / 2) with widths of 0.15, 0.2 radians and 0.15 half-sides, all pairs at once."""
    gazes = crowd(300, 3, span=40.0)
    s, angle = np.hypot(gazes[:, 0], gazes[:, 1]), np.arctan2(gazes[:, 1], gazes[:, 0])
    by_scale = np.log(s[:, None] / s[None]) / 0.15
    by_angle = (np.remainder(angle[:, None] - angle[None] + np.pi, 2 * np.pi) - np.pi) / 0.2
    by_place = ((gazes[:, None, 2:] - gazes[None, :, 2:]) ** 2).sum(-1) / (s[:, None] * s[None]) / 0.15**2
    expected = np.exp(-0.5 * (by_scale**2 + by_angle**2 + by_place))
    np.testing.assert_allclose(votes(gazes), expected.sum(1), rtol=1e-12, atol=1e-12)
    weights = np.arange(300) % 7 + 1.0
    np.testing.assert_allclose(votes(gazes, weights), expected @ weights, rtol=1e-12, atol=1e-12)
    assert votes(gazes).max() > 1.5


def test_votes_count_those_who_converged_together_also_across_the_cut_at_180_degrees():
    angles = np.deg2rad(np.array([179.9, -179.9, 180.0, 0.0]))
    gazes = np.stack([30 * np.cos(angles), 30 * np.sin(angles), np.full(4, 40.0), np.full(4, 40.0)], axis=1)
    np.testing.assert_allclose(votes(gazes), [3, 3, 3, 1], atol=1e-3)


def test_votes_do_not_depend_on_the_size_at_which_the_scene_is_seen():
    gazes = crowd(100, 4, span=80.0)
    np.testing.assert_allclose(votes(gazes * 7.3), votes(gazes), rtol=1e-9)


def test_two_thousand_gazes_take_a_fraction_of_a_second():
    gazes, scores = crowd(2000, 5, span=2000.0), np.random.default_rng(5).normal(size=2000)
    merge(gazes[:2], scores[:2]), votes(gazes[:2])
    start = time.process_time()
    merge(gazes, scores)
    votes(gazes)
    assert time.process_time() - start < 1.0


def test_no_more_are_kept_than_asked_for():
    gazes, scores = crowd(80, seed=3), np.random.default_rng(3).normal(size=80)
    every = merge(gazes, scores)
    for most in (0, 1, 5, 1000):
        np.testing.assert_array_equal(merge(gazes, scores, most=most).kept, every.kept[:most])
