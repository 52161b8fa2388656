"""Training without luck: the patch model of the demo's digits from many seeds, at the quick preset's settings.

Claims: every seed ends with finite weights and a finite bound, and the standard deviation of the bounds over seeds is
at most 40 nats a digit (of 1,728 dimensions). The scenes are the same for all seeds; jitter, start, batches, chains and
annealing are not. The bound is importance-weighted, on aligned digits of scenes that trained nothing.

    python benchmarks/seeds.py [--seeds 20] [--json FILE]
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.training.greedy import train_gdbn
from foveate.demo.digits import KNOWN, write_digit_scenes
from foveate.evaluation.bound import evaluate_bound
from foveate.runtime.progress import Quiet
from foveate.scenes.folder import read_scenes
from foveate.training.gallery import hold_out, load_gallery
from foveate.training.patches import aligned_patches, jittered_patches
from foveate.training.settings import PRESETS, PatchSettings

SPREAD = 40.0  # nats


def main() -> None:
    """Runs what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--scenes", type=int, default=120, help="to train on; half as many to test on")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        train, test = (
            _digits(Path(folder), split, n) for split, n in (("train", given.scenes), ("test", given.scenes // 2))
        )
    patches = aligned_patches(train.pyramids, train.objects)
    scale = GaussianDBN(1728, 1, 1)
    std, mean = torch.std_mean(patches, dim=(0, 2, 3))
    scale.patch.mean.copy_(mean)
    scale.patch.std.copy_(std)
    # A tenth of the scenes choose the second layer's epoch.
    objects, held_out = (train.subset(images) for images in hold_out(train.names, 0.1, 0))
    chooses = scale.standardise(aligned_patches(train.pyramids, held_out))
    v, settings, found = (
        scale.standardise(aligned_patches(test.pyramids, test.objects)),
        PatchSettings(mirror=False),
        [],
    )
    for seed in range(given.seeds):

        def epoch_patches(epoch: int, seed: int = seed) -> torch.Tensor:
            return scale.standardise(jittered_patches(train.pyramids, objects, settings, seed, epoch))

        model = train_gdbn(epoch_patches, chooses, PRESETS["quick"].gdbn, seed, Quiet())
        whole = all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
        figures = evaluate_bound(
            model, v, chains=50, temperatures=2000, importance_samples=100, seed=seed, progress=Quiet()
        )
        found.append({"seed": seed, "finite": whole, "iw_bound": figures["iw_bound"]})
        print(f"seed {seed}: weights {'finite' if whole else 'NOT finite'}, {figures['iw_bound']:.1f} nats", flush=True)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1))
    bounds = [each["iw_bound"] for each in found]
    fine = sum(each["finite"] and abs(each["iw_bound"]) < float("inf") for each in found)
    spread = statistics.stdev(bounds) if len(bounds) > 1 else 0.0
    print(
        f"{fine} of {len(found)} finite; mean {statistics.mean(bounds):.1f}, standard deviation {spread:.1f} "
        f"(claim: {SPREAD:g}), from {min(bounds):.1f} to {max(bounds):.1f}; {len(v)} digits"
    )


def _digits(folder: Path, split: str, count: int):
    write_digit_scenes(folder / split, KNOWN, count, 0, split)
    return load_gallery(read_scenes(folder / split).scenes, Quiet(), PRESETS["quick"].largest)


if __name__ == "__main__":
    main()
