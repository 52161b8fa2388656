"""How time and memory grow: slopes on this machine, and what they make of a million images. About three minutes.

Times are processor time on one core, and the least of a few runs, so that what else the machine does weighs little.
Writes the plots into docs/images/scaling.svg, and the tables into docs/scaling.md between its marks.

    python benchmarks/scaling.py [--run RUN] [--quick] [--write]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from collect import BUSY, machine
from untrained import write_untrained

from foveate.attention.attend import Attention
from foveate.attention.images.image_files import Attended
from foveate.attention.settings import AttendSettings
from foveate.boltzmann.baselines import log_densities
from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.log_z.ais import anneal
from foveate.boltzmann.log_z.schedules import linear
from foveate.boltzmann.training.contrastive import init, persistent
from foveate.boltzmann.training.greedy import train_gdbn
from foveate.boltzmann.training.settings import GDBNSettings, Rule
from foveate.demo.digits import write_digit_scenes
from foveate.evaluation.bound import evaluate_bound
from foveate.runtime.progress import Quiet
from foveate.runtime.workers import one_thread_each
from foveate.scenes.folder import read_scenes
from foveate.storage.files import to_json
from foveate.training.gallery import load_gallery
from foveate.training.patches import aligned_patches, jittered_patches
from foveate.training.settings import PatchSettings

DOCS = Path(__file__).resolve().parent.parent / "docs"
SIDE = 512
"""Longest side of the photographs by which corpora are priced."""


@dataclass(frozen=True)
class Curve:
    """What was measured against what."""

    what: str  # the work
    against: str  # what was varied
    unit: str  # of the values
    x: list[float]
    y: list[float]
    expected: float = 1.0  # exponent that arithmetic leads to expect at the large end

    @property
    def exponent(self) -> float:
        """k of y ~ x^k over the upper half of what was measured."""
        half = len(self.x) // 2
        return float(np.polyfit(np.log(self.x[half:]), np.log(self.y[half:]), 1)[0])


def least(work: Callable[[], object], rounds: int = 2) -> float:
    """Seconds of processor time, the least of a few rounds."""
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def scene(height: int, width: int) -> np.ndarray:
    """A picture with something everywhere: smooth waves and noise."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 17 + y / 29), np.cos(x / 31 - y / 13), np.sin(x / 23) * np.cos(y / 19)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 0.05, waves.shape)
    return np.rint(255 * np.clip(0.5 + 0.3 * waves + noise, 0, 1)).astype(np.uint8)


def attending(attention: Attention, quick: bool) -> tuple[list[Curve], float]:
    """Time against image size, number of images, and objects; and the bytes of a line."""
    settings = replace(AttendSettings(), min_probability=0.0, max_gazes=1)

    def seconds(side: int, images: int = 1, objects: int = 1) -> float:
        image, how = scene(3 * side // 4, side), replace(settings, max_gazes=objects, sample_above=0.0)
        return least(lambda: [attention.attend_one(image, str(k), how) for k in range(images)], 1 if quick else 2)

    seconds(96)  # compiles
    sides = [128, 256, 512] if quick else [128, 256, 512, 1024]
    counts = [1, 2, 4] if quick else [1, 2, 4, 8, 16]
    objects = [1, 2, 4] if quick else [1, 2, 4, 8]
    curves = [
        Curve("attend", "longest side, pixels", "s an image", sides, [seconds(side) for side in sides], 2.0),
        Curve("attend, 128 pixels", "images", "s", counts, [seconds(128, count) for count in counts]),
        Curve("attend, 256 pixels", "objects", "s an image", objects, [seconds(256, 1, k) for k in objects], 0.5),
    ]
    image = scene(192, 256)
    founds = attention.attend_one(image, "line", settings)
    return curves, len(to_json(Attended("photographs/0000001.jpg", image, founds, width=256, height=192).line()))


def machines(quick: bool) -> list[Curve]:
    """Time of learning and of annealing against hidden units and chains."""

    def rbm(units: int) -> BernoulliRBM:
        made = BernoulliRBM(units, units)
        made.W.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(0))
        return made

    def step(units: int) -> float:
        v = (torch.rand(128, units, generator=torch.Generator().manual_seed(0)) < 0.5).float()
        state = init(rbm(units), v, 128, 0)
        return least(lambda: [persistent(state, v, Rule()) for _ in range(5)], 3) / 5

    def annealing(units: int, chains: int, steps: int = 20) -> float:
        path, betas = rbm(units).path(torch.full((1, units), 0.5)), linear(steps)
        return least(lambda: anneal(path, betas, range(chains), 0, "s"), 3) / steps

    units = [125, 250, 500] if quick else [250, 500, 1000, 2000]
    chains = [50, 100, 200] if quick else [50, 100, 200, 400, 800]
    step(100), annealing(100, 50)  # compile
    return [
        Curve("a step of PCD, batch 128", "H1 = H2", "s", units, [step(n) for n in units], 2.0),
        Curve("a step of annealing, 100 chains", "H1 = H2", "s", units, [annealing(n, 100) for n in units], 2.0),
        Curve("a step of annealing, 500 units", "chains", "s", chains, [annealing(500, n) for n in chains]),
    ]


def nats(folder: Path, quick: bool) -> Curve:
    """Nats a patch above a diagonal Gaussian against the core-seconds that the patch model took to learn."""
    write_digit_scenes(folder, (0, 1, 2, 3, 4), 60 if quick else 200, 0)
    gallery = load_gallery(read_scenes(folder).scenes, Quiet(), 320)
    image = gallery.objects.image
    train, test = gallery.subset(range(len(gallery.names) // 2)), gallery.subset(range(len(gallery.names) // 2, 10_000))
    assert len(train.image) + len(test.image) == len(image)
    patches = aligned_patches(gallery.pyramids, train)
    std, mean = torch.std_mean(patches, dim=(0, 2, 3))
    jitter = PatchSettings(copies=8, mirror=False)

    def epoch(number: int) -> torch.Tensor:
        drawn = jittered_patches(gallery.pyramids, train, jitter, 0, number)
        return ((drawn - mean.view(3, 1, 1)) / std.view(3, 1, 1)).flatten(1)

    first = GDBNSettings(n_hidden1=60, n_hidden2=60, start_epochs=1, epochs2=1)
    validation = epoch(1000)[:50]
    train_gdbn(epoch, validation, first, mean=mean, std=std)  # what compiles does so here, outside the clock
    spent, gained = [], []
    for hidden in [60, 120] if quick else [60, 120, 240, 480]:
        settings = GDBNSettings(n_hidden1=hidden, n_hidden2=hidden, start_epochs=2, epochs2=5)
        begun = time.process_time()
        gdbn = train_gdbn(epoch, validation, settings, mean=mean, std=std)
        spent.append(time.process_time() - begun)
        v = gdbn.standardise(aligned_patches(gallery.pyramids, test))
        found = evaluate_bound(gdbn, v, chains=20, temperatures=300, samples=10, importance_samples=50)
        gained.append(found["iw_bound"] - float(log_densities([epoch(0)[::2], epoch(0)[1::2]], v)["diagonal"].mean()))
    return Curve("patch model of digits", "core-seconds of learning", "nats above a diagonal", spent, gained, 0.0)


def memory(quick: bool) -> Curve:
    """Resident memory of attending one image against its size."""
    program = "import sys; from scaling import resident; resident(int(sys.argv[1]))"
    sides = [500, 1000, 2000] if quick else [500, 1000, 2000, 4000]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    found = [
        float(subprocess.run([sys.executable, "-c", program, str(side)], env=path, capture_output=True, text=True,
                             check=True).stdout)
        for side in sides
    ]  # fmt: skip
    return Curve("an image and its pyramid", "megapixels", "MB", [side * side / 1e6 for side in sides], found)


def resident(side: int) -> None:
    """Print the megabytes that an image and its pyramid take."""
    from peak import peak_memory

    from foveate.scenes.pyramid import Pyramids

    before = peak_memory()
    Pyramids.from_images([np.ones((side, side, 3), np.uint8)])
    print((peak_memory() - before) / 1e6)


def draw(curves: list[Curve], path: Path) -> None:
    """All curves, a panel each; both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "foveate", "font.size": 8, "svg.fonttype": "none"})
    figure, panels = plt.subplots(2, 4, figsize=(11, 5), layout="constrained")
    for panel, curve in zip(panels.flat, curves, strict=True):
        panel.plot(curve.x, curve.y, "o-", color="#1f5fbf")
        if curve.expected:
            through = [curve.y[-1] * (x / curve.x[-1]) ** curve.expected for x in curve.x]
            panel.plot(curve.x, through, ":", color="#999", label=f"x^{curve.expected:g}")
            panel.legend(frameon=False)
            panel.set(xscale="log", yscale="log")
            panel.set_xticks(curve.x, [f"{x:g}" for x in curve.x])  # the marks between would write over one another
            panel.minorticks_off()
        panel.set(title=curve.what, xlabel=curve.against, ylabel=curve.unit)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def tables(curves: list[Curve], line: float, quick: bool, load: float) -> list[str]:
    """The slopes, and what they make of large corpora, as Markdown."""
    beside = "; **measured beside other work**" if load > BUSY else ""
    lines = [f"Measured on: {machine()}{'; smallest sizes' if quick else ''}{beside}.", ""]
    lines += ["| work | against | from … to | value at the end | grows as |", "| --- | --- | --- | --- | --- |"]
    for curve in curves:
        grows = f"x^{curve.exponent:.2f}" if curve.expected else "see the plot"
        ends = f"{curve.x[0]:.3g} … {curve.x[-1]:.3g}"
        lines.append(f"| {curve.what} | {curve.against} | {ends} | {curve.y[-1]:.3g} {curve.unit} | {grows} |")
    sizes, learned = curves[0], next(curve for curve in curves if "nats" in curve.unit)
    each = float(np.exp(np.interp(np.log(SIDE), np.log(sizes.x), np.log(sizes.y))))
    best = int(np.argmax(learned.y))
    lines += ["", f"A photograph of {SIDE} pixels takes {each:.2f} core-seconds: {3600 / each:,.0f} photographs a "
              f"core-hour. A patch model of digits is at best {learned.y[best]:.0f} nats above a diagonal Gaussian, "
              f"after {learned.x[best]:.1f} core-seconds.",
              "", "| photographs | core-hours | on 2 cores | on 1,000 cores | lines of results |",
              "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for name, count in (("1,000", 1e3), ("100,000", 1e5), ("1 million", 1e6), ("100 million", 1e8)):
        hours = count * each / 3600
        gigabytes = count * line / 1e9
        lines.append(f"| {name} | {hours:,.1f} | {_span(hours / 2)} | {_span(hours / 1000)} | {gigabytes:,.3g} GB |")
    return lines


def _span(hours: float) -> str:
    for size, name in ((24 * 365, "years"), (24, "days"), (1, "hours"), (1 / 60, "minutes")):
        if hours >= size:
            return f"{hours / size:.1f} {name}"
    return f"{hours * 3600:.0f} seconds"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--run", type=Path, help="a RUN to attend with; one that has learned nothing by default")
    asked.add_argument("--quick", action="store_true", help="smallest sizes")
    asked.add_argument("--write", action="store_true", help="write docs/scaling.md, its plots and docs/scaling.json")
    options = asked.parse_args()
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name, one_thread_each():
        attention = Attention.load(options.run or write_untrained(Path(name) / "run"))
        looked, line = attending(attention, options.quick)
        curves = [*looked, *machines(options.quick), memory(options.quick), nats(Path(name) / "s", options.quick)]
    text = "\n".join(tables(curves, line, options.quick, load)) + "\n"
    print(text)
    if options.write:
        page = DOCS / "scaling.md"
        head, begin, rest = page.read_text(encoding="utf-8").partition("<!-- measured -->\n")
        _, end, tail = rest.partition("<!-- end -->\n")
        page.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")
        draw(curves, DOCS / "images" / "scaling.svg")
        kept = [{**curve.__dict__, "exponent": curve.exponent} for curve in curves]
        (DOCS / "scaling.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
