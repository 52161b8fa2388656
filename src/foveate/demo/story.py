"""The whole story on scenes that are made on the spot: known digits with their places given, new ones without.

1. Scenes: real handwriting on real photographs. Digits 0-4 are the known kind, 5-9 the new one.
2. Train on the known kind, with locations.
3. Learn the new kind from scenes in which nobody has said where it is.
4. Evaluate: are the digits found? And what is the learned patch model worth, in nats on aligned patches of *new*
   digits, beside the model it started from and an oracle that was given the locations?
"""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from foveate.attention.models import Models
from foveate.boltzmann.dbn import GaussianDBN
from foveate.demo.digits import DEMO_SPLITS, write_digit_scenes
from foveate.errors import BadInput
from foveate.evaluation.bound import evaluate_bound
from foveate.learning.learn import Round, learn
from foveate.learning.settings import PRESETS as LEARNING
from foveate.learning.settings import LearnSettings
from foveate.report.page import write_report
from foveate.report.results import AboutStory, BoundStory, LearnStory, TableStory
from foveate.report.stories import save_learning_story, save_scenes_story, save_training_story
from foveate.runtime.progress import Progress
from foveate.scenes.folder import Scenes, read_scenes
from foveate.storage.config import differences, read_toml, recorded, write_toml
from foveate.storage.run import Run
from foveate.training.data import TrainingData, load_data
from foveate.training.gallery import Gallery, load_gallery
from foveate.training.patches import aligned_patches
from foveate.training.settings import PRESETS, TrainSettings, without_mirroring
from foveate.training.train import patch_model, train

COUNTS = {
    "quick": {"train": 200, "new": 240, "test-known": 150, "test-new": 150},
    "standard": {"train": 1000, "new": 1000, "test-known": 200, "test-new": 200},
}
BOUND: dict[str, dict[str, Any]] = {
    "quick": {"chains": 50, "temperatures": 2000, "importance_samples": 300},
    "standard": {"chains": 100, "temperatures": 50_000},
}
ABOUT = (
    "From {train} photographs with handwritten digits 0 to 4, whose places were given, foveate learned to find such "
    "digits.",
    "From {new} more with digits 5 to 9, whose places nobody gave, it learned the new kind by attending to them with "
    "what it knew.",
    "The figures below were measured on {test_known} and {test_new} other photographs; the oracle is a model that was "
    "given the new digits' places.",
)


def run_demo(out: str | Path, seed: int, preset: str, progress: Progress) -> dict[str, Any]:
    """Makes, trains, learns, evaluates, writes OUT/report.html, gives the figures; what is done is not repeated."""
    out, started = Path(out), time.monotonic()
    story = out / "story"
    source, settings = train_digits(out, seed, preset, progress)
    lessons = replace(LEARNING[preset], seed=seed, train=settings)
    learned = _learn(out, preset, source, lessons, progress)
    oracle = _oracle(out, settings, source, progress)

    tests = ("test-known", "test-new")
    galleries = {name: load_gallery(_read(out, name).scenes, progress, settings.largest) for name in tests}
    sets = [("known digits", source, "test-known"), ("new digits before learning", source, "test-new")]
    sets += [("new digits after learning", learned, "test-new")]
    figures: dict[str, float] = {}
    for order, (name, models, test) in enumerate(sets, start=1):
        place = {"order": order, "folder": f"scenes/{test}"}
        images = range(len(galleries[test].names))
        told = save_scenes_story(story, models, galleries[test], images, settings.attend, progress, name, **place)
        figures[f"{name} found (top1 at 0.5)"] = float(told["top1"]["0.5"])
        least = f"recall at 0.5, P >= {settings.attend.min_probability:g}"
        figures[f"{name} found ({least})"] = float(told["recall"]["0.5"])
    gdbns = {"source": source.gdbn, "learned": learned.gdbn, "oracle": oracle}
    bounds = _bounds(story, gdbns, galleries["test-new"], preset, seed, progress)
    gap = (bounds["learned"] - bounds["source"]) / (bounds["oracle"] - bounds["source"])
    for rounds in LearnStory.load_all(story):
        ends = {"bound_before": bounds["source"], "bound_after": bounds["learned"], "bound_oracle": bounds["oracle"]}
        replace(rounds, **ends).save(story)
    figures |= {f"{name} (nats per new digit)": value for name, value in bounds.items()} | {"gap closed": gap}
    rows = [[name, round(value, 3)] for name, value in figures.items()]
    TableStory(["figure", "value"], rows, "On scenes that trained nothing.", "The demo's table").save(story)
    counts = {name.replace("-", "_"): count for name, count in COUNTS[preset].items()}
    AboutStory([sentence.format(**counts) for sentence in ABOUT]).save(story)
    seconds = time.monotonic() - started
    page = write_report(out)
    for name in ("run", "run-learned"):  # once more, since now there is a page above them to link to
        write_report(out / name)
    return {**figures, "seconds": round(seconds, 1), "page": str(page)}


def train_digits(out: Path, seed: int, preset: str, progress: Progress) -> tuple[Models, TrainSettings]:
    """The demo's scenes, and OUT/run, which has learned the known digits from them; what is there is not done again."""
    (out / "story").mkdir(parents=True, exist_ok=True)
    agree(out / "demo.toml", {"preset": preset, "seed": seed})
    make_scenes(out / "scenes", COUNTS[preset], seed, progress)
    of_digits = replace(PRESETS[preset].periphery, turn=30.0)  # none is turned by more, and they have a handedness
    settings = without_mirroring(replace(PRESETS[preset], periphery=of_digits, seed=seed))
    return _train(out, preset, settings, progress), settings


def make_scenes(folder: Path, counts: dict[str, int], seed: int, progress: Progress) -> None:
    """Writes the four folders of scenes; those that are whole are left as they are."""
    with progress.phase("making scenes", sum(counts.values())) as tick:
        done = 0
        for name, count in counts.items():
            classes, split = DEMO_SPLITS[name]
            if not (folder / name / "annotations.json").exists():
                write_digit_scenes(folder / name, classes, count, seed, split, tick=lambda k, done=done: tick(done + k))
            done += count


def agree(path: Path, asked: dict[str, Any]) -> None:
    """Keep what a demo is begun with; what is asked when it goes on must be the same."""
    begun = read_toml(path) if path.exists() else {}
    for line in differences(begun, asked) if begun else []:
        raise BadInput(f"{path.parent} was started with {line}: name another --out")
    if not begun:
        write_toml(path, asked)


def _train(out: Path, preset: str, settings: TrainSettings, progress: Progress) -> Models:
    with Run.claim(out / "run", resume=True) as run:
        if not run.whole:
            scenes = _read(out, "train")
            run.begin(_config("train", out / "scenes" / "train", preset, settings, scenes))

            def tell(story: Path, made: tuple[Models, TrainingData]) -> None:
                save_training_story(story, *made, settings.attend, progress, scenes.category or "")
                shutil.copytree(story, out / "story", dirs_exist_ok=True)

            run.complete(lambda run: train(scenes, run, settings, progress), tell, write_report)
    return Models.load(out / "run")


def _learn(out: Path, preset: str, source: Models, settings: LearnSettings, progress: Progress) -> Models:
    with Run.claim(out / "run-learned", resume=True) as run:
        if not run.whole:
            scenes, known = read_scenes(out / "scenes" / "new", annotated=False), _read(out, "train")
            replay = os.path.abspath(out / "scenes" / "train")
            run.begin(_config("learn", out / "scenes" / "new", preset, settings, scenes, replay=replay))

            def tell(story: Path, made: tuple[Models, Gallery, list[Round]]) -> None:
                save_learning_story(story, source, *made, progress)
                shutil.copytree(story, out / "story", dirs_exist_ok=True)

            run.complete(lambda run: learn(source, scenes, run, settings, progress, known), tell, write_report)
    return Models.load(out / "run-learned")


def _oracle(out: Path, settings: TrainSettings, source: Models, progress: Progress) -> GaussianDBN:
    """The patch model of the new kind with its locations known, and the old kind beside it as in learning."""
    with Run.claim(out / "story" / "oracle", resume=True) as run:
        if not run.begun:
            run.write_config({"command": "oracle"})
        both = Scenes(_read(out, "new").scenes + _read(out, "train").scenes)
        return patch_model(load_data(both, settings, progress), run, settings, progress, source.gdbn)


def _bounds(
    story: Path, models: dict[str, GaussianDBN], gallery: Gallery, preset: str, seed: int, progress: Progress
) -> dict[str, float]:
    """The importance-weighted bound of each model on the aligned patches of a gallery."""
    found = {}
    for order, (name, gdbn) in enumerate(models.items()):
        patches = gdbn.standardise(aligned_patches(gallery.pyramids, gallery.objects))
        figures = evaluate_bound(gdbn, patches, **BOUND[preset], seed=seed, progress=progress)
        BoundStory(figures, f"{name} on new digits", order).save(story)
        found[name] = float(figures["iw_bound"])
    return found


def _read(out: Path, name: str) -> Scenes:
    return read_scenes(out / "scenes" / name)


def _config(
    command: str, scenes: Path, preset: str, settings: TrainSettings | LearnSettings, read: Scenes, **more: Any
) -> dict[str, Any]:
    told = {"preset": preset, "seed": settings.seed, "category": read.category or "digit", **more}
    return recorded(command, scenes, settings, **told)
