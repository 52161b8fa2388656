"""Fast PCD beside PCD and CD for the top RBM at equal time: `second_layer.py RUN TRAIN TEST --plot FILE`.

The first layer is RUN's, and stays. The second begins where it makes the model the first layer's own, and is trained on
h1 of TRAIN's jittered patches by each method for the same seconds of one core, at the same rates. What is shown is the
bound on TEST's aligned patches, in nats, against seconds: (mean over patches and draws of h1) log p(v | h1) + log p(h1)
- log q(h1 | v), with log Z from annealing, which is not counted as time. Shades go from the least to the greatest of
the seeds.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.log_z.bound import bound_terms
from foveate.boltzmann.log_z.bracket import forward_log_z
from foveate.boltzmann.training.contrastive import METHODS, init
from foveate.boltzmann.training.fit import put
from foveate.boltzmann.training.settings import GDBNSettings
from foveate.boltzmann.training.thermometers import start_from_prior
from foveate.runtime.progress import Quiet
from foveate.runtime.random import generator, key
from foveate.scenes.folder import read_scenes
from foveate.training.gallery import Gallery, load_gallery
from foveate.training.patches import aligned_patches, jittered_patches
from foveate.training.settings import PatchSettings

NAMES = {"cd": "CD-1", "pcd": "PCD", "fast_pcd": "fast PCD"}
EPOCHS = 6  # epochs' jittered patches, drawn beforehand


def main() -> None:
    """Runs what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--checks", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--temperatures", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=GDBNSettings.rate2, help="of all weights, the fast ones too")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    gdbn = GaussianDBN.load(given.run / "gdbn.safetensors")
    train, test = (load_gallery(read_scenes(folder).scenes, Quiet(), 640) for folder in (given.train, given.test))
    v = gdbn.standardise(aligned_patches(test.pyramids, test.objects))
    found: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in NAMES}
    for seed in range(given.seeds):
        first, rows = _prepared(gdbn, train, seed)
        for method in NAMES:
            found[method].append(_curve(gdbn, first, rows, v, method, seed, given))
            line = ", ".join(f"{seconds:.0f} s: {nats:.1f}" for seconds, nats in found[method][-1])
            print(f"{NAMES[method]}, seed {seed}: {line}", flush=True)
            if given.json:
                given.json.write_text(json.dumps(found))
    if given.plot:
        _draw(found, given.plot)


def _prepared(gdbn: GaussianDBN, gallery: Gallery, seed: int) -> tuple[BernoulliRBM, list[torch.Tensor]]:
    """The RBM that all methods begin with, and draws of h1 of some epochs."""
    epochs = [
        gdbn.standardise(jittered_patches(gallery.pyramids, gallery.objects, PatchSettings(), seed, k))
        for k in range(EPOCHS)
    ]
    means = torch.cat([gdbn.grbm.hidden_mean(rows) for rows in epochs])
    first = start_from_prior(gdbn.grbm, means, gdbn.rbm.n_hidden, key(seed, "second layer"))
    return first, [gdbn.grbm.sample_hidden(rows, generator(seed, "h1", k)) for k, rows in enumerate(epochs)]


def _curve(
    gdbn: GaussianDBN,
    first: BernoulliRBM,
    epochs: list[torch.Tensor],
    v: torch.Tensor,
    method: str,
    seed: int,
    given: argparse.Namespace,
) -> list[tuple[float, float]]:
    """(seconds spent, bound) at every check."""
    plan = GDBNSettings().second
    rule = replace(plan.rule, rate=given.rate, fast_rate=given.rate)
    state = init(first, epochs[0], plan.chains, key(seed, method))
    spent, checks, epoch = 0.0, [(0.0, _bound(gdbn, first, v, seed, given.temperatures))], 0
    for check in range(1, given.checks + 1):
        while spent < given.seconds * check / given.checks:
            rows = epochs[epoch % len(epochs)]
            order = torch.randperm(len(rows), generator=generator(seed, "order", epoch))
            begun = time.process_time()
            for batch in rows[order].split(plan.batch_size):
                state, info = METHODS[method](state, batch, rule)
                assert not info.failed, info.failed
            spent, epoch = spent + time.process_time() - begun, epoch + 1
        put(trained := BernoulliRBM(first.n_visible, first.n_hidden), state.average)
        checks.append((spent, _bound(gdbn, trained, v, seed, given.temperatures)))
    return checks


def _bound(gdbn: GaussianDBN, rbm: BernoulliRBM, v: torch.Tensor, seed: int, temperatures: int) -> float:
    model = GaussianDBN(gdbn.grbm.n_visible, rbm.n_visible, rbm.n_hidden)
    model.grbm.load_state_dict(gdbn.grbm.state_dict())
    model.rbm.load_state_dict(rbm.state_dict())
    terms = bound_terms(model, v, range(len(v)), 20, 20, seed)
    found = forward_log_z(rbm, gdbn.grbm.hidden_mean(v), temperatures=temperatures, seed=seed)
    return float(terms.variational.mean()) - found.log_z


def _draw(found: dict[str, list[list[tuple[float, float]]]], path: Path) -> None:
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for method, colour in zip(NAMES, ("#c0563b", "#8a8f98", "#1f4fbf"), strict=True):
        curves = torch.tensor(found[method])
        seconds, nats = curves[..., 0].mean(0), curves[..., 1]
        axes.fill_between(seconds, nats.amin(0), nats.amax(0), color=colour, alpha=0.2, linewidth=0)
        axes.plot(seconds, nats.mean(0), color=colour, label=NAMES[method])
    axes.set_xlabel("seconds of one core")
    axes.set_ylabel("bound, nats a patch")
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
