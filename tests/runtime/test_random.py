"""Random numbers keyed on what they are for: the hash, its forms in torch and numba, and how random they are."""

import math

import numpy as np
import torch

from foveate.runtime.random import (
    draw_key,
    halves,
    halves_at,
    key,
    normals,
    uniform_array,
    uniforms,
    unit_at,
    units,
    word_at,
    words,
)


def keys_of(n: int) -> torch.Tensor:
    return torch.tensor([key(0, "test", i) for i in range(n)])


def test_words_are_those_of_splitmix64():
    """SplitMix64 with seed 1234567 begins with these numbers (its authors' reference implementation)."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    key = torch.tensor([1234567])
    assert [word % 2**64 for word in words(key, torch.arange(4)).tolist()] == expected
    assert uniforms(key, 0, 4)[0].tolist() == [((x >> 12) + 0.5) * 2**-52 for x in expected]


def test_numbers_of_a_key_do_not_depend_on_where_one_begins():
    both = uniforms(keys_of(3), 0, 20)
    assert torch.equal(uniforms(keys_of(3), 7, 5), both[:, 7:12])
    assert torch.equal(normals(keys_of(3), 4, 3), normals(keys_of(3), 4, 4)[:, :3])


def test_numbers_of_keys_are_uniform_normal_and_unrelated():
    n = 100_000
    u, z = uniforms(keys_of(2), 0, n), normals(keys_of(2), 0, n)
    assert ((u.mean(1) - 0.5).abs() < 5 / math.sqrt(12 * n)).all()
    assert (z.mean(1).abs() < 5 / math.sqrt(n)).all() and ((z.var(1) - 1).abs() < 5 * math.sqrt(2 / n)).all()
    assert abs(float((z[0] * z[1]).mean())) < 5 / math.sqrt(n)
    assert abs(float((z[:, ::2] * z[:, 1::2]).mean())) < 5 / math.sqrt(n)


def test_compiled_numbers_are_those_of_torch():
    keys = keys_of(5)
    at = [(k, n) for k in keys.tolist() for n in (0, 1, 7, 2**40)]
    key_column, counter = (torch.tensor(column) for column in zip(*at, strict=True))
    assert [int(word_at(k, n)) for k, n in at] == [word % 2**64 for word in words(key_column, counter).tolist()]
    assert [tuple(map(int, halves_at(k, n))) for k, n in at] == list(
        zip(*(half.tolist() for half in halves(words(key_column, counter))), strict=True)
    )
    low, high = draw_key(2, 3, 4)
    number = [0, 1, 500, 2**31 + 5, 2**32 - 1]
    mine = [unit_at(np.uint32(n), np.uint32(low), np.uint32(high)) for n in number]
    assert mine == units(torch.tensor(number), low, high).tolist()


def test_counted_uniforms_are_uniform_and_uncorrelated_between_keys_and_neighbours():
    """A million numbers: mean, variance, 64 bins (chi-square within 5 deviations), correlations."""
    n = 1_000_000
    u, w = uniform_array((n,), draw_key(0, 0, 0)).double(), uniform_array((n,), draw_key(0, 1, 0)).double()
    assert 0 <= u.min() and u.max() < 1
    assert abs(float(u.mean()) - 0.5) < 5 * (1 / 12 / n) ** 0.5
    counts = torch.histc(u, 64, 0, 1)
    chi_square = float(((counts - n / 64) ** 2 / (n / 64)).sum())
    assert abs(chi_square - 63) < 5 * (2 * 63) ** 0.5
    z, y = (u - 0.5) * 12**0.5, (w - 0.5) * 12**0.5
    for other in (y, z.roll(1), z.roll(500), y.roll(1)):
        assert abs(float((z * other).mean())) < 5 / n**0.5
