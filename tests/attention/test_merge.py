"""One gaze an object, whatever the order."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveate.attention.merge import merge, votes, votes_reference
from foveate.scenes import gaze


def crowd(n, seed=0, span=300.0):
    rng = np.random.default_rng(seed)
    s, angle = np.exp(rng.uniform(2, 4, n)), rng.uniform(-math.pi, math.pi, n)
    return np.stack([s * np.cos(angle), s * np.sin(angle), rng.uniform(0, span, n), rng.uniform(0, span, n)], axis=1)


def by_hand(gazes, scores, iou, inside):
    """The rule, pair by pair, with the overlaps of scenes.gaze."""
    boxes = gaze.to_boxes(torch.from_numpy(gazes))
    overlap = gaze.iou(boxes, boxes).numpy()
    area = (2 * np.hypot(gazes[:, 0], gazes[:, 1])) ** 2
    common = overlap * (area[:, None] + area[None]) / (1 + overlap)
    same = (overlap >= iou) | (common / np.minimum(area[:, None], area[None]) >= inside)
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
    assert merged.owner.tolist() == owner
    assert merged.votes.sum() == n


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_input_changes_nothing_even_with_tied_scores(seed):
    gazes = crowd(80, seed)
    rng = np.random.default_rng(seed)
    scores, order = rng.integers(0, 4, 80).astype(float), rng.permutation(80)
    one, other = merge(gazes, scores), merge(gazes[order], scores[order])
    assert (gazes[one.kept] == gazes[order][other.kept]).all()
    assert (one.votes == other.votes).all()
    assert (one.owner[order] == other.owner).all()
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


def test_gazes_of_different_photographs_never_merge():
    gazes = crowd(200, 1)
    scores = np.random.default_rng(1).normal(size=200)
    groups = np.random.default_rng(2).integers(0, 3, 200)
    merged = merge(gazes, scores, groups=groups)
    density = votes(gazes, groups=groups)
    for group in range(3):
        members = np.flatnonzero(groups == group)
        alone = merge(gazes[members], scores[members])
        assert members[alone.kept].tolist() == [k for k in merged.kept if groups[k] == group]
        assert (merged.kept[merged.owner[members]] == members[alone.kept[alone.owner]]).all()
        assert (density[members] == votes(gazes[members])).all()


def test_a_score_that_is_not_a_number_comes_last_and_no_gazes_give_none():
    gazes = np.array([[20.0, 0.0, 50.0, 50.0], [20.0, 0.0, 51.0, 50.0]])
    assert merge(gazes, np.array([np.nan, -1e9])).kept.tolist() == [1]
    empty = merge(np.zeros((0, 4)), np.zeros(0))
    assert len(empty.kept) == len(empty.owner) == len(empty.votes) == 0 and len(votes(np.zeros((0, 4)))) == 0


@pytest.mark.parametrize("angle_width", [0.2, math.inf])
def test_votes_agree_with_the_kernel_density_in_plain_torch(angle_width):
    gazes = crowd(300, 3, span=80.0)
    reference = votes_reference(torch.from_numpy(gazes), 0.3, angle_width, 0.5).numpy()
    np.testing.assert_allclose(votes(gazes, 0.3, angle_width, 0.5), reference, rtol=1e-12, atol=1e-12)
    assert reference.max() > 2.0


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
