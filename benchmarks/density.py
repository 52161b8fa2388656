"""How good a density model the patch model is, beside strong Gaussians on the same patches: `density.py TRAIN TEST`.

TRAIN and TEST are annotated SCENES. On the aligned patches of TEST, in nats a patch (importance-weighted bound, with
log Z from annealing):

- the simple densities of `evaluate bound --baselines`, fitted on TRAIN's patches with jitter;
- the plain patch model, from a start by combs;
- the standard one, whose first layer has precision units over whitened pixels.

Everything but the test patches comes from TRAIN. Figures go to stdout as they are found, and to --out as JSON.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.training.settings import PLAIN, STANDARD
from foveate.evaluation.bound import evaluate_bound
from foveate.runtime.progress import Bars
from foveate.scenes.folder import read_scenes
from foveate.storage.run import Run
from foveate.training.data import TrainingData, load_data
from foveate.training.gallery import load_gallery
from foveate.training.patches import aligned_patches, jittered_patches
from foveate.training.settings import PatchSettings, TrainSettings
from foveate.training.train import patch_model


def main() -> None:
    """Runs what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jitters", type=int, default=8, help="jittered copies of each patch, for the baselines")
    parser.add_argument("--chains", type=int, default=100)
    parser.add_argument("--temperatures", type=int, default=10000)
    parser.add_argument("--no-plain", action="store_true")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    progress, settings = Bars(), TrainSettings()
    data = load_data(read_scenes(given.train), settings, progress)
    test = load_gallery(read_scenes(given.test).scenes, progress, settings.largest)
    seen = aligned_patches(test.pyramids, test.objects)
    table: dict[str, object] = {"patches": len(seen)}
    for seed in range(given.seeds):
        for name, gdbn in (("bands", STANDARD), ("plain", PLAIN)):
            if name == "plain" and given.no_plain:
                continue
            started = time.perf_counter()
            model = _trained(data, replace(settings, seed=seed, gdbn=gdbn), progress)
            took, v = time.perf_counter() - started, model.standardise(seen)
            fitted = _jittered(data, model, given.jitters) if not given.no_baselines and not seed else None
            figures = evaluate_bound(
                model, v, chains=given.chains, temperatures=given.temperatures, seed=seed, baselines=fitted,
                progress=progress,
            )  # fmt: skip
            left, about = (v - model.reconstruct(v)).square().sum(), (v - v.mean(0)).square().sum()
            figures |= {"trained_seconds": took, "explained": 1 - float(left / about)}
            table[f"{name}, seed {seed}"] = figures
            print(name, seed, json.dumps(figures), flush=True)
            if given.out:
                given.out.write_text(json.dumps(table, indent=1))


def _trained(data: TrainingData, settings: TrainSettings, progress: Bars) -> GaussianDBN:
    with tempfile.TemporaryDirectory() as folder, Run.claim(Path(folder) / "run") as run:
        run.write_config({})
        return patch_model(data, run, settings, progress)


def _jittered(data: TrainingData, model: GaussianDBN, copies: int) -> torch.Tensor:
    how = PatchSettings(copies=copies)
    return model.standardise(jittered_patches(data.gallery.pyramids, data.objects, how, 0, 0))


if __name__ == "__main__":
    main()
