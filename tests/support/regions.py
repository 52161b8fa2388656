"""Regions of images, and a mask's bytes as Label Studio packs them, made by the tests themselves."""

import math

import numpy as np


def ellipse(width, height, degrees, count=40, x=100.0, y=80.0):
    t = np.linspace(0, 2 * math.pi, count, endpoint=False)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.stack([np.cos(t) * width / 2, np.sin(t) * height / 2], 1) @ [[c, s], [-s, c]] + (x, y)


def pack(values, word=8, sizes=(3, 4, 8, 16)):
    """thi.ng/rle-pack, from its description: repeats of three and more as runs, others one by one."""
    bits = f"{len(values):032b}{word - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    at = 0
    while at < len(values):
        end = at
        while end < len(values) and values[end] == values[at] and end - at < 2 ** sizes[3]:
            end += 1
        length, repeated = (end - at, 1) if end - at > 2 else (1, 0)
        which = next(k for k, size in enumerate(sizes) if length - 1 < 2**size)
        bits += f"{repeated}{which:02b}{length - 1:0{sizes[which]}b}{values[at]:0{word}b}"
        at += length
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[k : k + 8], 2) for k in range(0, len(bits), 8))
