"""An epoch of PCD-1 of a 500 x 500 Bernoulli RBM on one core: ours, scikit-learn, rbms, and the floor.

5,000 vectors in batches of 128, 128 chains. Claims: at most 1.4 times the floor, which is the five float32 matrix
products of a step; at least 2.5 times faster than scikit-learn's BernoulliRBM and than rbms (a package of that name).
The peers run in a Python of its own if FOVEATE_PEERS names one that has them. Everything takes turns in one run;
seconds are processor time, medians over the rounds.

    FOVEATE_PEERS=/path/to/python python benchmarks/pcd.py [--rounds 15]
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from figures import Figures, parser

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.training.contrastive import fast_persistent, init, persistent
from foveate.boltzmann.training.settings import Rule

UNITS, VECTORS, BATCH, RATE = 500, 5000, 128, 0.01

SCIKIT_LEARN = f"""
import sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from sklearn.neural_network import BernoulliRBM
data = (np.random.default_rng(0).random(({VECTORS}, {UNITS})) < 0.3).astype(np.float32)
machine = BernoulliRBM({UNITS}, learning_rate={RATE}, batch_size={BATCH}, n_iter=1, random_state=0)
for line in sys.stdin:
    begun = time.process_time()
    machine.fit(data)
    print(time.process_time() - begun, flush=True)
"""

RBMS = f"""
import sys, time
import torch
torch.set_num_threads(1)
from rbms.bernoulli_bernoulli.classes import BBRBM
from rbms.training.pcd import fit_batch_pcd
generator = torch.Generator().manual_seed(0)
data = (torch.rand({VECTORS}, {UNITS}, generator=generator) < 0.3).float()
weights = torch.ones({VECTORS}, 1)
machine = BBRBM(0.01 * torch.randn({UNITS}, {UNITS}, generator=generator), torch.zeros({UNITS}), torch.zeros({UNITS}))
machine.init_grad()
chains = machine.init_chains({BATCH})
optimiser = torch.optim.SGD(machine.parameters(), lr={RATE}, maximize=True)
for line in sys.stdin:
    begun = time.process_time()
    with torch.no_grad():
        order = torch.randperm({VECTORS})
        for first in range(0, {VECTORS}, {BATCH}):
            rows = order[first : first + {BATCH}]
            optimiser.zero_grad(set_to_none=False)
            chains, _ = fit_batch_pcd((data[rows], weights[rows]), chains, machine, 1, 1.0)
            optimiser.step()
    print(time.process_time() - begun, flush=True)
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


def timed(epoch: Callable[[], None]) -> Callable[[], float]:
    def once() -> float:
        begun = time.process_time()
        epoch()
        return time.process_time() - begun

    return once


def peer(program: str, python: str) -> Callable[[], float] | None:
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [python, "-c", program], env=one_thread, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None and child.stdout is not None
    asked, answered = child.stdin, child.stdout

    def once() -> float:
        asked.write("\n")
        asked.flush()
        return float(answered.readline())

    try:
        once()
    except (ValueError, BrokenPipeError):
        return None
    return once


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=15)
    options = asked.parse_args()
    rounds, figures = 2 if options.quick else options.rounds, Figures("pcd", options.json)
    torch.set_num_threads(1)
    contenders = {
        "five products (floor)": timed(floor()),
        "foveate, PCD": timed(ours(persistent, Rule(RATE))),
        "foveate, fast PCD": timed(ours(fast_persistent, Rule(RATE, fast_rate=RATE))),
    }
    python = os.environ.get("FOVEATE_PEERS", sys.executable)
    for name, program in (("scikit-learn", SCIKIT_LEARN), ("rbms", RBMS)):
        if once := peer(program, python):
            contenders[name] = once
        else:
            print(f"{name}: left out, {python} can't run it")
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, once in contenders.items():
            seconds = once()
            if number:  # the first round compiles
                found[name].append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    figures.table(
        f"an epoch of PCD-1: {UNITS} x {UNITS} units, {VECTORS} vectors, batch {BATCH}, {rounds} rounds, one core",
        "ms",
        {name: 1000 * seconds for name, seconds in medians.items()},
        ours="foveate, PCD",
        floor="five products (floor)",
        claim="at most 1.4 x floor; scikit-learn and rbms at least 2.5 x ours",
    )
    figures.close()


if __name__ == "__main__":
    main()
