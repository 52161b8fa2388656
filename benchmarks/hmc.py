"""One HMC transition of 128 gazes on 128 different images, 20 leapfrog steps: ours, autograd, blackjax, on one core.

Claims: at least 4 times faster than autograd through torch's grid_sample and than blackjax (compiled, vectorised over
chains), on the same target: log p(u) = -1/2 sum_i w_i (x_i(u) - m_i)^2 of a 24 x 24 colour patch, in (log s, angle,
tx / L, ty / L) with the Jacobian. Twice: sampling the image itself (the paper's), and between two levels of its
pyramid. Everything takes turns in one run; milliseconds are processor time, medians over the rounds. Values and
gradients are compared first.

blackjax runs in a Python of its own if FOVEATE_PEERS names one that has it.

    FOVEATE_PEERS=/path/to/python python benchmarks/hmc.py [--rounds 15]
"""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from figures import Figures, parser
from torch.nn.functional import grid_sample

from foveate.attention.posterior import hmc, hmc_kernels
from foveate.attention.posterior.hmc import Keyed
from foveate.attention.posterior.target import gaze_targets
from foveate.scenes.gaze import from_chart, from_scale_angle, to_chart
from foveate.scenes.glimpse import glimpses, grid
from foveate.scenes.pyramid import Pyramids

IMAGES, SIDE, LEAPFROG, SIZE = 128, 256, 20, 24
SIGMA, EPS, SCALE = 0.3, 0.3, 0.03

PEER = """
import sys, time
import numpy as np
import jax, jax.numpy as jnp, blackjax
data = np.load(sys.argv[1])
levels = [jnp.asarray(data[name]) for name in ("level", "above") if name in data]
position, length, mean, px, py = (jnp.asarray(data[name]) for name in ("position", "length", "mean", "px", "py"))
weight, low = 1 / SIGMA**2, int(data["low"])

def bilinear(image, x, y):
    x, y = x - 0.5, y - 0.5
    j, i = jnp.floor(x), jnp.floor(y)
    fx, fy = (x - j)[:, None], (y - i)[:, None]
    j, i = j.astype(jnp.int32), i.astype(jnp.int32)
    flat, w = image.reshape(-1, 3), image.shape[1]
    at = i * w + j
    tap = lambda place: jnp.take(flat, place, axis=0, mode="clip")
    upper = tap(at) * (1 - fx) + tap(at + 1) * fx
    return upper * (1 - fy) + (tap(at + w) * (1 - fx) + tap(at + w + 1) * fx) * fy

def logdensity(q, images, length, mean):
    s = jnp.exp(q[0])
    a, b, tx, ty = s * jnp.cos(q[1]), s * jnp.sin(q[1]), q[2] * length, q[3] * length
    x, y = a * px - b * py + tx, b * px + a * py + ty
    seen = bilinear(images[0], x / 2**low, y / 2**low)
    if len(images) == 2:
        share = jnp.log2(s * 2 / 24) - low
        seen = (1 - share) * seen + share * bilinear(images[1], x / 2 ** (low + 1), y / 2 ** (low + 1))
    return -0.5 * weight * jnp.sum((seen - mean) ** 2) + 2 * q[0]

def transition(key, q, images, length, mean):
    target = lambda q: logdensity(q, images, length, mean)
    sampler = blackjax.hmc(target, EPS, jnp.full(4, SCALE**2), LEAPFROG)
    state, info = sampler.step(key, sampler.init(q))
    return state.position, info.acceptance_rate

run = jax.jit(jax.vmap(transition))
value = jax.jit(jax.vmap(jax.value_and_grad(logdensity)))
keys = jax.random.split(jax.random.key(0), len(position))
v, g = value(position, levels, length, mean)
np.savez(sys.argv[2], value=v, gradient=g)
jax.block_until_ready(run(keys, position, levels, length, mean))
print("ready", flush=True)
for line in sys.stdin:
    begin = time.process_time()
    out = jax.block_until_ready(run(keys, position, levels, length, mean))
    print(time.process_time() - begin, float(out[1].mean()), flush=True)
"""


def images(seed: int) -> list[np.ndarray]:
    """Smooth noise of several sizes."""
    random = torch.Generator().manual_seed(seed)
    total = torch.zeros(IMAGES, 3, SIDE, SIDE)
    for cells in (4, 8, 16, 32, 64):
        coarse = torch.randn(IMAGES, 3, cells, cells, generator=random)
        total += torch.nn.functional.interpolate(coarse, SIDE, mode="bicubic") / cells**0.5
    low, high = (extreme((1, 2, 3), keepdim=True) for extreme in (total.amin, total.amax))
    return list(((total - low) / (high - low)).permute(0, 2, 3, 1).numpy())


class Problem:
    """128 gazes whose windows lie inside, whose scales stay within one octave of the pyramid."""

    def __init__(self, pyramid: bool):
        random = torch.Generator().manual_seed(1)
        r = torch.rand(4, IMAGES, generator=random, dtype=torch.float64)
        self.pyramid, self.low = pyramid, 1 if pyramid else 0
        s = (30 + 10 * r[0]) if pyramid else (10 + 10 * r[0])
        self.gazes = from_scale_angle(s, 6.28 * r[1], 100 + 56 * r[2], 100 + 56 * r[3])
        self.pyramids, self.index = Pyramids.from_images(images(0)), np.arange(IMAGES)
        self.mean = glimpses(self.pyramids, self.index, self.gazes, pyramid=pyramid).double()
        weight = torch.full((1, 3, SIZE, SIZE), SIGMA**-2, dtype=torch.float64)
        self.targets = gaze_targets(self.pyramids, self.index, self.gazes, self.mean, weight, pyramid=pyramid)
        self.length = torch.from_numpy(self.targets.length)
        self.position = to_chart(self.gazes, self.length) + 0.02 * torch.randn(IMAGES, 4, generator=random).double()
        self.keys = torch.arange(IMAGES)
        self.eps = torch.full((IMAGES,), EPS, dtype=torch.float64)
        self.scale = torch.full((IMAGES, 4), SCALE, dtype=torch.float64)
        levels = range(self.low, self.low + (2 if pyramid else 1))
        self.levels = [
            torch.from_numpy(np.stack([self.pyramids.level(i, k) for i in range(IMAGES)]) / np.float32(65535)).float()
            for k in levels
        ]
        self.planes = [level.permute(0, 3, 1, 2).contiguous() for level in self.levels]
        self.points = grid(SIZE, 1.0).float()

    def ours(self) -> Callable[[], float]:
        state = hmc_kernels.init(self.position, self.targets)

        def run() -> float:
            _, moves = hmc_kernels.transitions(self.keys, 0, 1, state, self.targets, self.eps, self.scale, LEAPFROG)
            return float(moves.info.acceptance.mean())

        return run

    def logdensity(self, q: torch.Tensor) -> torch.Tensor:
        """By torch's grid_sample, in float32: the usual way."""
        u = from_chart(q, self.length.float())
        a, b, tx, ty = u.unsqueeze(1).unbind(-1)
        px, py = self.points.unbind(-1)
        where = torch.stack((a * px - b * py + tx, b * px + a * py + ty), -1) / (SIDE / 2) - 1
        where = where.view(IMAGES, SIZE, SIZE, 2)
        seen = [grid_sample(plane, where, padding_mode="border", align_corners=False) for plane in self.planes]
        if self.pyramid:
            share = (torch.log2(torch.exp(q[:, 0]) * 2 / SIZE) - self.low).view(-1, 1, 1, 1)
            seen[0] = (1 - share) * seen[0] + share * seen[1]
        return -0.5 * SIGMA**-2 * (seen[0] - self.mean.float()).square().sum((1, 2, 3)) + 2 * q[:, 0]

    def value_and_grad(self, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            q = q.detach().requires_grad_()
            value = self.logdensity(q)
            (gradient,) = torch.autograd.grad(value.sum(), q)
        return value.detach(), gradient

    def autograd(self) -> Callable[[], float]:
        state = hmc.init(self.position.float(), self.value_and_grad)

        def run() -> float:
            info = hmc.step(
                Keyed(self.keys, 0), state, self.value_and_grad, self.eps.float(), self.scale.float(), LEAPFROG
            )[1]
            return float(info.acceptance.mean())

        return run

    def peer(self, python: str, folder: Path) -> tuple[subprocess.Popen, Path]:
        arrays = {
            "position": self.position.float().numpy(),
            "length": self.length.float().numpy(),
            "mean": self.mean.float().flatten(2).transpose(1, 2).numpy(),
            "px": self.points[:, 0].numpy(),
            "py": self.points[:, 1].numpy(),
            "low": self.low,
        }
        arrays |= {name: level.numpy() for name, level in zip(("level", "above"), self.levels, strict=False)}
        np.savez(folder / "problem.npz", **arrays)
        constants = f"SIGMA, EPS, SCALE, LEAPFROG = {SIGMA}, {EPS}, {SCALE}, {LEAPFROG}\n"
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        process = subprocess.Popen(
            [python, "-c", constants + PEER, str(folder / "problem.npz"), str(folder / "answer.npz")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert process.stdout is not None and process.stdout.readline().strip() == "ready"
        return process, folder / "answer.npz"


def compare(name: str, value: torch.Tensor, gradient: torch.Tensor, exact: hmc.HMCState) -> None:
    error = (value - exact.logdensity).abs().max() / exact.logdensity.abs().max()
    slope = (gradient - exact.gradient).abs().max() / exact.gradient.abs().max()
    print(f"  {name} against ours: value {float(error):.1e}, gradient {float(slope):.1e} of the largest")


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=15)
    options = asked.parse_args()
    rounds, figures = 2 if options.quick else options.rounds, Figures("hmc", options.json)
    torch.set_num_threads(1)
    python = os.environ.get("FOVEATE_PEERS")
    for pyramid in (False, True):
        problem = Problem(pyramid)
        where = "two levels of the pyramid" if pyramid else "level 0"
        exact = hmc_kernels.init(problem.position, problem.targets)
        compare("autograd", *problem.value_and_grad(problem.position.float()), exact)
        runs: dict[str, Callable[[], float]] = {"ours": problem.ours(), "autograd, grid_sample": problem.autograd()}
        with tempfile.TemporaryDirectory() as folder:
            process = None
            if python:
                process, answer = problem.peer(python, Path(folder))
                theirs = np.load(answer)
                compare("blackjax", torch.from_numpy(theirs["value"]), torch.from_numpy(theirs["gradient"]), exact)
            seconds: dict[str, list[float]] = {name: [] for name in (*runs, "blackjax")}
            acceptance = {}
            for _ in range(rounds):
                for name, run in runs.items():
                    begin = time.process_time()
                    acceptance[name] = run()
                    seconds[name].append(time.process_time() - begin)
                if process is not None:
                    process.stdin.write("go\n")
                    process.stdin.flush()
                    spent, acceptance["blackjax"] = map(float, process.stdout.readline().split())
                    seconds["blackjax"].append(spent)
            if process is not None:
                process.stdin.close()
                process.wait()
        figures.table(
            f"an HMC transition: {IMAGES} images, {LEAPFROG} leapfrog steps, {where}, {rounds} rounds, one core",
            "ms",
            {name: 1e3 * statistics.median(values) for name, values in seconds.items() if values},
            ours="ours",
            claim="autograd and blackjax at least 4 x ours",
            notes={name: f"accepted {share:.2f}" for name, share in acceptance.items()},
        )
    figures.close()


if __name__ == "__main__":
    main()
