"""The experiments of Tang, Srivastava & Salakhutdinov (2014) as one page: `make paper`.

    python benchmarks/paper.py OUT [--full] [--seed 0] [--faces FOLDER]

Digits 0 to 4 on photographs are the old kind, 5 to 9 the new one. With --full: three seeds, the whole training,
annealing by 50,000 temperatures. With --faces what concerns a single kind (steps, successes and failures, two objects,
convergence) is done with a folder's annotated photographs too, of which a part is held out.

OUT/paper.html is the page, OUT/figures what it is made from. What is done already in OUT is not done again.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from paper_page import chart, image_of, patches, said, section, table, write_page

from foveate.attention.attend import Attention
from foveate.attention.models import Models
from foveate.attention.overlay import draw_overlay
from foveate.attention.posterior.paper import ROUNDS, STEPS
from foveate.attention.settings import AttendSettings
from foveate.attention.shiftnet import ShiftNet
from foveate.boltzmann.dbn import GaussianDBN
from foveate.demo.story import BOUND, COUNTS, agree, make_scenes
from foveate.errors import present
from foveate.evaluation.ambiguity import ambiguity
from foveate.evaluation.bound import evaluate_bound
from foveate.evaluation.bound_state import EvaluationState
from foveate.evaluation.convergence import OFFSETS, SHOWN, SIZES, convergence
from foveate.evaluation.matching import overlaps
from foveate.learning.learn import learn
from foveate.learning.settings import PRESETS as LEARNING
from foveate.runtime.progress import Bars, Progress
from foveate.runtime.random import generator
from foveate.runtime.workers import map_images
from foveate.scenes.folder import Scene, Scenes, read_scenes
from foveate.scenes.glimpse import PATCH_SIZE, glimpses
from foveate.scenes.pyramid import Pyramids
from foveate.storage.config import recorded
from foveate.storage.files import write_json
from foveate.storage.run import Run
from foveate.training.data import load_data
from foveate.training.gallery import Gallery, hold_out, load_gallery
from foveate.training.patches import aligned_patches
from foveate.training.settings import PRESETS, TrainSettings, without_mirroring
from foveate.training.train import patch_model, train

SETS = {"old training": "train", "old validation": "test-known", "new training": "new", "new validation": "test-new"}
MODELS: tuple[str, ...] = ("without new images", "with them, unlabelled", "with them, labelled")
SHOWN_SCENES, SHOWN_ENDS, PATCHES = 3, 6, 16  # of Figure 2; of either half of Figure 3; samples
SEEN = 80  # side of a patch in Figure 2
CONVERGING, PAIRS = 60, 60  # objects from which gazes set out; pairs of photographs side by side
FACES = {"quick": (250, 100), "standard": (100_000, 300)}  # photographs of a folder that train, that are held out
FACES_HELD_OUT = 0.25  # at most, of the folder


@dataclass(frozen=True)
class Place:
    """OUT: figures that it holds are not made again, and what each part of the work took is kept."""

    out: Path
    progress: Progress

    def figures(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, as JSON gives it back."""
        path = self.out / "figures" / f"{slug(name)}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.timed(name):
                made = make()
            write_json(path, made)
        return json.loads(path.read_text())

    @contextmanager
    def timed(self, name: str) -> Generator[None]:
        """Adds the processor time of a part to what it took in earlier processes."""
        begun = time.process_time()
        try:
            yield
        finally:
            took = self.took()
            took[name] = took.get(name, 0.0) + time.process_time() - begun
            write_json(self.out / "processor-seconds.json", took)

    def took(self) -> dict[str, float]:
        """Processor seconds of each part."""
        path = self.out / "processor-seconds.json"
        return json.loads(path.read_text()) if path.exists() else {}


@dataclass(frozen=True)
class Subject:
    """A kind of object, and the paper's models of it."""

    name: str
    attention: Attention
    held_out: Sequence[Scene]  # photographs that trained nothing
    place: Place
    seed: int

    @cached_property
    def gallery(self) -> Gallery:
        """The photographs held out."""
        return load_gallery(self.held_out, self.place.progress, self.attention.settings.largest)

    def figures(self, name: str, make: Callable[[], Any]) -> Any:
        return self.place.figures(f"{name} {self.name} {self.seed}", make)


@dataclass(frozen=True)
class Trained:
    """What one seed has learned of the digits."""

    source: Models  # of the old kind
    patch_models: dict[str, GaussianDBN]  # one for each of MODELS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--full", action="store_true", help="three seeds, the whole training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faces", type=Path, help="a folder of annotated photographs, of faces or whatever else")
    asked = parser.parse_args()
    preset = "standard" if asked.full else "quick"
    asked.out.mkdir(parents=True, exist_ok=True)
    agree(asked.out / "paper.toml", {"preset": preset, "seed": asked.seed})
    place = Place(asked.out, Bars())
    seeds = range(asked.seed, asked.seed + (3 if asked.full else 1))
    with place.timed("scenes"):
        make_scenes(asked.out / "scenes", COUNTS[preset], asked.seed, place.progress)
    settings = without_mirroring(paper_settings(preset))
    digits = [learned(place, preset, replace(settings, seed=seed)) for seed in seeds]
    subjects = [
        Subject("digits", Attention(one.source, settings.attend), with_objects(read(place, "test-known")), place, seed)
        for seed, one in zip(seeds, digits, strict=True)
    ]
    first = subjects[:1]
    if asked.faces is not None:
        agree(asked.out / "faces.toml", {"faces": str(asked.faces.resolve())})
        first.append(faces(place, asked.faces, preset, asked.seed))
        subjects.append(first[-1])
    galleries = {
        name: load_gallery(read(place, folder).scenes, place.progress, settings.largest)
        for name, folder in SETS.items()
    }
    parts = [table_1()]
    parts += [figure for subject in first for figure in (figure_2(subject), figure_3(subject))]
    parts += [two_objects(subjects), *map(curves, first), bounds(place, digits, seeds, galleries, preset)]
    parts += [samples(digits[0], galleries["new training"]), times(place)]
    told = (
        f"Here with digits on photographs, which come with foveate{' and faces' * bool(asked.faces)}; preset {preset}, "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}."
    )
    write_page(asked.out / "paper.html", parts, told)
    print(f"page: {asked.out / 'paper.html'}, {sum(place.took().values()) / 60:.1f} core-minutes in all")


def slug(name: str) -> str:
    """A name as that of a file."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def paper_settings(preset: str) -> TrainSettings:
    return PRESETS[paper_preset(preset)]


def paper_preset(preset: str) -> str:
    return {"quick": "paper-quick", "standard": "paper"}[preset]


def read(place: Place, name: str, annotated: bool = True) -> Scenes:
    """One of the folders of digits."""
    return read_scenes(place.out / "scenes" / name, annotated=annotated)


def with_objects(scenes: Scenes) -> list[Scene]:
    return [scene for scene in scenes.scenes if len(scene.gazes)]


def run(path: Path, command: str, preset: str, scenes: Scenes, how: Any, work: Callable[[Run], Any]) -> Models:
    """The models of a run, which is taken to its end if it isn't there."""
    with Run.claim(path, resume=True) as claimed:
        if not claimed.whole:
            told = {"preset": preset, "seed": how.seed, "category": scenes.category or "object"}
            claimed.begin(recorded(command, path, how, **told))
            claimed.complete(work, lambda story, made: None, lambda where: None)
    return Models.load(path)


def learned(place: Place, preset: str, settings: TrainSettings) -> Trained:
    """The old kind with locations; then the new one without, and its patch model with."""
    known, new = read(place, "train"), read(place, "new", annotated=False)
    seed, name, progress = settings.seed, paper_preset(preset), place.progress
    with place.timed("training, digits"):
        source = run(
            place.out / f"run-{seed}", "train", name, known, settings,
            lambda run: train(known, run, settings, progress),
        )  # fmt: skip
    lessons = replace(LEARNING[name], seed=seed, train=settings)
    with place.timed("learning, locations unknown"):
        after = run(
            place.out / f"run-learned-{seed}", "learn", name, new, lessons,
            lambda run: learn(source, new, run, lessons, progress, known),
        )  # fmt: skip
    with place.timed("patch model, locations known"), Run.claim(place.out / f"oracle-{seed}", resume=True) as claimed:
        if not claimed.begun:
            claimed.write_config({"command": "oracle"})
        both = Scenes(read(place, "new").scenes + known.scenes)
        oracle = patch_model(load_data(both, settings, progress), claimed, settings, progress, source.gdbn)
    return Trained(source, dict(zip(MODELS, (source.gdbn, after.gdbn, oracle), strict=True)))


def faces(place: Place, folder: Path, preset: str, seed: int) -> Subject:
    """The same training on a part of a folder's photographs; what is measured are others of them."""
    scenes, (most, held) = read_scenes(folder), FACES[preset]
    some = with_objects(scenes)
    share = min(FACES_HELD_OUT, held / len(some))
    fit, apart = hold_out([scene.group or scene.name for scene in some], share, seed)
    known, settings = replace(scenes, scenes=[some[k] for k in fit][:most]), replace(paper_settings(preset), seed=seed)
    with place.timed("training, faces"):
        models = run(
            place.out / f"run-faces-{seed}", "train", paper_preset(preset), known, settings,
            lambda run: train(known, run, settings, place.progress),
        )  # fmt: skip
    return Subject("faces", Attention(models, settings.attend), [some[k] for k in apart], place, seed)


def table_1() -> str:
    """The layers of the ConvNet."""
    net = ShiftNet()
    layers = {
        "2": ("convolution of x", "7x7", net.look), "4": ("convolution of v", "5x5", net.expect),
        "6": ("fully connected", "", net.combine), "7": ("fully connected", "", net.shift),
    }  # fmt: skip
    rows = [[k, what, size, f"{layer.weight.numel():,}"] for k, (what, size, layer) in layers.items()]
    return section(
        "Table 1 (supplement): weights of the ConvNet",
        table(["layer", "type", "filter", "weights"], rows),
        "The same: the layers and their numbers of weights. What differs: the change of gaze is predicted in the frame "
        "of the gaze, and the loss weighs small changes more than the squared error does.",
    )


def in_the_paper(settings: AttendSettings) -> AttendSettings:
    """The paper's inference, its gaze told whatever its probability."""
    return replace(settings, starts="paper", min_probability=0.0, posterior=replace(settings.posterior, chains=0))


def inferred(subject: Subject) -> list[dict[str, Any]]:
    """Of each photograph held out: IoU with the nearest object along the trail, and how far off the start is."""
    gallery, settings = subject.gallery, in_the_paper(subject.attention.settings)

    def one(image: int) -> dict[str, Any]:
        founds = subject.attention.attend_one(picture(gallery.pyramids, image), gallery.names[image], settings)
        truth, begun = gallery.of(image).numpy(), present(subject.attention.models.paper, "where inference sets out")
        start, scale = begun.start(gallery.pyramids.only(image))[0].numpy(), np.hypot(truth[:, 0], truth[:, 1])
        offset = np.hypot(*(start[2:] - truth[:, 2:]).T) / scale * PATCH_SIZE / 2
        size = np.hypot(*start[:2]) / scale
        near = (offset <= OFFSETS[-1]) & (size >= SIZES[0]) & (size <= SIZES[-1])
        none = [0.0] * (STEPS + ROUNDS + 1)  # of a gaze that left the image, or shrank to nothing
        overlap = overlaps(founds[0].trail, truth).max(1).tolist() if founds else none
        return {"overlap": overlap, "near": bool(near.any())}

    with subject.place.progress.phase("the paper's inference", len(gallery.names)) as tick:
        done = []
        for each in map_images(one, range(len(gallery.names))):
            done.append(each)
            tick(len(done))
    return done


def figure_2(subject: Subject) -> str:
    """x, v and steps, from successes spread over the better half of all photographs."""
    ends = np.array([each["overlap"][-1] for each in subject.figures("inference", lambda: inferred(subject))])
    good = np.argsort(-ends)[: len(ends) // 2]
    chosen = good[np.linspace(0, len(good) - 1, SHOWN_SCENES).astype(int)]
    return section(
        f"Figure 2: x, v and the steps of inference, {subject.name}",
        "".join(steps(subject, int(k)) for k in chosen),
        f"The same: v starts as the mean of the aligned patches and u as the mean gaze; {STEPS} steps of the ConvNet, "
        "then rounds of v, h1 and Hamiltonian Monte Carlo of 20 leapfrog steps. Yellow is the first gaze, blue the "
        "last, the number its stated probability. The examples are the best, the median of the better half, and the "
        "median. What differs: the ConvNet's "
        "contexts come from an image pyramid.",
    )


def figure_3(subject: Subject) -> str:
    """Successes and failures, and how many there are of each."""
    measured = subject.figures("inference", lambda: inferred(subject))
    overlap, near = np.array([each["overlap"] for each in measured]), np.array([each["near"] for each in measured])
    rows = [
        [name, *shares(overlap[:, at]), *shares(overlap[near, at])]
        for name, at in (("mean gaze", 0), (f"after {STEPS} steps of the ConvNet", STEPS), ("after the rounds", -1))
    ]
    order, ends = np.argsort(-overlap[:, -1], kind="stable"), np.sort(overlap[:, -1])[::-1]
    halves = {"Successes": order[ends > 0.5], "Failures": order[ends <= 0.5]}
    settings = in_the_paper(subject.attention.settings)
    walls = ""
    for name, some in halves.items():
        shown = some[np.unique(np.linspace(0, len(some) - 1, SHOWN_ENDS).astype(int))] if len(some) else []
        pictures = "".join(overlay(subject, int(k), settings, 300) for k in shown) or said("none")
        walls += f'<h3>{name}</h3><div class="row">{pictures}</div>'
    heads = ["", f"all {len(near)}: IoU above 0.5", "mean IoU", f"the {near.sum()} near: IoU above 0.5", "mean IoU"]
    return section(
        f"Figure 3: successes and failures, {subject.name}",
        table(heads, rows) + walls,
        "Photographs that trained nothing; successes from the best to the least, failures from the nearest to the "
        "furthest. The same: the inference of Figure 2. What differs: an object may be anywhere and of many sizes, so "
        "that the mean gaze may be further off than the paper's starts; near are those where it is within their "
        f"bounds, at most {OFFSETS[-1]} pixels of the patch off and {SIZES[0]} to {SIZES[-1]} times the object's size.",
    )


def shares(overlap: Float[np.ndarray, "n"]) -> list[str]:
    """Share of IoU above 0.5 and mean IoU."""
    return [f"{(overlap > 0.5).mean():.3f}", f"{overlap.mean():.3f}"] if len(overlap) else ["-", "-"]


def overlay(subject: Subject, image: int, settings: AttendSettings, width: int) -> str:
    """A photograph with the trail of the paper's inference."""
    pixels, name = picture(subject.gallery.pyramids, image), subject.gallery.names[image]
    founds = subject.attention.attend_one(pixels, name, settings)
    return image_of(draw_overlay(pixels, founds), width, f"{name} with the way of the gaze")


def steps(subject: Subject, image: int) -> str:
    """One scene of Figure 2: its trail, x(u) along it, and v at its start and end."""
    gallery, models, settings = subject.gallery, subject.attention.models, in_the_paper(subject.attention.settings)
    pixels, name = picture(gallery.pyramids, image), gallery.names[image]
    (found, *_) = subject.attention.attend_one(pixels, name, settings)
    trail = torch.from_numpy(found.trail)
    seen = glimpses(gallery.pyramids, np.full(len(trail), image), trail)
    start, gdbn = present(models.paper, "where the paper's inference sets out"), models.gdbn
    v = torch.cat((start.v[None], models.canonical(seen[-1:].to(gdbn.rbm.W)).cpu()))
    shown = gdbn.to_pixels(v.flatten(1)).view(-1, 3, 24, 24).clamp(0, 1)
    walls = [
        said("x(u) at the start and after each step of the ConvNet"), patches(seen[: STEPS + 1], "x(u)", SEEN),
        said("x(u) after each round"), patches(seen[STEPS + 1 :], "x(u)", SEEN),
        said("v at the start and at the end"), patches(shown, "v", SEEN),
    ]  # fmt: skip
    shot = image_of(draw_overlay(pixels, [found]), 340, f"{name} with the way of the gaze")
    return f'<div class="row">{shot}<div>{"".join(walls)}</div></div>'


def two_objects(subjects: Sequence[Subject]) -> str:
    """Two objects side by side, v of one."""

    def measured(subject: Subject) -> dict[str, Any]:
        settings = replace(subject.attention.settings, starts="one", seed=subject.seed)
        return ambiguity(subject.attention, subject.held_out, settings, subject.place.progress, PAIRS)

    rows = []
    for subject in subjects:
        figures = subject.figures("two objects", lambda subject=subject: measured(subject))
        kinds = {
            f"{2 * figures['pairs']} cases, ConvNet from midway": figures["network"],
            f"the {figures['unlike']} that look unlike, ConvNet from midway": figures["network_unlike"],
            f"{2 * figures['pairs']} cases, whole pipeline": figures["pipeline"],
        }
        rows += [
            [f"{subject.name}, seed {subject.seed}: {name}"]
            + [f"{each[part]:.2f}" for part in ("in_mind", "other", "neither", "stderr")]
            for name, each in kinds.items()
            if each
        ]
    return section(
        "Two objects side by side, v of one of them",
        table(["", "at the one in mind", "at the other", "at neither", "s.e."], rows),
        "The same: v is held at one object's canonical image. What differs: it is seen through another gaze, in "
        "another light and partly covered. The ConvNet was trained with v of its own glimpse, with the mean of the "
        "patches, and with v of one object seen before, alone or beside another. The whole pipeline is a single start "
        "that covers the image, since the paper has no search.",
    )


def curves(subject: Subject) -> str:
    """Accuracy by offset, size and step, beside template matching."""
    settings = replace(subject.attention.settings, one_steps=STEPS)
    figures = subject.figures(
        "convergence",
        lambda: convergence(subject.attention, subject.held_out[:CONVERGING], settings, subject.place.progress),
    )
    words = SHOWN | {"network": "ConvNet"}
    by_offset, by_size = (
        {words[method]: points for method, points in figures[key].items()} for key in ("by_offset", "by_size")
    )
    by_step = {
        "IoU above 0.5": [row[:2] for row in figures["by_step"]], "mean IoU": [row[::2] for row in figures["by_step"]]
    }  # fmt: skip
    panels = [
        ("start's offset, pixels of the patch", "share with IoU above 0.5", by_offset),
        ("start's size, beside the object's", "", by_size), ("step of the ConvNet", "", by_step),
    ]  # fmt: skip
    seen = figures["in_sight"]
    rows = [
        [words[method], *(f"{value:.3f}" for value in (*pair, *seen[method])), ""]
        for method, pair in figures["all"].items()
    ]
    if figures["hmc"]["n"]:
        (gain, stderr), count = figures["hmc"]["gain"], figures["hmc"]["n"]
        before, after = ([f"{x:.3f}" for x in figures["hmc"][key]] for key in ("before", "after"))
        rows.append([f"{count} of the ConvNet's gazes with IoU above 0.3, before HMC", *before, "", "", ""])
        error = "" if stderr is None else f" ± {stderr:.3f}"
        rows.append(["the same, after HMC", *after, "", "", f"{gain:+.3f}{error}"])
    heads = ["", f"all {figures['starts']} starts: IoU above 0.5", "mean IoU"]
    heads += [f"the {seen['starts']} in sight: IoU above 0.5", "mean IoU", "gain in mean IoU"]
    return section(
        f"Convergence, and other methods, {subject.name}",
        chart(panels, "accuracy by offset, by size and by step") + table(heads, rows),
        f"Starts at {figures['objects']} objects that trained nothing; in sight are those whose context holds the "
        f"object's centre. The same: starts up to {OFFSETS[-1]} pixels off, at {SIZES[0]} to {SIZES[-1]} times the "
        f"object's size, {STEPS} steps; normalised cross-correlation and Euclidean matching over places, sizes and "
        "angles. On its faces the paper has 97 %, and 93 and 78 % for those two. What differs: a pixel is one of the "
        "patch, 24 to the object's window, so that small starts far off don't see the object; template matching sees "
        "every place within reach from any start; Viola and Jones's detector is not run.",
    )


def bounds(
    place: Place, digits: Sequence[Trained], seeds: Sequence[int], galleries: dict[str, Gallery], preset: str
) -> str:
    """The 4 x 3 table: bounds of four sets under three patch models, mean of all seeds."""
    found: dict[str, list[dict[str, Any]]] = {model: [] for model in MODELS}
    for seed, one in zip(seeds, digits, strict=True):
        for model, gdbn in one.patch_models.items():
            name = f"bounds {model} {seed}"
            made = place.figures(
                name, lambda gdbn=gdbn, name=name, seed=seed: bounds_of(place, name, gdbn, galleries, preset, seed)
            )
            found[model].append(made)

    def mean(model: str, name: str) -> float:
        return float(np.mean([each["sets"][name]["bound"] for each in found[model]]))

    def cell(model: str, name: str) -> str:
        low, high = (
            np.mean([each["sets"][name]["bound"] + each["log_z"] - each[end] for each in found[model]])
            for end in ("log_z_upper", "log_z_lower")
        )
        return f"{mean(model, name):.0f} [{low:.0f}, {high:.0f}]"

    rows = [[name, *(cell(model, name) for model in MODELS)] for name in SETS]
    for k, seed in enumerate(seeds):
        each = [found[model][k] for model in MODELS]
        ends = [f"{x['log_z']:.0f} [{x['log_z_lower']:.0f}, {x['log_z_upper']:.0f}]" for x in each]
        rows.append([f"log Z, seed {seed}", *ends])
    before, after, oracle = MODELS
    closed = [
        f"{name} {(mean(after, name) - mean(before, name)) / (mean(oracle, name) - mean(before, name)):.2f}"
        for name in ("new training", "new validation")
    ]
    lost = mean(after, "old validation") - mean(before, "old validation")
    error = max(each["stderr"] for models in found.values() for figures in models for each in figures["sets"].values())
    doubts = sorted({line for models in found.values() for figures in models for line in figures["warnings"]})
    return section(
        "Learning where locations are unknown: bounds, nats a patch",
        table(["", *MODELS], rows)
        + f"<p>Gap closed: {', '.join(closed)} (the paper: .81 and .72). Old validation with the new images, "
        f"unlabelled: {lost:+.0f} nats. Standard errors over patches are at most {error:.0f}.</p>"
        + "".join(said(line) for line in doubts),
        "The same: the bound of the supplement, log Z by annealed importance sampling. What differs: digits for faces; "
        "in brackets the bound with the upper end of log Z, from the reverse run, and with its lower end, which the "
        "paper leaves open.",
    )


def bounds_of(
    place: Place, name: str, gdbn: GaussianDBN, galleries: dict[str, Gallery], preset: str, seed: int
) -> dict[str, Any]:
    """Of one patch model: its log Z, once for all sets, and the bound of each."""
    v = {key: gdbn.standardise(aligned_patches(each.pyramids, each.objects)) for key, each in galleries.items()}
    file = place.out / f"{slug(name)}.safetensors"
    how = BOUND[preset] | {"importance_samples": 1}  # of them comes a tighter bound, which the page doesn't show
    figures = evaluate_bound(
        gdbn, torch.cat(list(v.values())), **how, seed=seed, state_file=file, resume=True, progress=place.progress
    )
    terms, _ = present(EvaluationState.open(file).load("patches"), "the patches' terms")
    each = terms["terms"][:, 0].split([len(some) for some in v.values()])
    sets = {}
    for key, some in zip(v, each, strict=True):
        error = float(some.std()) / len(some) ** 0.5
        sets[key] = {"n": len(some), "bound": float(some.mean()) - figures["log_z"], "stderr": error}
    return {"sets": sets, **{key: figures[key] for key in ("log_z", "log_z_lower", "log_z_upper", "ess", "warnings")}}


def samples(trained: Trained, gallery: Gallery) -> str:
    """Samples of the patch model before and after, beside the nearest training patches."""
    seen, parts = aligned_patches(gallery.pyramids, gallery.objects), []
    for name in MODELS[:2]:
        gdbn = trained.patch_models[name]
        v = gdbn.sample(PATCHES, generator(0, "paper", name), 200)
        nearest = torch.cdist(v.cpu(), gdbn.standardise(seen).cpu()).argmin(1)
        shown = gdbn.to_pixels(v).cpu().view(-1, 3, 24, 24).clamp(0, 1)
        parts.append(
            f"<h3>{name}</h3>{patches(shown, 'samples')}{said('nearest training patches of the new kind')}"
            f"{patches(seen[nearest], 'nearest patches')}"
        )
    return section(
        "Samples before and after",
        "".join(parts),
        "The same: means of v given h1, after 200 sweeps of the top RBM. What differs: digits for faces.",
    )


def times(place: Place) -> str:
    """What the parts took."""
    took = place.took()
    rows = [[name, f"{seconds / 60:.1f}"] for name, seconds in took.items()]
    return section(
        "What it took",
        table(["", "core-minutes"], [*rows, ["all", f"{sum(took.values()) / 60:.1f}"]]),
        "Processor time of the processes that made this page; of those that were stopped, what they had ended.",
    )


def picture(pyramids: Pyramids, image: int) -> Float[np.ndarray, "h w 3"]:
    """A whole image of a gallery, in [0, 1]."""
    return pyramids.level(image, 0) / 65535


if __name__ == "__main__":
    main()
