"""Annealed importance sampling of a 500 x 500 RBM on one core: ours, plain torch, rbms, and the floor.

Claims: at most 1.5 times the floor, which is the two float32 matrix products of a step; at least 4 times faster than
rbms (a package of that name), which runs in a Python of its own if FOVEATE_PEERS names one that has it. Everything
takes turns in one run; seconds are processor time, medians over the rounds.

    FOVEATE_PEERS=/path/to/python python benchmarks/ais.py [--rounds 15]
"""

import itertools
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
from torch.nn.functional import softplus

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.log_z.ais import anneal
from foveate.boltzmann.log_z.schedules import linear
from foveate.boltzmann.log_z.weights import estimate

CHAINS, UNITS, STEPS, WHOLE = 100, 500, 200, 50_000

PEER = """
import sys, time
import numpy as np, torch
torch.set_num_threads(1)
from rbms.bernoulli_bernoulli.classes import BBRBM
from rbms.partition_function.ais import compute_partition_function_ais
arrays = np.load(sys.argv[1])
machine = BBRBM(*(torch.from_numpy(arrays[name]) for name in ("W", "b", "c")))
for line in sys.stdin:
    steps = int(line)
    begun = time.process_time()
    log_z = compute_partition_function_ais(int(sys.argv[2]), steps + 1, machine)
    print(time.process_time() - begun, log_z, flush=True)
"""


def random_machine() -> BernoulliRBM:
    generator = torch.Generator().manual_seed(0)
    rbm = BernoulliRBM(UNITS, UNITS)
    rbm.W.copy_(0.05 * torch.randn(rbm.W.shape, generator=generator))
    rbm.b.copy_(0.5 * torch.randn(UNITS, generator=generator))
    rbm.c.copy_(0.5 * torch.randn(UNITS, generator=generator))
    return rbm


def ours(rbm: BernoulliRBM) -> Callable[[], float]:
    path, betas = rbm.path(torch.full((1, UNITS), 0.5)), linear(STEPS)

    def run() -> float:
        return estimate(path.log_z_base + anneal(path, betas, range(CHAINS), 0, "benchmark").log_weight).log_z

    return run


def tight_torch(rbm: BernoulliRBM) -> Callable[[], float]:
    """The same steps as one would write them in torch with care: two products, nothing copied, float64 weights."""
    base = torch.zeros(UNITS)
    betas = torch.linspace(0, 1, STEPS + 1)

    def run() -> float:
        v = (torch.rand(CHAINS, UNITS) < torch.sigmoid(base)).float()
        log_weight = torch.zeros(CHAINS, dtype=torch.float64)
        for old, new in itertools.pairwise(betas):
            s = torch.addmm(rbm.c, v, rbm.W)
            hidden = (softplus(new * s) - softplus(old * s)).sum(1)
            log_weight += ((new - old) * (v @ (rbm.b - base)) + hidden).double()
            h = (torch.rand(CHAINS, UNITS) < torch.sigmoid(new * s)).float()
            b = (1 - new) * base + new * rbm.b
            v = (torch.rand(CHAINS, UNITS) < torch.sigmoid(torch.addmm(b, h, rbm.W.T, alpha=float(new)))).float()
        start = 2 * UNITS * np.log(2)
        return start + float(torch.logsumexp(log_weight, 0)) - np.log(CHAINS)

    return run


def floor(rbm: BernoulliRBM) -> Callable[[], float]:
    v = (torch.rand(CHAINS, UNITS) < 0.5).float()
    product, back = torch.empty(CHAINS, UNITS), torch.empty(CHAINS, UNITS)
    transposed = rbm.W.T.contiguous()

    def run() -> float:
        for _ in range(STEPS):
            torch.mm(v, rbm.W, out=product)
            torch.mm(product, transposed, out=back)
        return float("nan")

    return run


def timed(run: Callable[[], float]) -> Callable[[], tuple[float, float]]:
    def once() -> tuple[float, float]:
        begun = time.process_time()
        log_z = run()
        return time.process_time() - begun, log_z

    return once


def peer(rbm: BernoulliRBM, python: str, folder: str) -> Callable[[], tuple[float, float]]:
    file = Path(folder) / "machine.npz"
    np.savez(file, W=rbm.W.numpy(), b=rbm.b.numpy(), c=rbm.c.numpy())
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [python, "-c", PEER, file, str(CHAINS)]
    child = subprocess.Popen(command, env=one_thread, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None
    asked, answered = child.stdin, child.stdout

    def once() -> tuple[float, float]:
        asked.write(f"{STEPS}\n")
        asked.flush()
        seconds, log_z = answered.readline().split()
        return float(seconds), float(log_z)

    return once


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=15)
    options = asked.parse_args()
    rounds, figures = 2 if options.quick else options.rounds, Figures("ais", options.json)
    torch.set_num_threads(1)
    rbm = random_machine()
    with tempfile.TemporaryDirectory() as folder:
        contenders = {
            "two products (floor)": timed(floor(rbm)),
            "foveate": timed(ours(rbm)),
            "tight torch": timed(tight_torch(rbm)),
        }
        if python := os.environ.get("FOVEATE_PEERS"):
            contenders["rbms"] = peer(rbm, python, folder)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for number in range(rounds + 1):
            for name, once in contenders.items():
                result = once()
                if number:  # the first round compiles
                    found[name].append(result)
    seconds = {name: statistics.median(s for s, _ in results) for name, results in found.items()}
    figures.table(
        f"annealing: {CHAINS} chains, {UNITS} x {UNITS} units, {STEPS} steps a round, {rounds} rounds, one core",
        "ms a step",
        {name: each / STEPS * 1e3 for name, each in seconds.items()},
        ours="foveate",
        floor="two products (floor)",
        claim="at most 1.5 x floor; rbms at least 4 x ours",
        notes={
            name: f"{each / STEPS * WHOLE:.0f} s for {WHOLE:,} temperatures, log Z {found[name][-1][1]:.2f}"
            for name, each in seconds.items()
        },
    )
    figures.close()


if __name__ == "__main__":
    main()
