"""An epoch of PCD-1 of a 500 x 500 Bernoulli RBM: ours, scikit-learn, rbms, and the floor.

5,000 vectors in batches of 128, 128 chains. Claims: at most 1.7 times the floor, which is the five float32 matrix
products of a step; faster than scikit-learn's BernoulliRBM, and at least 1.5 times as fast as rbms (a package of that
name). The peers run in a Python of their own if FOVEATE_PEERS names one that has them. Everything takes turns in one
run, with the threads that each uses by itself (OMP_NUM_THREADS sets fewer); medians over the rounds.

    FOVEATE_PEERS=/path/to/python python benchmarks/pcd.py [--rounds 15]
"""

import os
import sys
from collections.abc import Callable

import torch
from figures import Claim, Figures, parser, peer, peers, timed

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.training.contrastive import fast_persistent, init, persistent
from foveate.boltzmann.training.settings import Rule

UNITS, VECTORS, BATCH, RATE = 500, 5000, 128, 0.01

SCIKIT_LEARN = f"""
import warnings
warnings.simplefilter("ignore")
import numpy as np
from sklearn.neural_network import BernoulliRBM
data = (np.random.default_rng(0).random(({VECTORS}, {UNITS})) < 0.3).astype(np.float32)
machine = BernoulliRBM({UNITS}, learning_rate={RATE}, batch_size={BATCH}, n_iter=1, random_state=0)
def work():
    machine.fit(data)
"""

RBMS = f"""
import torch
from rbms.bernoulli_bernoulli.classes import BBRBM
from rbms.training.pcd import fit_batch_pcd
generator = torch.Generator().manual_seed(0)
data = (torch.rand({VECTORS}, {UNITS}, generator=generator) < 0.3).float()
weights = torch.ones({VECTORS}, 1)
machine = BBRBM(0.01 * torch.randn({UNITS}, {UNITS}, generator=generator), torch.zeros({UNITS}), torch.zeros({UNITS}))
machine.init_grad()
chains = machine.init_chains({BATCH})
optimiser = torch.optim.SGD(machine.parameters(), lr={RATE}, maximize=True)
@torch.no_grad()
def work():
    global chains
    order = torch.randperm({VECTORS})
    for first in range(0, {VECTORS}, {BATCH}):
        rows = order[first : first + {BATCH}]
        optimiser.zero_grad(set_to_none=False)
        chains, _ = fit_batch_pcd((data[rows], weights[rows]), chains, machine, 1, 1.0)
        optimiser.step()
"""


def some_data() -> torch.Tensor:
    return (torch.rand(VECTORS, UNITS, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def ours(step: Callable, rule: Rule) -> Callable[[], None]:
    machine, data = BernoulliRBM(UNITS, UNITS), some_data()
    machine.W.copy_(0.01 * torch.randn(UNITS, UNITS, generator=torch.Generator().manual_seed(1)))
    state = init(machine, data[:BATCH], BATCH, seed=0)

    def epoch() -> None:
        nonlocal state
        order = torch.randperm(VECTORS)
        for first in range(0, VECTORS, BATCH):
            state, _ = step(state, data[order[first : first + BATCH]], rule)

    return epoch


def floor() -> Callable[[], None]:
    """The five products of a step: up from the data, down and up for the chains, two of statistics."""
    v, h, W = torch.rand(BATCH, UNITS), torch.rand(BATCH, UNITS), torch.rand(UNITS, UNITS)
    rows, square = torch.empty(BATCH, UNITS), torch.empty(UNITS, UNITS)

    def epoch() -> None:
        for _ in range(0, VECTORS, BATCH):
            torch.mm(v, W, out=rows)
            torch.mm(h, W.T, out=rows)
            torch.mm(v, W, out=rows)
            torch.mm(v.T, h, out=square)
            torch.mm(v.T, h, out=square)

    return epoch


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=15)
    options = asked.parse_args()
    rounds, figures = 2 if options.quick else options.rounds, Figures("pcd", options.json)
    python = os.environ.get("FOVEATE_PEERS", sys.executable)
    contenders = {
        "five products (floor)": timed(floor()),
        "foveate, PCD": timed(ours(persistent, Rule(RATE))),
        "foveate, fast PCD": timed(ours(fast_persistent, Rule(RATE, fast_rate=RATE))),
        **peers({"scikit-learn": peer(python, SCIKIT_LEARN), "rbms": peer(python, RBMS)}),
    }
    size = f"{UNITS} x {UNITS} units, {VECTORS} vectors, batch {BATCH}, {torch.get_num_threads()} threads"
    figures.turns(
        f"an epoch of PCD-1: {size}",
        "ms",
        1e3,
        contenders,
        rounds,
        ours="foveate, PCD",
        floor="five products (floor)",
        claims=[
            Claim("foveate, PCD", "at most", 1.7, "five products (floor)"),
            Claim("scikit-learn", "at least", 1.0, "foveate, PCD"),
            Claim("rbms", "at least", 1.5, "foveate, PCD"),
        ],
    )
    figures.close()


if __name__ == "__main__":
    main()
