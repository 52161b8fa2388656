"""What belongs together when scenes are held out: frames of one film, copies of one picture, pictures of one day.

A frame whose neighbour trained is no test of anything. Unless a rule is given, images are of one group that share a
folder and the name before its last number, or else a folder, where that makes enough groups of which none is too
large. Where it doesn't, and neighbours in the order of names are near copies, blocks of neighbours are groups: then
only frames at the ends of a block have a neighbour on the other side.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from foveate.errors import BadInput
from foveate.scenes.image import BadImage, open_picture

FEWEST_GROUPS, LARGEST_SHARE = 5, 0.4
"""By themselves names make groups only where there are so many, and none holds more of the images than this."""
BLOCKS, MORE_BLOCKS, MANY = 10, 20, 200  # blocks of neighbours; more of them from so many images on
FEWEST_TO_LOOK_AT = 20  # images below which nobody looks whether neighbours are near copies
PAIRS, THUMBNAIL, PIXELS = 10, 24, 60e6
"""Pairs of neighbours that are looked at, the side at which, and the pixels that may be decoded for it."""
FLAT = 0.02  # standard deviation of a thumbnail, in shares of white, below which it shows too little to compare
ALIKE = 0.5  # neighbours are near copies if they differ by less than this share of what images far from each other do

_SPLITS = {"train", "training", "val", "valid", "validation", "test", "images", "labels"}
"""Names of folders that are splits, not sources."""


def group(names: Sequence[str], paths: Sequence[str], rule: str | None = None) -> tuple[list[str], str | None]:
    """The group of each image, by its name below the folder and its path, and what is to be said about it.

    A rule is "folder", or a regular expression whose first group (or, without one, whose match) in an image's name is
    its group; an image that it doesn't match is a group of its own.

    Raises:
        BadInput: The rule is no regular expression, or puts all images into one group.
    """
    if rule is not None:
        groups = _by_rule(names, rule)
        return groups, f"--group {rule}: {len(set(groups))} groups, each on one side of the hold-out"
    sides = "each on one side of the hold-out (--group for another rule)"
    for groups, what in ((_before_number(names), "their names before the number"), (_folders(names), "their folders")):
        sizes = Counter(groups)
        enough = FEWEST_GROUPS <= len(sizes) < len(names)
        if enough and max(sizes.values()) <= LARGEST_SHARE * len(names):
            return groups, f"{len(sizes)} groups of images by {what}, {sides}"
    if len(names) >= FEWEST_TO_LOOK_AT and near_copies(paths, _in_order(names)):
        blocks = _blocks(names)
        return blocks, f"neighbouring images are near copies: {len(set(blocks))} blocks of neighbours, {sides}"
    return list(names), None


def sources(names: Sequence[str]) -> int:
    """How many films or series the images seem to be frames of, by their names; 0 if they don't look like that."""
    parts = [[part for part in name.split("/") if part.lower() not in _SPLITS] for name in names]
    sizes = Counter(_before_number(["/".join(each) for each in parts]))
    return len(sizes) if 2 <= len(sizes) < FEWEST_GROUPS and min(sizes.values()) > 1 else 0


def near_copies(paths: Sequence[str], order: Sequence[int]) -> bool:
    """Whether neighbours in an order are near copies: their thumbnails, brightness aside, differ much less than those
    of images far from each other."""
    chosen: list[int] = np.unique(np.linspace(0, len(order) - 2, PAIRS).astype(int)).tolist()
    near: list[float] = []
    firsts: list[Float[np.ndarray, "side side"]] = []
    pixels = 0.0
    for index in chosen:
        if pixels > PIXELS and len(near) >= 3:
            break
        try:
            (first, decoded), (second, also) = (_thumbnail(paths[order[at]]) for at in (index, index + 1))
        except BadImage:
            continue
        pixels += decoded + also
        if max(first.std(), second.std()) < FLAT:
            continue
        near.append(_difference(first, second))
        firsts.append(first)
    half = len(firsts) // 2
    far = [_difference(firsts[k], firsts[(k + half) % len(firsts)]) for k in range(len(firsts))]
    return len(near) >= 3 and float(np.median(near)) < ALIKE * float(np.median(far))


def _thumbnail(path: str) -> tuple[Float[np.ndarray, "side side"], float]:
    """A picture at a few pixels a side, and how many were decoded for it."""
    from PIL import Image

    picture = open_picture(path, 4 * THUMBNAIL)
    shrunk = picture.width * picture.height / (64 if path.lower().endswith((".jpg", ".jpeg")) else 1)
    values = picture.pixels.astype(np.float32).mean(2) / np.iinfo(picture.pixels.dtype).max
    return np.asarray(Image.fromarray(values).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)), shrunk


def _difference(first: Float[np.ndarray, "side side"], second: Float[np.ndarray, "side side"]) -> float:
    change = first - second
    return float((change - change.mean()).std())


def _by_rule(names: Sequence[str], rule: str) -> list[str]:
    if rule == "folder":
        groups = _folders(names)
    else:
        try:
            pattern = re.compile(rule)
        except re.error as error:
            raise BadInput(f"--group {rule}: not a valid regular expression ({error})") from None
        found = [pattern.search(name) for name in names]
        which = min(pattern.groups, 1)
        groups = [(match.group(which) or "") if match else name for match, name in zip(found, names, strict=True)]
    if len(names) > 1 and len(set(groups)) == 1:
        raise BadInput(f"--group {rule}: all {len(names)} images are in one group, so none can be held out")
    return groups


def _folders(names: Sequence[str]) -> list[str]:
    return [name.rpartition("/")[0] for name in names]


def _before_number(names: Sequence[str]) -> list[str]:
    """Each name up to the last number in it; what comes after, too, if it is not the suffix alone.

    Exports that hold several versions of one picture append `.rf.` and a hash to its name: what is before is the group.
    """
    groups = []
    for name in names:
        source, exported, _ = os.path.splitext(name)[0].partition(".rf.")
        groups.append(source if exported else re.sub(r"\d+$", "", source))
    return groups


def _in_order(names: Sequence[str]) -> list[int]:
    """Numbers of the names, frame 2 before frame 10."""
    parts = [[int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)] for name in names]
    return sorted(range(len(names)), key=lambda number: [(isinstance(part, str), part) for part in parts[number]])


def _blocks(names: Sequence[str]) -> list[str]:
    """Groups of neighbours, each within one series."""
    size = math.ceil(len(names) / (BLOCKS if len(names) < MANY else MORE_BLOCKS))
    series, groups = _before_number(names), list(names)
    counts: Counter[str] = Counter()
    for number in _in_order(names):
        groups[number] = f"{series[number]} block {counts[series[number]] // size}"
        counts[series[number]] += 1
    return groups
