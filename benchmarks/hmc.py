"""One HMC transition of 128 gazes on 128 different images: ours, autograd through torch's grid_sample, blackjax.

Between two levels of the pyramid, in (log s, angle, tx / L, ty / L): -F(x(u)) / T of a patch model of 2000 hidden units
times a normal density about the gaze, 3 leapfrog steps: the chains that `attend` runs (where importance weights can't
be believed, or with posterior.method=hmc).

Claim: at least as fast as both; all spend most of the time in the same matrix products. blackjax is compiled and
vectorised over chains. Everything takes turns in one run, with the threads that each uses by itself (OMP_NUM_THREADS
sets fewer); medians over the rounds. Values and gradients are compared first.

blackjax runs in a Python of its own if FOVEATE_PEERS names one that has it.

    FOVEATE_PEERS=/path/to/python python benchmarks/hmc.py [--rounds 15]
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from figures import Claim, Contender, Figures, parser, peer, peers, timed
from torch.nn.functional import grid_sample, interpolate, softplus

from foveate.attention.posterior import hmc
from foveate.attention.posterior.conditionals import PatchConditionals
from foveate.attention.posterior.hmc import Keyed
from foveate.attention.posterior.target import gaze_targets, normal_around, of_glimpses
from foveate.attention.settings import POSTERIOR
from foveate.boltzmann.dbn import PatchScale
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.runtime.workers import one_thread_each
from foveate.scenes.gaze import from_chart, from_scale_angle, to_chart
from foveate.scenes.glimpse import grid
from foveate.scenes.pyramid import Pyramids

IMAGES, SIDE, SIZE, LOW, HIDDEN = 128, 256, 24, 1, 2000
SIGMA, EPS, SCALE, AROUND, TEMPER = 0.3, 0.3, 0.03, 0.05, 100.0
LEAPFROG = POSTERIOR.n_leapfrog

BLACKJAX = """
import sys
import numpy as np
import jax, jax.numpy as jnp, blackjax
data = np.load(sys.argv[1])
levels = [jnp.asarray(data[name]) for name in ("level", "above")]
position, length, px, py = (jnp.asarray(data[name]) for name in ("position", "length", "px", "py"))
middle, W, b, c = (jnp.asarray(data[name]) for name in ("middle", "W", "b", "c"))

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

def logdensity(q, images, length, middle):
    s = jnp.exp(q[0])
    u, v, tx, ty = s * jnp.cos(q[1]), s * jnp.sin(q[1]), q[2] * length, q[3] * length
    x, y = u * px - v * py + tx, v * px + u * py + ty
    share = jnp.log2(s * 2 / 24) - LOW
    seen = (1 - share) * bilinear(images[0], x / 2**LOW, y / 2**LOW)
    seen = seen + share * bilinear(images[1], x / 2 ** (LOW + 1), y / 2 ** (LOW + 1))
    at = (seen - 0.5).T.reshape(-1) / 0.25
    energy = 0.5 * jnp.sum((at - b) ** 2) / SIGMA**2 - jnp.sum(jax.nn.softplus(c + at @ W / SIGMA**2))
    return -energy / TEMPER - 0.5 * jnp.sum((q - middle) ** 2) / AROUND**2

def transition(key, q, images, length, middle):
    target = lambda q: logdensity(q, images, length, middle)
    sampler = blackjax.hmc(target, EPS, jnp.full(4, SCALE**2), LEAPFROG)
    state, info = sampler.step(key, sampler.init(q))
    return state.position, info.acceptance_rate

run = jax.jit(jax.vmap(transition))
value = jax.jit(jax.vmap(jax.value_and_grad(logdensity)))
keys = jax.random.split(jax.random.key(0), len(position))
v, g = value(position, levels, length, middle)
np.savez(sys.argv[2], value=v, gradient=g)

def work():
    out = jax.block_until_ready(run(keys, position, levels, length, middle))
    return f"accepted {float(out[1].mean()):.2f}"
"""


def images(seed: int) -> list[np.ndarray]:
    """Smooth noise of several sizes."""
    random = torch.Generator().manual_seed(seed)
    total = torch.zeros(IMAGES, 3, SIDE, SIDE)
    for cells in (4, 8, 16, 32, 64):
        coarse = torch.randn(IMAGES, 3, cells, cells, generator=random)
        total += interpolate(coarse, SIDE, mode="bicubic") / cells**0.5
    low, high = (extreme((1, 2, 3), keepdim=True) for extreme in (total.amin, total.amax))
    return list(((total - low) / (high - low)).permute(0, 2, 3, 1).numpy())


class Problem:
    """128 gazes whose windows lie inside, whose scales stay within one octave of the pyramid."""

    def __init__(self):
        random = torch.Generator().manual_seed(1)
        r = torch.rand(4, IMAGES, generator=random, dtype=torch.float64)
        self.gazes = from_scale_angle(30 + 10 * r[0], 6.28 * r[1] - 3.14, 100 + 56 * r[2], 100 + 56 * r[3])
        self.pyramids, self.index = Pyramids.from_images(images(0)), np.arange(IMAGES)
        self.targets = gaze_targets(self.pyramids, self.index, self.gazes, SIZE, flat=False)
        self.length = self.targets.length
        self.middle = to_chart(self.gazes, self.length)
        self.position = self.middle + 0.02 * torch.randn(IMAGES, 4, generator=random).double()
        self.keys = torch.arange(IMAGES)
        self.eps = torch.full((IMAGES,), EPS, dtype=torch.float64)
        self.scale = torch.full((IMAGES, 4), SCALE, dtype=torch.float64)
        self.levels = [
            torch.from_numpy(np.stack([self.pyramids.level(i, k) for i in range(IMAGES)]) / np.float32(65535)).float()
            for k in (LOW, LOW + 1)
        ]
        self.planes = [level.permute(0, 3, 1, 2).contiguous() for level in self.levels]
        self.points = grid(SIZE, 1.0).float()
        machine = GaussianBernoulliRBM(3 * SIZE * SIZE, HIDDEN)
        machine.W.copy_(0.005 * torch.randn(machine.W.shape, generator=random))
        machine.log_sigma.fill_(float(np.log(SIGMA)))
        self.W, self.b, self.c = machine.W, machine.b, machine.c
        patch = PatchConditionals(machine, PatchScale(torch.full((3,), 0.5), torch.full((3,), 0.25)))
        density = of_glimpses(self.targets, lambda seen: -machine.free_energy(patch.scale.standardise(seen)), TEMPER)
        self.density = normal_around(density, self.middle, torch.full((4,), AROUND))

    def ours(self) -> Callable[[], str]:
        state = hmc.init(self.position, self.density)

        def run() -> str:
            with one_thread_each():  # as `refine` does: gazes side by side, each on one thread
                moved = hmc.step(
                    Keyed(self.keys, 0), state, self.density, self.eps, self.scale, LEAPFROG, box=self.targets.box
                )
            return accepted(moved[1])

        return run

    def logdensity(self, q: torch.Tensor) -> torch.Tensor:
        """By torch's grid_sample, in float32: the usual way."""
        u = from_chart(q, self.length.float())
        a, b, tx, ty = u.unsqueeze(1).unbind(-1)
        px, py = self.points.unbind(-1)
        where = torch.stack((a * px - b * py + tx, b * px + a * py + ty), -1) / (SIDE / 2) - 1
        where = where.view(IMAGES, SIZE, SIZE, 2)
        low, high = (grid_sample(plane, where, padding_mode="border", align_corners=False) for plane in self.planes)
        share = (torch.log2(torch.exp(q[:, 0]) * 2 / SIZE) - LOW).view(-1, 1, 1, 1)
        seen = (1 - share) * low + share * high
        x = ((seen - 0.5) / 0.25).flatten(1)
        energy = 0.5 * (x - self.b).square().sum(1) / SIGMA**2
        energy = energy - softplus(torch.addmm(self.c, x, self.W, alpha=SIGMA**-2)).sum(1)
        return -energy / TEMPER - 0.5 * (q - self.middle.float()).square().sum(1) / AROUND**2

    def value_and_grad(self, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            q = q.detach().requires_grad_()
            value = self.logdensity(q)
            (gradient,) = torch.autograd.grad(value.sum(), q)
        return value.detach(), gradient

    def autograd(self) -> Callable[[], str]:
        state, eps, scale = hmc.init(self.position.float(), self.value_and_grad), self.eps.float(), self.scale.float()

        def run() -> str:
            return accepted(hmc.step(Keyed(self.keys, 0), state, self.value_and_grad, eps, scale, LEAPFROG)[1])

        return run

    def blackjax(self, python: str, folder: Path) -> Contender | None:
        arrays = {
            "position": self.position.float().numpy(),
            "middle": self.middle.float().numpy(),
            "length": self.length.float().numpy(),
            "px": self.points[:, 0].numpy(),
            "py": self.points[:, 1].numpy(),
            "W": self.W.numpy(),
            "b": self.b.numpy(),
            "c": self.c.numpy(),
        }
        arrays |= {name: level.numpy() for name, level in zip(("level", "above"), self.levels, strict=True)}
        np.savez(folder / "problem.npz", **arrays)
        constants = f"SIGMA, EPS, SCALE, AROUND, TEMPER = {SIGMA}, {EPS}, {SCALE}, {AROUND}, {TEMPER}\n"
        constants += f"LEAPFROG, LOW = {LEAPFROG}, {LOW}\n"
        return peer(python, constants + BLACKJAX, folder / "problem.npz", folder / "answer.npz")


def accepted(info: hmc.HMCInfo) -> str:
    return f"accepted {float(info.acceptance.mean()):.2f}"


def compare(name: str, value: torch.Tensor, gradient: torch.Tensor, exact: hmc.HMCState) -> None:
    error = (value - exact.logdensity).abs().max() / exact.logdensity.abs().max()
    slope = (gradient - exact.gradient).abs().max() / exact.gradient.abs().max()
    print(f"  {name} against ours: value {float(error):.1e}, gradient {float(slope):.1e} of the largest")


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=15)
    options = asked.parse_args()
    rounds, figures = 2 if options.quick else options.rounds, Figures("hmc", options.json)
    python = os.environ.get("FOVEATE_PEERS")
    problem = Problem()
    exact = hmc.init(problem.position, problem.density)
    compare("autograd", *problem.value_and_grad(problem.position.float()), exact)
    with tempfile.TemporaryDirectory() as folder:
        found = peers({"blackjax": problem.blackjax(python, Path(folder)) if python else None})
        if found:
            theirs = np.load(Path(folder) / "answer.npz")
            compare("blackjax", torch.from_numpy(theirs["value"]), torch.from_numpy(theirs["gradient"]), exact)
        figures.turns(
            f"an HMC transition, h1 summed out: {IMAGES} images, {LEAPFROG} leapfrog steps, "
            f"{torch.get_num_threads()} threads",
            "ms",
            1e3,
            {"ours": timed(problem.ours()), "autograd, grid_sample": timed(problem.autograd()), **found},
            rounds,
            ours="ours",
            claims=[Claim(name, "at least", 1.0, "ours") for name in ("autograd, grid_sample", "blackjax")],
        )
    figures.close()


if __name__ == "__main__":
    main()
