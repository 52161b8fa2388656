"""One kind of thing from a few annotations: foveate beside what else is trained from nothing, on the same images.

    python benchmarks/objects.py --photographs cells:WBC mouse [--sizes 25 100 all] [--seeds 0] [--preset quick]

Each of `--photographs` is a folder with train/ and test/ (FOLDER, or FOLDER:CATEGORY); nothing is chosen on test/.
Windows, overlaps (of upright squares) and the first 25, 100 or all images are the same for all:

- constant box: the median place, size and angle of the training annotations;
- colour threshold: logistic regression of a pixel's colour, its blobs, each with the size and angle of its moments;
- template: the mean of the aligned training patches, matched at several sizes and angles (normalised
  cross-correlation: OpenCV where it is installed, else by FFT);
- HOG + SVM: scikit-image's histograms of gradients and a linear SVM of scikit-learn, at the same sizes and angles, with
  a round of hard negatives;
- dlib's trainer has no angles; where dlib is installed, it is named as not run here.

Of each: top1 at IoU 0.5, average precision, median error of the angle in degrees (of matched gazes; - where no object
is turned), share upside down, processor seconds of training and of an image.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

import foveate
from foveate.attention.nms import non_maximum_suppression
from foveate.attention.overlay import crop
from foveate.evaluation.matching import match, overlaps
from foveate.scenes.folder import Scene, parse_select, read_image, read_scenes

SIDE = 64  # pixels of a window of HOG
SMALL = 24  # of a template
TURNS = 24  # angles that are searched where objects are turned
STEP = 1.2  # from one size to the next
MOST = 30  # detections of an image
NEGATIVES = 10  # windows without an object of each image

Found = list[tuple[np.ndarray, float]]  # gazes with scores, best first
Look = Callable[[np.ndarray], Found]


class Shapes(NamedTuple):
    """Half-sides and angles (radians) at which peers search: those of the training annotations."""

    sizes: np.ndarray
    angles: np.ndarray

    @classmethod
    def of(cls, truths: np.ndarray) -> "Shapes":
        half, angle = np.hypot(truths[:, 0], truths[:, 1]), np.arctan2(truths[:, 1], truths[:, 0])
        low, high = np.quantile(half, (0.02, 0.98))
        steps = int(np.ceil(np.log(max(high / low, 1.0)) / np.log(STEP))) + 1
        turned = np.abs(angle).max() > 0.05
        turns = np.arange(TURNS) * 2 * np.pi / TURNS if turned else np.zeros(1)
        return cls(np.geomspace(low, high, steps), turns)


def gaze_at(x: float, y: float, half: float, angle: float) -> np.ndarray:
    return np.array([half * np.cos(angle), half * np.sin(angle), x, y])


def distinct(found: Found) -> Found:
    """One detection an object, best first."""
    if not found:
        return []
    found = sorted(found, key=lambda each: -each[1])[:2000]
    gazes, scores = np.stack([each[0] for each in found]), np.array([each[1] for each in found])
    return [found[k] for k in non_maximum_suppression(gazes, scores, most=MOST)]


def constant_box(scenes: Sequence[Scene], images: Sequence[np.ndarray]) -> Look:
    rows = [
        [np.hypot(a, b) / min(s.width, s.height), np.cos(t := np.arctan2(b, a)), np.sin(t), x / s.width, y / s.height]
        for s in scenes
        for a, b, x, y in s.gazes
    ]
    half, cosine, sine, x, y = np.median(rows, axis=0)

    def look(image: np.ndarray) -> Found:
        height, width = image.shape[:2]
        return [(gaze_at(x * width, y * height, half * min(width, height), np.arctan2(sine, cosine)), 0.0)]

    return look


def colour_threshold(scenes: Sequence[Scene], images: Sequence[np.ndarray]) -> Look:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    rng, colours, inside = np.random.default_rng(0), [], []
    for scene, image in zip(scenes, images, strict=True):
        y, x = (rng.integers(0, side, 3000) for side in image.shape[:2])
        held = np.zeros(len(x), bool)
        for a, b, tx, ty in scene.gazes:
            held |= (x - tx) ** 2 + (y - ty) ** 2 < 0.6 * (a * a + b * b)
        colours.append(ndimage.uniform_filter(image, (3, 3, 1))[y, x])
        inside.append(held)
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression(class_weight="balanced"))
    model.fit(np.concatenate(colours), np.concatenate(inside))

    def blobs(image: np.ndarray) -> list[tuple[np.ndarray, float, float]]:
        """(centre, radius of the disc of that area, angle of the axis, its head where the blob is thicker)."""
        smooth = ndimage.uniform_filter(image, (3, 3, 1))
        seen = model.predict_proba(smooth.reshape(-1, 3))[:, 1].reshape(image.shape[:2])
        labels, _ = ndimage.label(ndimage.binary_opening(seen > 0.5, iterations=2))
        out = []
        for k, where in enumerate(ndimage.find_objects(labels), start=1):
            y, x = np.nonzero(labels[where] == k)
            if len(x) < 30:
                continue
            at = np.stack([x + where[1].start + 0.5, y + where[0].start + 0.5], 1)
            middle = at.mean(0)
            _, axes = np.linalg.eigh(np.cov((at - middle).T))
            along = (at - middle) @ axes[:, 1]
            axis = axes[:, 1] * (1 if (along**3).mean() >= 0 else -1)
            out.append((middle, np.sqrt(len(x) / np.pi), float(np.arctan2(axis[1], axis[0]))))
        return out

    ratio, turn = [], []
    for scene, image in zip(scenes, images, strict=True):
        for a, b, tx, ty in scene.gazes:
            near = [each for each in blobs(image) if np.hypot(*(each[0] - (tx, ty))) < np.hypot(a, b)]
            if near:
                best = max(near, key=lambda each: each[1])
                ratio.append(np.hypot(a, b) / best[1])
                turn.append(np.exp(1j * (np.arctan2(b, a) - best[2])))
    if not ratio:
        return lambda image: []
    grown, offset, turned = np.median(ratio), np.angle(np.mean(turn)), len(Shapes.of(all_truths(scenes)).angles) > 1
    usual = np.median([np.hypot(u[0], u[1]) for u in all_truths(scenes)])

    def look(image: np.ndarray) -> Found:
        return distinct(
            [
                (gaze_at(*middle, grown * r, angle + offset if turned else 0.0), -abs(np.log(grown * r / usual)))
                for middle, r, angle in blobs(image)
            ]
        )

    return look


def all_truths(scenes: Sequence[Scene]) -> np.ndarray:
    return np.concatenate([scene.gazes for scene in scenes])


def views(
    image: np.ndarray, shapes: Shapes, side: int
) -> list[tuple[np.ndarray, Callable[[float, float], np.ndarray]]]:
    """The image for each angle and size, turned upright and scaled, and what carries a window's centre to a gaze."""
    found = []
    height, width = image.shape[:2]
    for half in shapes.sizes:
        scale = side / (2 * half)
        small = Image.fromarray(image).resize((max(round(width * scale), 1), max(round(height * scale), 1)), Image.BOX)
        fill = tuple(int(value) for value in image.reshape(-1, 3).mean(0))
        for angle in shapes.angles:
            view = small.rotate(np.degrees(angle), Image.BILINEAR, expand=True, fillcolor=fill) if angle else small
            middle, cosine, sine = np.array(view.size) / 2, np.cos(angle), np.sin(angle)

            def back(x: float, y: float, m=middle, c=cosine, s=sine, h=half, t=angle, k=scale) -> np.ndarray:
                dx, dy = (x - m[0]) / k, (y - m[1]) / k
                return gaze_at(c * dx - s * dy + width / 2, s * dx + c * dy + height / 2, h, t)

            if min(view.size) >= side:
                found.append((np.asarray(view), back))
    return found


def peaks(response: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Local maxima above the least, at most `MOST`, highest first."""
    top = (response == ndimage.maximum_filter(response, 3)) & (response > least)
    rows = np.argwhere(top)
    return [tuple(row) for row in rows[np.argsort(-response[top])][:MOST]]


def template(scenes: Sequence[Scene], images: Sequence[np.ndarray]) -> Look:
    crops = [np.asarray(crop(i, u, SMALL), float) for s, i in zip(scenes, images, strict=True) for u in s.gazes]
    mean, shapes = np.mean(crops, 0), Shapes.of(all_truths(scenes))
    if find_spec("cv2"):
        import cv2

        def correlate(view: np.ndarray) -> np.ndarray:
            return cv2.matchTemplate(view.astype(np.float32), mean.astype(np.float32), cv2.TM_CCOEFF_NORMED)
    else:
        from skimage.feature import match_template

        def correlate(view: np.ndarray) -> np.ndarray:
            return match_template(view.astype(float), mean)[..., 0]

    def look(image: np.ndarray) -> Found:
        found = []
        for view, back in views(image, shapes, SMALL):
            response = correlate(view)
            found += [(back(x + SMALL / 2, y + SMALL / 2), response[y, x]) for y, x in peaks(response, 0.1)]
        return distinct(found)

    return look


def hog_svm(scenes: Sequence[Scene], images: Sequence[np.ndarray]) -> Look:
    from skimage.feature import hog
    from sklearn.svm import LinearSVC

    shapes, rng, cell = Shapes.of(all_truths(scenes)), np.random.default_rng(0), 8
    blocks = SIDE // cell - 1

    def features(view: np.ndarray) -> np.ndarray:
        return hog(view, 9, (cell, cell), (2, 2), channel_axis=2, feature_vector=False).reshape(
            view.shape[0] // cell - 1, view.shape[1] // cell - 1, 36
        )

    def window(image: np.ndarray, u: np.ndarray) -> np.ndarray:
        return features(np.asarray(crop(image, u, SIDE))).ravel()

    positive, negative = [], []
    for scene, image in zip(scenes, images, strict=True):
        for u in scene.gazes:
            positive += [window(image, u + rng.normal(0, 0.03 * np.hypot(u[0], u[1]), 4)) for _ in range(2)]
        for _ in range(NEGATIVES):
            half, angle = rng.choice(shapes.sizes), rng.choice(shapes.angles)
            u = gaze_at(rng.uniform(0, scene.width), rng.uniform(0, scene.height), half, angle)
            if not len(scene.gazes) or overlaps(u[None], scene.gazes).max() < 0.3:
                negative.append(window(image, u))

    def fit() -> tuple[np.ndarray, float]:
        x = np.stack(positive + negative)
        svm = LinearSVC(C=0.01, class_weight="balanced").fit(x, np.arange(len(x)) < len(positive))
        return svm.coef_.reshape(blocks, blocks, 36), float(svm.intercept_[0])

    def look_with(weights: np.ndarray, bias: float, image: np.ndarray, least: float) -> Found:
        found = []
        for view, back in views(image, shapes, SIDE):
            seen = np.lib.stride_tricks.sliding_window_view(features(view), (blocks, blocks), axis=(0, 1))
            response = np.einsum("yxfij,ijf->yx", seen, weights, optimize=True) + bias
            found += [
                (back(cell * x + SIDE / 2, cell * y + SIDE / 2), response[y, x]) for y, x in peaks(response, least)
            ]
        return distinct(found)

    weights, bias = fit()
    for k in rng.permutation(len(scenes))[:20]:  # hard negatives
        for u, _ in look_with(weights, bias, images[k], -0.5):
            if not len(scenes[k].gazes) or overlaps(u[None], scenes[k].gazes).max() < 0.3:
                negative.append(window(images[k], u))
    weights, bias = fit()
    return lambda image: look_with(weights, bias, image, -1.5)


def ours(
    folder: Path, category: str | None, select: str | None, preset: str, seed: int, runs: Path
) -> tuple[Look, float]:
    """foveate, and its processor seconds of training; a run that is in `runs` already is not trained again."""
    kind = "-".join((folder.name, category or "object", select or "all", preset, str(seed))).replace(":", "-")
    run, told = runs / kind, runs / f"{kind}.seconds"
    if told.exists():
        model, spent = foveate.load(run), float(told.read_text())
    else:
        begun = time.process_time()
        model = foveate.train(
            folder / "train", run, preset=preset, seed=seed, select=select, category=category, progress=False,
            overwrite=True,
        )  # fmt: skip
        spent = time.process_time() - begun
        told.write_text(f"{spent:.1f}")

    def look(image: np.ndarray) -> Found:
        found = model.attend(image, min_probability=0.0, max_gazes=MOST)
        return [(each.u, each.score) for each in sorted(found, key=lambda each: -each.score)]

    return look, spent


def figures(look: Look, scenes: Sequence[Scene], images: Sequence[np.ndarray]) -> list[float | None]:
    """top1, average precision, median angle error, share upside down, processor seconds an image."""
    begun = time.process_time()
    found = [look(image) for image in images]
    each = (time.process_time() - begun) / len(images)
    top, rows, turned = [], [], []
    for scene, some in zip(scenes, found, strict=True):
        gazes = np.array([u for u, _ in some]).reshape(-1, 4)
        overlap = overlaps(gazes, scene.gazes)
        if len(scene.gazes):
            top.append(bool(len(some)) and overlap[0].max() >= 0.5)
        owner = match(overlap, 0.5)
        rows += [(score, owner[k] >= 0) for k, (_, score) in enumerate(some)]
        for k in np.flatnonzero(owner >= 0):
            if scene.objects[owner[k]].angle_period == 360:
                a, b = (np.arctan2(u[1], u[0]) for u in (gazes[k], scene.gazes[owner[k]]))
                turned.append(abs(np.degrees(np.angle(np.exp(1j * (a - b))))))
    hits = np.array([hit for _, hit in sorted(rows, key=lambda row: -row[0])], float)
    total = sum(len(scene.gazes) for scene in scenes)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1] if len(hits) else precision
    average = float((precision * hits).sum() / total)
    known = np.ptp(np.arctan2(*all_truths(scenes)[:, 1::-1].T)) > 0.05 and len(turned)
    angle = [float(np.median(turned)), float(np.mean(np.array(turned) > 90))] if known else [None, None]
    return [float(np.mean(top)), average, *angle, each]


PEERS: dict[str, Callable[[Sequence[Scene], Sequence[np.ndarray]], Look]] = {
    "constant box": constant_box,
    "colour threshold": colour_threshold,
    "template": template,
    "HOG + SVM": hog_svm,
}
NEEDS = {"HOG + SVM": "skimage", "template": "skimage"}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument(
        "--photographs", nargs="+", required=True, help="FOLDER or FOLDER:CATEGORY, with train/ and test/"
    )
    asked.add_argument("--sizes", nargs="+", default=["25", "100", "all"])
    asked.add_argument("--seeds", nargs="*", type=int, default=[0], help="of foveate; none: the peers alone")
    asked.add_argument("--preset", default="standard", choices=["quick", "standard"])
    asked.add_argument(
        "--runs", type=Path, default=Path("objects-runs"), help="foveate's runs are kept here, and not trained again"
    )
    asked.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    options = asked.parse_args()
    print("dlib: " + ("installed, but not run here: no angles" if find_spec("dlib") else "left out, not installed"))
    for named in options.photographs:
        place, _, kind = named.partition(":")
        folder, kind = Path(place), kind or None
        test = read_scenes(folder / "test", category=kind).scenes
        seen = [read_image(scene.path) for scene in test]
        print(f"\n{folder.name} {kind or ''}: {len(test)} test images, {len(all_truths(test))} objects\n")
        print("| trained on | by | top1 | AP | angle | upside down | s training | s an image |\n" + "| --- " * 8 + "|")
        for size in options.sizes:
            select = None if size == "all" else f"0:{size}"
            scenes = read_scenes(folder / "train", select and parse_select(select), kind).scenes
            if select and len(scenes) < int(size):
                continue
            known = [read_image(scene.path) for scene in scenes]
            for name in options.peers:
                if name in NEEDS and not (find_spec(NEEDS[name]) or find_spec("cv2")):
                    print(f"| {size} | {name}: left out, {NEEDS[name]} is not installed |", flush=True)
                    continue
                begun = time.process_time()
                look = PEERS[name](scenes, known)
                spent = time.process_time() - begun
                row(size, name, spent, figures(look, test, seen))
            for seed in options.seeds:
                look, spent = ours(folder, kind, select, options.preset, seed, options.runs)
                row(size, f"foveate, {options.preset}, seed {seed}", spent, figures(look, test, seen))


def row(size: str, name: str, spent: float, found: Sequence[float | None]) -> None:
    top, average, angle, upside, each = found
    cells = [f"{top:.3f}", f"{average:.3f}", "-" if angle is None else f"{angle:.1f}"]
    cells += ["-" if upside is None else f"{upside:.2f}", f"{spent:.1f}", f"{each:.2f}"]
    print(f"| {size} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
