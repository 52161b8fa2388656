"""What each figure that is measured at a gaze is worth, and each step of the networks: fitted and counted again.

The scenes of a RUN that trained none of its networks, with mosaics of them and clutter, are searched anew; ranking and
calibration are fitted on some of the figures alone; annotated folders that the RUN never saw say what comes of it. Also
how many of their objects lie among the proposals. Run it again when something of that changes, a better density first.

    python benchmarks/ranking.py RUN SCENES --on FOLDER ... [--steps 0,0 1,0 1,2 2,2 4,2]

SCENES are those that the RUN was trained on. Of every row: top1 and recall at P >= 0.1 by IoU 0.5, false positives a
photograph, expected calibration error, median error of the angle in degrees.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from foveate.attention.attend import Candidates, rank, search
from foveate.attention.evidence import MEASURED, Evidence
from foveate.attention.models import Models
from foveate.attention.proposals import glance, propose
from foveate.attention.settings import AttendSettings, SearchSettings
from foveate.cli.options import Common
from foveate.cli.recipe import gather, settings_of
from foveate.evaluation.detections import Detections
from foveate.evaluation.localization import measure
from foveate.runtime.progress import Bars
from foveate.runtime.workers import map_images
from foveate.scenes import gaze
from foveate.scenes.folder import read_scenes
from foveate.training.data import load_data
from foveate.training.evidence import held_out_searches
from foveate.training.gallery import Gallery, load_gallery
from foveate.training.ranking import Searched, calibrate
from foveate.training.settings import PRESETS, TrainSettings

BEST = (5, 10, 20, 40)  # proposals
SUBSETS = (("proposal",), ("again",), ("log_ratio",), ("proposal", "outside"), ("proposal", "again", "outside"))
SUBSETS += (("proposal", "log_ratio", "outside"), ("again", "log_ratio", "outside"), MEASURED)


class Folder(NamedTuple):
    """An annotated folder, and what a search of each of its photographs found."""

    name: str
    gallery: Gallery
    found: list[Candidates]


def only(measured: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The figures of these names; the others are constant, and count for nothing."""
    kept = np.array([name in names for name in MEASURED])
    return np.where(kept, measured, 0.0)


def searched(models: Models, gallery: Gallery, attend: AttendSettings, bars: Bars, name: str) -> Folder:
    """Every photograph of a folder, without ranking."""
    count, found = len(gallery.names), []
    with bars.phase(name, count) as tick:
        for each in map_images(lambda k: search(models, gallery.pyramids.only(k), attend), range(count)):
            found.append(each)
            tick(len(found))
    return Folder(name, gallery, found)


def row(models: Models, folder: Folder, evidence: Evidence, names: Sequence[str], attend: AttendSettings) -> str:
    """The figures of one folder with one ranking."""
    models, detections = replace(models, evidence=evidence), []
    for k, found in enumerate(folder.found):
        measured = only(found.measured, names)
        seen = rank(models, found._replace(measured=measured), replace(attend, min_probability=0.0))
        truths, ignore = folder.gallery.of(k).numpy(), folder.gallery.ignore[k].numpy()
        detections.append(Detections.of(folder.gallery.names[k], seen.founds, truths, ignore))
    figures = measure(detections, attend.min_probability)
    parts = figures["top1"]["0.5"], figures["recall"]["0.5"], figures["false_positives_per_photo"]
    parts += (figures["calibration"]["ece"],)
    middle = figures["angle_error_degrees"]["median"]
    return " | ".join("-" if part is None else f"{part:.3f}" for part in (*parts, middle))


def proposals(models: Models, folder: Folder) -> str:
    """The share of objects that one of the best proposals overlaps by IoU 0.5, for each number of them."""
    held, total = dict.fromkeys(BEST, 0), 0
    for k in range(len(folder.gallery.names)):
        truths = folder.gallery.of(k)
        best = propose(glance(models.folded, folder.gallery.pyramids, k), SearchSettings(most=max(BEST), floor=1e-9))
        overlap = gaze.iou(gaze.to_boxes(best.gazes), gaze.to_boxes(truths))
        total += len(truths)
        for count in BEST:
            held[count] += int((overlap[:count] >= 0.5).any(0).sum()) if len(overlap) else 0
    ends = sum(
        int((gaze.iou(gaze.to_boxes(f.trails[-1]), gaze.to_boxes(folder.gallery.of(k))) >= 0.5).any(0).sum())
        for k, f in enumerate(folder.found)
        if f.trails.shape[1]
    )
    return ", ".join(f"best {n}: {held[n] / total:.3f}" for n in BEST) + f"; some end: {ends / total:.3f} (n {total})"


def fitted(unranked: Evidence, searches: Sequence[Searched], names: Sequence[str]) -> Evidence:
    """Ranking and calibration by some of the figures."""
    ranking, calibration, _ = calibrate([each._replace(measured=only(each.measured, names)) for each in searches])
    return replace(unranked, ranking=ranking, calibration=calibration)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("run", type=Path)
    asked.add_argument("scenes")
    asked.add_argument("--on", nargs="+", required=True, help="annotated folders")
    asked.add_argument("--steps", nargs="*", default=[], help="of the ShiftNet and the closer network, as 1,2")
    options = asked.parse_args()
    bars = Bars()
    recipe = gather(str(options.run / "config.toml"), None, None, None, None, Common())
    settings: TrainSettings = settings_of(recipe, PRESETS)
    models, attend = Models.load(options.run), settings.attend
    unranked = replace(models.trained_evidence, ranking=None, calibration=None)
    models = replace(models, evidence=unranked)
    scenes = read_scenes(options.scenes, category=recipe.category)
    data = load_data(scenes, settings, bars)
    galleries = {
        Path(name).name: load_gallery(read_scenes(name, category=recipe.category).scenes, bars, attend.largest)
        for name in options.on
    }
    steps = [attend.search, *(replace(attend.search, coarse=int(c), fine=int(f)) for c, f in map(_pair, options.steps))]
    for search_settings in steps:
        now = replace(attend, search=search_settings)
        with data.gallery.pyramids.store.scratch():
            both = held_out_searches(models, data, replace(settings, attend=now), bars)
        folders = [searched(models, gallery, now, bars, name) for name, gallery in galleries.items()]
        print(f"\nsteps {search_settings.coarse} + {search_settings.fine}, at most {search_settings.most} proposals")
        for folder in folders:
            print(f"{folder.name}: {proposals(models, folder)}")
        print("| measured | " + " | ".join(f"{f.name}: top1 | recall | false | ece | angle" for f in folders) + " |")
        for names in SUBSETS if search_settings is attend.search else (MEASURED,):
            evidence = fitted(unranked, [*both[0], *both[1]], names)
            print(f"| {', '.join(names)} | " + " | ".join(row(models, f, evidence, names, now) for f in folders) + " |")


def _pair(word: str) -> tuple[str, str]:
    coarse, fine = word.split(",")
    return coarse, fine


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
