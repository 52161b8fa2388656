"""How good a density model the patch model is, beside Gaussians on the same patches: `density.py TRAIN TEST`.

TRAIN and TEST are annotated SCENES. On the aligned patches of TEST, in nats a patch (importance-weighted bound, with
log Z from annealing):

- diagonal Gaussian, factor analysis, probabilistic PCA, full covariance (Ledoit-Wolf), fitted on TRAIN's patches as
  they are, and with jitter;
- the standard patch model, from a start by combs;
- the same architecture in a whitened space, where it starts from the marginals of the coordinates, and after its second
  layer has learned.

Everything but the test patches comes from TRAIN. Figures go to stdout as they are found, and to --out as JSON.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from foveate.boltzmann.baselines import mean_nats
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.training.greedy import train_gdbn
from foveate.boltzmann.training.settings import GDBNSettings
from foveate.boltzmann.training.whitening import fit_whitening, held_out, start_from_marginals
from foveate.evaluation.bound import evaluate_bound
from foveate.runtime.progress import Bars
from foveate.scenes.folder import read_scenes
from foveate.training.gallery import Gallery, hold_out, load_gallery
from foveate.training.patches import aligned_patches, jittered_patches
from foveate.training.settings import PatchSettings

ASIDE = 0.1  # share of the scenes by which the second layer's epoch is chosen


def main() -> None:
    """Runs what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jitters", type=int, default=8, help="jittered copies of each patch")
    parser.add_argument("--hidden", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=60, help="of the second layer")
    parser.add_argument("--chains", type=int, default=50)
    parser.add_argument("--temperatures", type=int, default=5000)
    parser.add_argument("--whitened-only", action="store_true")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    progress = Bars()
    train, test = (load_gallery(read_scenes(folder).scenes, progress, 640) for folder in (given.train, given.test))
    patches = aligned_patches(train.pyramids, train.objects)
    std, mean = torch.std_mean(patches, dim=(0, 2, 3))
    scale = GaussianDBN(1728, 1, 1)
    scale.patch.mean.copy_(mean)
    scale.patch.std.copy_(std)
    v = scale.standardise(aligned_patches(test.pyramids, test.objects))
    table: dict[str, object] = {"patches": len(v)}

    def tell(name: str, value: object) -> None:
        table[name] = value
        print(name, json.dumps(value), flush=True)
        if given.out:
            given.out.write_text(json.dumps(table, indent=1))

    jittered = _jittered(train, scale, given.jitters, 0)
    if not given.no_baselines:
        both = torch.cat((patches, patches.flip(-1)))
        tell("baselines", mean_nats(scale.standardise(both), v))
        tell("baselines, jittered", mean_nats(jittered, v))
    for seed in range(given.seeds):
        if not given.whitened_only:
            tell(f"plain, seed {seed}", _plain(train, scale, v, seed, given, progress))
        tell(f"whitened, seed {seed}", _whitened(train, scale, v, seed, given, progress))


def _jittered(gallery: Gallery, scale: GaussianDBN, copies: int, seed: int) -> torch.Tensor:
    settings = PatchSettings(copies=1)
    drawn = [jittered_patches(gallery.pyramids, gallery.objects, settings, seed, k) for k in range(copies)]
    return scale.standardise(torch.cat(drawn))


def _bound(model: GaussianDBN, x: torch.Tensor, log_det: float, given: argparse.Namespace, progress: Bars) -> dict:
    figures = evaluate_bound(
        model, x, chains=given.chains, temperatures=given.temperatures, importance_samples=200, grbm=True,
        progress=progress,
    )  # fmt: skip
    found = {name: round(figures[name] + log_det, 1) for name in ("bound", "iw_bound", "grbm_log_density")}
    bracket = [figures["log_z_lower"], figures["log_z_upper"]]
    return {**found, "bracket_width": round(bracket[1] - bracket[0], 3), "ess": round(figures["ess"], 1)}


def _plain(
    gallery: Gallery, scale: GaussianDBN, v: torch.Tensor, seed: int, given: argparse.Namespace, progress: Bars
) -> dict:
    settings = PatchSettings()
    objects, set_aside = (gallery.subset(images) for images in hold_out(gallery.names, ASIDE, seed))
    model = train_gdbn(
        lambda epoch: scale.standardise(jittered_patches(gallery.pyramids, objects, settings, seed, epoch)),
        scale.standardise(aligned_patches(gallery.pyramids, set_aside)),
        GDBNSettings(n_hidden1=given.hidden, n_hidden2=given.hidden, epochs2=given.epochs),
        seed,
        progress,
    )
    return _bound(model, v, 0.0, given, progress)


def _whitened(
    gallery: Gallery, scale: GaussianDBN, v: torch.Tensor, seed: int, given: argparse.Namespace, progress: Bars
) -> dict:
    started = time.perf_counter()
    settings = PatchSettings(copies=1)
    drawn = [jittered_patches(gallery.pyramids, gallery.objects, settings, seed, k) for k in range(given.jitters)]
    fit = scale.standardise(torch.cat(drawn))
    # The order of a draw is random: which object each patch shows is drawn again with it.
    group = torch.cat([_group(gallery, seed, k) for k in range(given.jitters)])
    whitening = fit_whitening(fit)
    coordinates = held_out(fit, group)
    x = whitening(v)
    gaussian = -0.5 * x.double().square().sum(1).mean() - 0.5 * x.shape[1] * torch.log(torch.tensor(2 * torch.pi))
    start = start_from_marginals(coordinates, given.hidden, seed)
    # Of the second layer's epochs the best is kept, by coordinates of objects that it does not see.
    seen = torch.isin(gallery.objects.image, torch.tensor(hold_out(gallery.names, ASIDE, seed)[0]))[group]
    fit, aside = coordinates[seen], coordinates[~seen][: len(gallery.objects.image)]
    model = train_gdbn(
        lambda epoch: fit[torch.randperm(len(fit))[: 2 * len(gallery.objects.image)]],
        aside,
        GDBNSettings(n_hidden1=given.hidden, n_hidden2=given.hidden, epochs2=given.epochs),
        seed,
        progress,
        start=start,
    )
    found = _bound(model, x, whitening.log_det, given, progress)
    used = int((start.W.abs() > 0.5).any(0).sum())
    return {"gaussian": round(float(gaussian) + whitening.log_det, 1), **found, "units": used,
            "seconds": round(time.perf_counter() - started)}  # fmt: skip


def _group(gallery: Gallery, seed: int, epoch: int) -> torch.Tensor:
    from foveate.runtime.random import generator

    count = len(gallery.objects.image)
    return torch.randperm(count, generator=generator(seed, "patches", epoch)) % count


if __name__ == "__main__":
    main()
