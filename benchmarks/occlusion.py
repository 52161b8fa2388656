"""Objects that are covered: are they found, and is it known which pixels show them?

Claim: with a rectangle of another photograph over 40 % of the object, top-1 accuracy is at least .9 of that uncovered,
and the mask of visible pixels overlaps the true one by an IoU of at least .7.

    python benchmarks/occlusion.py RUN SCENES [--select 0:60] [--share 0.4] [--seed 0]
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from foveate.attention.attend import Attention
from foveate.attention.found import Found
from foveate.attention.occlusion import explained
from foveate.attention.overlay import as_bytes
from foveate.attention.settings import run_settings
from foveate.errors import present
from foveate.evaluation.matching import overlaps
from foveate.runtime.progress import Bars
from foveate.scenes.folder import open_picture, parse_select, read_scenes
from foveate.scenes.gaze import intersection, to_boxes
from foveate.scenes.glimpse import PATCH_SIZE, grid
from foveate.scenes.pyramid import Pyramids
from foveate.storage.run import Run

Picture = UInt8[ndarray, "h w 3"]


TRIES = 50  # places of the other photograph, of which the one that shows least of an object is taken


def covered(
    picture: Picture,
    u: Float[ndarray, "4"],
    other: Picture,
    objects: Float[ndarray, "k 4"],
    share: float,
    rng: np.random.Generator,
) -> tuple[Picture, tuple[int, int, int, int]]:
    """The picture with a rectangle of another, in which there are `objects`, over a share of the object's upright
    square; and (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = to_boxes(torch.from_numpy(u[None]))[0].numpy()
    shape = np.exp(rng.uniform(-0.5, 0.5))
    w, h = (min(np.sqrt(share) * by, 1.0) for by in (shape, 1 / shape))
    w, h = min(share / h, 1.0), min(share / w, 1.0)
    left, top = x0 + rng.uniform(0, 1 - w) * (x1 - x0), y0 + rng.uniform(0, 1 - h) * (y1 - y0)
    a, b = max(int(left), 0), max(int(top), 0)
    c, d = (int(min(end, side)) for end, side in ((left + w * (x1 - x0), picture.shape[1]), (top + h * (y1 - y0), 1e9)))
    d = min(d, picture.shape[0])
    wide, high = min(c - a, other.shape[1]), min(d - b, other.shape[0])
    column, row = rng.integers(0, (other.shape[1] - wide + 1, other.shape[0] - high + 1), (TRIES, 2)).T
    there = torch.from_numpy(np.stack((column, row, column + wide, row + high), 1).astype(float))
    shown = intersection(there[:, None], to_boxes(torch.from_numpy(objects))).sum(1)
    column, row = column[best := int(shown.argmin())], row[best]
    out = picture.copy()
    out[b : b + high, a : a + wide] = other[row : row + high, column : column + wide]
    return out, (a, b, a + wide, b + high)


def truth(u: Float[ndarray, "4"], rectangle: tuple[int, int, int, int]) -> Bool[ndarray, "24 24"]:
    """Which pixels of a gaze's patch the rectangle leaves visible."""
    a, b, x, y = u
    p, q = grid(PATCH_SIZE, 1.0).numpy().T
    column, row = a * p - b * q + x, b * p + a * q + y
    x0, y0, x1, y1 = rectangle
    return ~((column >= x0) & (column < x1) & (row >= y0) & (row < y1)).reshape(PATCH_SIZE, PATCH_SIZE)


def _mask(found: Found) -> Float[ndarray, "24 24"]:
    return present(found.explained, "what is visible")


def iou(first: ndarray, second: ndarray) -> float:
    """Of two masks."""
    return float((first & second).sum() / max((first | second).sum(), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("scenes")
    parser.add_argument("--select")
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    attention, rng = Attention.load(asked.run), np.random.default_rng(asked.seed)
    settings = run_settings(Run.open(asked.run))
    settings = replace(settings, min_probability=0.0, max_gazes=1, posterior=replace(settings.posterior, chains=0))
    scenes = read_scenes(asked.scenes, parse_select(asked.select) if asked.select else None).scenes
    scenes = [scene for scene in scenes if len(scene.gazes)]
    held = [open_picture(scene.path, settings.largest) for scene in scenes]
    pictures = [as_bytes(each.pixels) for each in held]
    models, hits, at_truth, at_found, whole, share = attention.models, [], [], [], [], []
    with Bars().phase("occlusion", len(scenes)) as tick:
        for k, scene in enumerate(scenes):
            gazes = scene.gazes * held[k].scale
            u = gazes[int(np.argmax(np.hypot(gazes[:, 0], gazes[:, 1])))]
            other = (k + int(rng.integers(1, len(pictures)))) % len(pictures)
            objects = scenes[other].gazes * held[other].scale
            hidden, rectangle = covered(pictures[k], u, pictures[other], objects, asked.share, rng)
            found = []
            for picture in (pictures[k], hidden):
                (best, *_) = attention.attend_one(picture, scene.name, replace(settings, visible=True)) or [None]
                found.append(best)
            hit = [best is not None and overlaps(best.u[None], u[None])[0, 0] > 0.5 for best in found]
            hits.append(hit)
            true, here = truth(u, rectangle), Found.at_rest(u[None], 0.0, 1.0)
            under, plain = (
                _mask(explained(models.occlusion, models.gdbn, Pyramids.from_images([picture]), 0, [here])[0])
                for picture in (hidden, pictures[k])
            )
            at_truth.append(iou(under > 0.5, true))
            whole.append(plain)
            share.append(true.mean())
            if hit[1]:
                at_found.append(iou(_mask(found[1]) > 0.5, truth(found[1].u, rectangle)))
            tick(k + 1)
    top1, covered_top1 = np.mean(hits, 0)
    print(f"{len(scenes)} objects, a rectangle of another photograph over {1 - np.mean(share):.2f} of the patch")
    print(f"top-1 accuracy: uncovered {top1:.3f}, covered {covered_top1:.3f} ({covered_top1 / top1:.3f} of it)")
    for name, values in (("the true gaze", at_truth), ("gazes found", at_found)):
        print(f"IoU of the visible mask at {name}: mean {np.mean(values):.3f}, p10 {np.quantile(values, 0.1):.3f}")
    print(f"visible of uncovered objects: mean {np.mean(whole):.3f}")


if __name__ == "__main__":
    main()
