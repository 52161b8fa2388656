"""What a GPU is good for: the hot loops there and on the CPU of the same machine, from small to large.

Annealing runs as captured CUDA graphs, the rest as torch's ordinary calls. Wall-clock times (a GPU has no
processor time), each a median over rounds, after a first round that compiles. The floor of annealing is its two float32
products on the GPU. Without a GPU it says so and ends with status 2.

    python benchmarks/gpu.py [--rounds 5] [--only ais pcd shiftnet attend]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from figures import Figures, parser
from untrained import write_untrained

from foveate.attention.attend import Attention
from foveate.attention.shiftnet import ShiftNet
from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.log_z.ais import anneal
from foveate.boltzmann.log_z.schedules import linear
from foveate.boltzmann.training import contrastive
from foveate.cli.options import Common
from foveate.cli.recipe import attend_settings
from foveate.demo.digits import write_digit_scenes
from foveate.runtime.precision import full_precision
from foveate.runtime.workers import default_workers, map_images
from foveate.scenes.folder import read_image
from foveate.scenes.listing import scan
from foveate.training.networks import Recipe, init, train_step
from foveate.training.settings import ShiftNetSettings
from foveate.training.shiftnet import pair_loss

STEPS, FEW = 400, 20  # of annealing, a round; on the CPU


def median_seconds(run: Callable[[], object], rounds: int) -> float:
    """Wall-clock seconds of a call, the device's work included."""
    times = []
    for number in range(rounds + 1):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        run()
        torch.cuda.synchronize()
        if number:
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


def machine(units: int) -> BernoulliRBM:
    generator = torch.Generator().manual_seed(0)
    rbm = BernoulliRBM(units, units)
    for value, size in ((rbm.W, 1.0 / units**0.5), (rbm.b, 0.5), (rbm.c, 0.5)):
        value.data.copy_(size * torch.randn(value.shape, generator=generator))
    return rbm


def ais(figures: Figures, rounds: int) -> None:
    for units, chains in ((500, 100), (500, 5000), (2000, 100), (2000, 5000)):
        path = machine(units).path(torch.full((1, units), 0.5))
        there = path.to("cuda")
        couplings = there.machine.W
        v = (torch.rand(chains, units, device="cuda") < 0.5).float()
        back, transposed = torch.empty_like(v), couplings.T.contiguous()
        product = torch.empty(chains, units, device="cuda")

        def floor(v=v, couplings=couplings, back=back, product=product, transposed=transposed) -> None:
            with full_precision():
                for _ in range(STEPS):
                    torch.mm(v, couplings, out=product)
                    torch.mm(product, transposed, out=back)

        def run(path=path, chains=chains, steps=STEPS) -> torch.Tensor:
            return anneal(path, linear(steps), range(chains), 0, "benchmark").log_weight

        values = {
            "two products (floor)": median_seconds(floor, rounds),
            "GPU, captured": median_seconds(lambda there=there: run(there), rounds),
            "CPU, one thread": median_seconds(lambda run=run: run(steps=FEW), 1) * STEPS / FEW,
        }
        apart = (run(there, steps=FEW).mean() - run(steps=FEW).mean()).abs()
        figures.table(
            f"annealing: {chains} chains, {units} x {units} units, {STEPS} steps a round",
            "us a step",
            {name: 1e6 * each / STEPS for name, each in values.items()},
            ours="GPU, captured",
            floor="two products (floor)",
            notes={"GPU, captured": f"mean log weights differ by {float(apart):.1e} nats from the CPU's"},
        )


def pcd(figures: Figures, rounds: int) -> None:
    rule = contrastive.Rule(rate=0.01)
    for units, batch in ((500, 128), (2000, 128), (2000, 1024)):
        data = (torch.rand(8 * batch, units, generator=torch.Generator().manual_seed(0)) < 0.3).float()
        values = {}
        for name, device in (("GPU", "cuda"), ("CPU, one thread", "cpu")):
            rows = data.to(device)
            state = contrastive.init(machine(units).to(device), rows[:batch], batch, seed=0)

            def epoch(rows=rows, batch=batch, state=state) -> None:
                for first in range(0, len(rows), batch):
                    state, _ = contrastive.persistent(state, rows[first : first + batch], rule)

            values[name] = median_seconds(epoch, rounds) / 8
        figures.table(
            f"a step of PCD-1: {units} x {units} units, batch and chains {batch}",
            "ms",
            {name: 1e3 * each for name, each in values.items()},
            ours="GPU",
        )


def shiftnet(figures: Figures, rounds: int) -> None:
    rng = torch.Generator().manual_seed(0)
    for batch in (128, 1024):
        context, v = torch.rand(batch, 3, 72, 72, generator=rng), torch.randn(batch, 3, 24, 24, generator=rng)
        delta, settings = torch.randn(batch, 4, generator=rng), ShiftNetSettings()
        recipe, steps, looks = Recipe.sgd(settings.steps, settings.rate, settings.warm_up, settings.decay), {}, {}
        for name, device in (("GPU", "cuda"), ("CPU, one thread", "cpu")):
            net, there, target = ShiftNet().channels_last(), (context.to(device), v.to(device)), delta.to(device)
            net.reset(rng)
            state = init(net.to(device), recipe)
            still = state.average.module

            def step(state=state, there=there, target=target, recipe=recipe, settings=settings) -> None:
                train_step(state, pair_loss(state.net(*there), target, settings), recipe, "ShiftNet")

            steps[name] = median_seconds(step, rounds)
            with torch.inference_mode():
                looks[name] = median_seconds(lambda net=still, seen=there: net(*seen), rounds)
        for title, times in (("a training step", steps), ("a forward pass", looks)):
            figures.table(
                f"{title} of ShiftNet: batch {batch}", "ms", {k: 1e3 * each for k, each in times.items()}, ours="GPU"
            )


def attend(figures: Figures, rounds: int) -> None:
    count = 4 if rounds < 3 else 32
    with tempfile.TemporaryDirectory() as folder:
        run = write_untrained(Path(folder) / "run")
        write_digit_scenes(Path(folder) / "scenes", (0, 1, 2), count, 0)
        settings = attend_settings(str(run), None, Common(), "many")
        images = [read_image(path) for _, path in scan(Path(folder) / "scenes").images]
        values = {}
        for name, device in (("GPU", "cuda"), ("CPU", "cpu")):
            attention = Attention.load(run, device)

            def all_of_them(attention=attention) -> None:
                list(map_images(lambda image: attention.attend_one(image, "x", settings), images))

            values[f"{name}, {default_workers()} cores"] = median_seconds(all_of_them, 1) / count
    figures.table(
        f"attend: {count} scenes of digits, models that have learned nothing", "ms each",
        {name: 1e3 * each for name, each in values.items()}, ours=next(iter(values)),
    )  # fmt: skip


BENCHMARKS = {"ais": ais, "pcd": pcd, "shiftnet": shiftnet, "attend": attend}


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    options = asked.parse_args()
    if not torch.cuda.is_available():
        print("no GPU: nothing measured", file=sys.stderr)
        raise SystemExit(2)
    rounds, figures = 1 if options.quick else options.rounds, Figures("gpu", options.json)
    torch.set_num_threads(1)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {default_workers()} cores\n", flush=True)
    for name in options.only:
        BENCHMARKS[name](figures, rounds)
    figures.close()


if __name__ == "__main__":
    main()
