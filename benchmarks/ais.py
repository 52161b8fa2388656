"""Annealed importance sampling of a 500 x 500 RBM: ours as commands run it, plain torch, rbms, and the floor.

Claims: at most 1.5 times the floor, which is the two float32 matrix products of a step; at least 4 times faster than
rbms (a package of that name), which runs in a Python of its own if FOVEATE_PEERS names one that has it. Everything
takes turns in one run, with the threads that each uses by itself (OMP_NUM_THREADS sets fewer); medians over the rounds.

    FOVEATE_PEERS=/path/to/python python benchmarks/ais.py [--rounds 15]
"""

import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from figures import Claim, Figures, parser, peer, peers, timed
from torch.nn.functional import softplus

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.log_z.ais import anneal
from foveate.boltzmann.log_z.schedules import linear
from foveate.boltzmann.log_z.weights import estimate

CHAINS, UNITS, STEPS = 100, 500, 200

RBMS = f"""
import sys
import numpy as np, torch
from rbms.bernoulli_bernoulli.classes import BBRBM
from rbms.partition_function.ais import compute_partition_function_ais
arrays = np.load(sys.argv[1])
machine = BBRBM(*(torch.from_numpy(arrays[name]) for name in ("W", "b", "c")))
def work():
    return f"log Z {{compute_partition_function_ais({CHAINS}, {STEPS} + 1, machine):.2f}}"
"""


def random_machine() -> BernoulliRBM:
    generator = torch.Generator().manual_seed(0)
    rbm = BernoulliRBM(UNITS, UNITS)
    rbm.W.copy_(0.05 * torch.randn(rbm.W.shape, generator=generator))
    rbm.b.copy_(0.5 * torch.randn(UNITS, generator=generator))
    rbm.c.copy_(0.5 * torch.randn(UNITS, generator=generator))
    return rbm


def ours(rbm: BernoulliRBM) -> Callable[[], str]:
    path, betas = rbm.path(torch.full((1, UNITS), 0.5)), linear(STEPS)

    def run() -> str:
        found = estimate(path.log_z_base + anneal(path, betas, range(CHAINS), 0, "benchmark").log_weight)
        return f"log Z {found.log_z:.2f}"

    return run


def tight_torch(rbm: BernoulliRBM) -> Callable[[], str]:
    """The same steps as one would write them in torch with care: two products, nothing copied, float64 weights."""
    base = torch.zeros(UNITS)
    betas = torch.linspace(0, 1, STEPS + 1)

    def run() -> str:
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
        return f"log Z {start + float(torch.logsumexp(log_weight, 0)) - np.log(CHAINS):.2f}"

    return run


def floor(rbm: BernoulliRBM) -> Callable[[], None]:
    v = (torch.rand(CHAINS, UNITS) < 0.5).float()
    product, back = torch.empty(CHAINS, UNITS), torch.empty(CHAINS, UNITS)
    transposed = rbm.W.T.contiguous()

    def run() -> None:
        for _ in range(STEPS):
            torch.mm(v, rbm.W, out=product)
            torch.mm(product, transposed, out=back)

    return run


def rbms(rbm: BernoulliRBM, folder: str) -> dict:
    file = Path(folder) / "machine.npz"
    np.savez(file, W=rbm.W.numpy(), b=rbm.b.numpy(), c=rbm.c.numpy())
    python = os.environ.get("FOVEATE_PEERS")
    return peers({"rbms": None if python is None else peer(python, RBMS, file)})


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=15)
    options = asked.parse_args()
    rounds, figures, rbm = 2 if options.quick else options.rounds, Figures("ais", options.json), random_machine()
    with tempfile.TemporaryDirectory() as folder:
        contenders = {
            "two products (floor)": timed(floor(rbm)),
            "foveate": timed(ours(rbm)),
            "tight torch": timed(tight_torch(rbm)),
            **rbms(rbm, folder),
        }
        figures.turns(
            f"annealing: {CHAINS} chains, {UNITS} x {UNITS} units, {STEPS} steps, {torch.get_num_threads()} threads",
            "ms a step",
            1e3 / STEPS,
            contenders,
            rounds,
            ours="foveate",
            floor="two products (floor)",
            claims=[
                Claim("foveate", "at most", 1.5, "two products (floor)"),
                Claim("rbms", "at least", 4.0, "foveate"),
            ],
        )
    figures.close()


if __name__ == "__main__":
    main()
