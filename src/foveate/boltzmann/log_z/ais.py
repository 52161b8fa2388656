"""Annealed importance sampling (Neal 2001) of a machine's log Z.

Chains start from a base whose log Z is known and move along a `Path` to the machine; each gathers the log weight

    log w = sum_k log p*_k(v_{k-1}) - log p*_{k-1}(v_{k-1}),    v_k drawn by a Gibbs sweep that leaves p_k invariant,

whose mean exp is Z / Z_base. log Z is under-estimated on average (Jensen), and badly where the chains mix badly, which
their own spread needn't show. Run backwards from samples of the machine, the weights' mean exp is Z_base / Z, and log Z
is over-estimated (Burda, Grosse, Salakhutdinov 2015); `bracket.py` has both ends.

    state = init(path, keys)
    for old, new in itertools.pairwise(betas):
        state = kernel(path, state, old, new, keys)

`anneal` is that loop for many chains: in blocks, side by side, stopped and gone on with.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from foveate.boltzmann.draws import Counted
from foveate.boltzmann.log_z.path import Beta, Path
from foveate.errors import BadInput
from foveate.runtime.devices import captured
from foveate.runtime.precision import full_precision
from foveate.runtime.random import key
from foveate.runtime.workers import default_workers, map_images, one_thread_each

BLOCK = 50  # chains that move together, each in its place whatever else runs: the last bits of a product depend on both

SEGMENT_OPERATIONS = 1.5e10
"""Of matrix products between two looks at the clock and at signals: a third of a second of one core, or less."""


class AISState(NamedTuple):
    """Where chains are."""

    v: Float[Tensor, "n V"]  # visible states, as the path has them
    slope: Float[Tensor, " n"]  # the visible units' own part of d log p*_beta(v) / d beta
    log_weight: Float[Tensor, " n"]  # float64
    step: Any  # steps taken: a number, or a tensor of no dimensions where the step is captured as a graph


def init(path: Path, keys: Int64[Tensor, " n"], start: Float[Tensor, "n V"] | None = None) -> AISState:
    """Chains of weight 1, each with the key of all its random numbers, that will move along a path.

    They start from states distributed as p at the first beta, as the path has them, or from the base.
    """
    nothing = torch.zeros(len(keys), dtype=torch.float64, device=keys.device)
    if start is not None:
        return AISState(start, path.slope(start), nothing, 0)
    h = torch.zeros(len(keys), path.shape[1], device=keys.device)  # of no effect at beta = 0
    return AISState(*path.visible(h, 0.0, Counted(keys, 1)), nothing, 0)


def kernel(path: Path, state: AISState, old: Beta, new: Beta, keys: Int64[Tensor, " n"]) -> AISState:
    """Move the weights from beta `old` to `new` at the present v, then the chains by one Gibbs sweep at `new`.

    log p*_beta(v) = (a part linear in beta, of this slope) + A(eta_h(v; beta)), the hidden units summed out; the order
    is that of Salakhutdinov and Murray (2008): a weight is taken at the very parameters that the chain then moves with.
    The path may write over the tensors of the state it is given.
    """
    step = state.step + 1
    h, gained = path.hidden(state.v, old, new, Counted(keys, 2 * step))
    log_weight = state.log_weight + (new - old) * state.slope + gained
    v, slope = path.visible(h, new, Counted(keys, 2 * step + 1))
    return AISState(v, slope, log_weight, step)


def anneal(
    path: Path,
    betas: Float[Tensor, " steps"],
    chains: Sequence[int],
    seed: int,
    stream: str,
    start: Float[Tensor, "n visible"] | None = None,
    state: AISState | None = None,
    tick: Callable[[int], None] = lambda done: None,
    keep: Callable[[AISState], None] = lambda state: None,
) -> AISState:
    """Move chains along `betas`, up or down, and gather their log weights; without the base's log Z.

    Args:
        path: The family of distributions.
        betas: Inverse temperatures in the order in which they are visited.
        chains: Ids of the chains, ascending. A chain's numbers depend on (seed, stream, id) alone.
        seed, stream: What the random numbers are keyed on: the stream is what the chains are for.
        start: [n, visible] states distributed as p at betas[0]; without it the path's base is drawn from (betas[0] must
            be 0).
        state: What `keep` was given last in an earlier run of the same call.
        tick: Called with the number of steps done, about every 0.1 to 1 s; it may raise to stop the run.
        keep: Called just before it with all that going on needs: the state of whole blocks of chains, on the CPU.

    Raises:
        BadInput: No chains, or their ids don't ascend, or no start where one is needed.
    """
    if not len(chains) or any(b <= a for a, b in itertools.pairwise(chains)) or chains[0] < 0:
        raise BadInput(f"chains = {list(chains)[:5]}...: expected ascending ids, at least one")
    if start is None and float(betas[0]) != 0:
        raise BadInput("chains that don't begin at beta = 0 need states to start from")
    with full_precision(), one_thread_each(), torch.no_grad():
        run = Chains(path, betas, chains, seed, stream)
        step = run.begin(start) if state is None else run.go_on(state)
        while step < len(betas) - 1:
            until = min(step + segment_steps(path, run.count), len(betas) - 1)
            run.advance(step, until)
            step = until
            keep(run.state(step))
            tick(step)
        v, slope, log_weight, _ = run.state(step)
    return AISState(v.float()[run.rows], slope[run.rows], log_weight[run.rows], step)


class Chains:
    """Whole blocks of chains, of which some are asked for: side by side on a CPU, all in one block elsewhere."""

    def __init__(self, path: Path, betas: Tensor, chains: Sequence[int], seed: int, stream: str):
        self.path = path
        numbers = sorted({chain // BLOCK for chain in chains})
        ids = [number * BLOCK + position for number in numbers for position in range(BLOCK)]
        self.rows = torch.tensor([numbers.index(chain // BLOCK) * BLOCK + chain % BLOCK for chain in chains])
        keys = torch.tensor([key(seed, "annealing", stream, chain) for chain in ids])
        self.count, self.size = len(ids), BLOCK if path.device.type == "cpu" else len(ids)
        block = _Captured if path.device.type == "cuda" else _Block
        self.blocks = [block(path.block(self.size), betas, mine) for mine in keys.split(self.size)]

    def begin(self, start: Tensor | None) -> int:
        rows: Sequence[Tensor | None] = [None] * len(self.blocks)
        if start is not None:
            v = torch.zeros(self.count, self.path.shape[0])
            v[self.rows] = self.path.enter(start.to("cpu", torch.float32)).cpu()
            rows = v.to(self.path.device).split(self.size)
        for block, mine in zip(self.blocks, rows, strict=True):
            block.put(init(block.path, block.keys, mine))
        return 0

    def go_on(self, state: AISState) -> int:
        parts = [value.to(self.path.device).split(self.size) for value in (state.v.float(), *state[1:3])]
        for block, mine in zip(self.blocks, zip(*parts, strict=True), strict=True):
            v, slope, log_weight = (value.clone() for value in mine)
            block.put(AISState(v, slope, log_weight, int(state.step)))
        return int(state.step)

    def advance(self, step: int, until: int) -> None:
        workers = min(default_workers(), len(self.blocks))
        for _ in map_images(lambda block: block.advance(step, until), self.blocks, workers):
            pass

    def state(self, step: int) -> AISState:
        """Of all blocks, on the CPU."""
        parts = zip(*(block.state[:3] for block in self.blocks), strict=True)
        v, slope, log_weight = (torch.cat(part).cpu() for part in parts)
        return AISState(v.to(self.path.machine.visible.stored), slope, log_weight, step)


class _Block:
    """Chains that move together."""

    state: AISState

    def __init__(self, path: Path, betas: Tensor, keys: Tensor):
        self.path, self.betas, self.keys = path, betas.tolist(), keys.to(path.device)

    def put(self, state: AISState) -> None:
        self.state = state

    def advance(self, step: int, until: int) -> None:
        for now in range(step + 1, until + 1):
            self.state = kernel(self.path, self.state, self.betas[now - 1], self.betas[now], self.keys)


class _Captured(_Block):
    """On CUDA: the step works in place, driven by tensors alone, and is captured once as a graph and replayed, so that
    launching its hundred small kernels doesn't dominate."""

    graph: "torch.cuda.CUDAGraph | None" = None

    def put(self, state: AISState) -> None:
        step = torch.full((), state.step, dtype=torch.int64, device=self.path.device)
        self.there = torch.tensor(self.betas, dtype=torch.float64).to(self.path.device)
        v, slope, log_weight = (value.contiguous().clone() for value in state[:3])
        self.state = AISState(v, slope, log_weight, step)

    def advance(self, step: int, until: int) -> None:
        if self.graph is None:
            before = [value.clone() for value in self.state]
            self.graph = captured(self.step)
            self._become(before)
        for _ in range(step, until):
            self.graph.replay()

    def step(self) -> None:
        """A step in place."""
        at = torch.stack((self.state.step, self.state.step + 1))
        old, new = self.there.index_select(0, at).unbind()  # an index of no dimensions would be looked at by the host
        self._become(kernel(self.path, self.state, old, new, self.keys))

    def _become(self, after: Sequence[Tensor]) -> None:
        for value, moved in zip(self.state, after, strict=True):
            value.copy_(moved)


def segment_steps(path: Path, rows: int) -> int:
    """Steps between two looks at the clock and at signals."""
    visible, hidden = path.shape
    return max(1, min(200, int(SEGMENT_OPERATIONS / (4.0 * rows * visible * hidden))))
