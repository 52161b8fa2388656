"""Random numbers keyed on what they are for, never on who draws them or when.

A key is a hash of (seed, names): the same words give the same numbers however the work is split over batches, workers
or restarts.
"""

import hashlib

import numpy as np
import torch


def key(seed: int, *names: str | int) -> int:
    """A 63-bit integer that depends on the seed and on every name, in order.

    Names are length-prefixed before hashing, so ("ab", "c") and ("a", "bc") differ, as do 1 and "1".
    """
    digest = hashlib.blake2b(digest_size=8)
    for word in (seed, *names):
        text = f"{type(word).__name__}:{word}".encode()
        digest.update(len(text).to_bytes(4, "little") + text)
    return int.from_bytes(digest.digest(), "little") >> 1


def generator(seed: int, *names: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator seeded with `key(seed, *names)`."""
    return torch.Generator(device=device).manual_seed(key(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator (PCG64) seeded with `key(seed, *names)`."""
    return np.random.Generator(np.random.PCG64(key(seed, *names)))
