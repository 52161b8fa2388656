"""Chains that anneal: whole blocks of them at a time, the same whatever they run beside and wherever they stopped.

On a CPU a block moves by torch's products and numba's passes, blocks side by side on threads; elsewhere all chains move
by the plain step, captured as a graph where there is CUDA.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.fused import binary_visible_pass, gaussian_visible_pass, hidden_pass
from foveate.boltzmann.log_z.path import AnnealingPath
from foveate.boltzmann.log_z.reference import PlainChains, captured_step, plain_step, visible_step
from foveate.errors import BadInput
from foveate.runtime.full_precision import full_precision
from foveate.runtime.random import key
from foveate.runtime.workers import default_workers, map_images, one_thread_each

BLOCK = 50
"""Chains that move together. A chain has its place in its block whatever else runs: the last bits of a matrix product
may depend on the shape and on the place of a row, so both are always the same."""

SEGMENT_OPERATIONS = 1.5e10
"""Of matrix products between two looks at the clock and at signals: a third of a second of one core, or less."""

TRACE_POINTS = 100
"""Steps at which the log weights are kept for plotting."""


class State(NamedTuple):
    """Where a run of annealing is; all that going on with it needs.

    Attributes:
        v: [n, V] visible states, float32 (uint8 where binary).
        slope: [n] float64, the visible part of d log p*_beta(v) / d beta.
        log_weight: [n] float64.
        trace: [n, points] float64, log weights at the trace's steps so far (zeros after).
        step: [] int64, index of the beta that the chains are at.
    """

    v: Tensor
    slope: Tensor
    log_weight: Tensor
    trace: Tensor
    step: Tensor


class Annealed(NamedTuple):
    """What a run of annealing gives.

    Attributes:
        log_weights: [n] float64, of the chains asked for, in their order.
        v: [n, V] their last visible states.
        trace_betas: [points] inverse temperatures of the trace.
        trace: [n, points] log weights on the way.
    """

    log_weights: Float[Tensor, " n"]
    v: Float[Tensor, "n visible"]
    trace_betas: Float[Tensor, " points"]
    trace: Float[Tensor, "n points"]


def anneal(
    path: AnnealingPath,
    betas: Float[Tensor, " steps"],
    chains: Sequence[int],
    seed: int,
    stream: str,
    start: Float[Tensor, "n visible"] | None = None,
    state: State | None = None,
    tick: Callable[[int], None] = lambda done: None,
    keep: Callable[[State], None] = lambda state: None,
) -> Annealed:
    """Move chains along `betas`, up or down, and gather their log weights.

    Args:
        path: The family of distributions.
        betas: Inverse temperatures in the order in which they are visited.
        chains: Ids of the chains, ascending. A chain's numbers depend on (seed, stream, id) alone.
        seed: Of all random numbers.
        stream: What the chains are for; other names give other numbers.
        start: [n, V] states distributed as p at betas[0]; without it the path's base is drawn from (betas[0] must be
            0).
        state: Where an earlier run of the same call stopped.
        tick: Called with the number of steps done, about every 0.1 to 1 s; it may raise to stop the run.
        keep: Called just before it with the state from which to go on.

    Returns:
        Log weights without the base's log Z.

    Raises:
        BadInput: No chains, or their ids don't ascend, or no start where one is needed.
    """
    _check(betas, chains, start)
    with full_precision(), one_thread_each(), torch.no_grad():
        runner = Runner(path, betas, chains, seed, stream)
        step = runner.begin(start) if state is None else runner.go_on(state)
        while step < len(betas) - 1:
            until = min(step + segment_steps(path, len(runner.v)), len(betas) - 1)
            runner.advance(step, until)
            step = until
            keep(runner.state(step))
            tick(step)
        return runner.result()


def _check(betas: Tensor, chains: Sequence[int], start: Tensor | None) -> None:
    if not len(chains) or any(b <= a for a, b in itertools.pairwise(chains)) or chains[0] < 0:
        raise BadInput(f"chains = {list(chains)[:5]}...: expected ascending ids, at least one")
    if start is None and float(betas[0]) != 0:
        raise BadInput("chains that don't begin at beta = 0 need states to start from")


class Runner:
    """Whole blocks of chains, of which some are asked for; on a CPU fused, on a GPU one captured step."""

    def __init__(self, path: AnnealingPath, betas: Tensor, chains: Sequence[int], seed: int, stream: str):
        self.path, self.betas = path, betas
        numbers = sorted({chain // BLOCK for chain in chains})
        place = {number: BLOCK * index for index, number in enumerate(numbers)}
        self.rows = torch.tensor([place[chain // BLOCK] + chain % BLOCK for chain in chains])
        ids = [number * BLOCK + position for number in numbers for position in range(BLOCK)]
        keys = np.array([key(seed, "annealing", stream, chain) for chain in ids], np.uint64)
        self.points = trace_steps(len(betas) - 1)
        shape = (len(ids), path.W.shape[0])
        self.v = torch.zeros(shape)
        self.slope = torch.zeros(len(ids), dtype=torch.float64)
        self.log_weight = torch.zeros(len(ids), dtype=torch.float64)
        self.trace = torch.zeros((len(ids), len(self.points)), dtype=torch.float64)
        if path.W.device.type == "cpu":
            transposed = path.W.T.contiguous()
            self.parts: list[_FusedBlock | _PlainBlock] = [
                _FusedBlock(self, slice(first, first + BLOCK), keys[first : first + BLOCK], transposed)
                for first in range(0, len(ids), BLOCK)
            ]
        else:
            self.parts = [_PlainBlock(self, slice(0, len(ids)), keys)]

    def begin(self, start: Tensor | None) -> int:
        if start is not None:
            self.v[self.rows, : start.shape[1]] = start.to("cpu", torch.float32)
        for part in self.parts:
            part.begin(drawn=start is None)
        return 0

    def go_on(self, state: State) -> int:
        for mine, theirs in ((self.v, state.v), (self.slope, state.slope), (self.log_weight, state.log_weight)):
            mine.copy_(theirs)
        self.trace.copy_(state.trace)
        for part in self.parts:
            part.load()
        return int(state.step)

    def advance(self, step: int, until: int) -> None:
        workers = min(default_workers(), len(self.parts))
        for _ in map_images(lambda part: part.advance(step, until), self.parts, workers):
            pass

    def state(self, step: int) -> State:
        v = self.v if self.path.precision_base is not None else self.v.to(torch.uint8)
        return State(v.clone(), self.slope.clone(), self.log_weight.clone(), self.trace.clone(), torch.tensor(step))

    def result(self) -> Annealed:
        return Annealed(
            log_weights=self.log_weight[self.rows],
            v=self.v[self.rows, : self.path.n_visible],
            trace_betas=self.betas[self.points],
            trace=self.trace[self.rows],
        )


def segment_steps(path: AnnealingPath, rows: int) -> int:
    """Steps between two looks at the clock and at signals."""
    return max(1, min(200, int(SEGMENT_OPERATIONS / (4.0 * rows * path.W.numel()))))


def trace_steps(last: int) -> Tensor:
    """The steps, of `last`, at which log weights are kept."""
    return torch.linspace(0, last, min(TRACE_POINTS, last) + 1, dtype=torch.float64).round().long()


class _FusedBlock:
    """Some rows of a runner, moved by torch's products and numba's passes."""

    def __init__(self, runner: Runner, rows: slice, keys: np.ndarray, transposed: Tensor):
        path = runner.path
        self.path, self.keys, self.transposed = path, keys, transposed
        self.v, self.trace = runner.v[rows], runner.trace[rows]
        self.slope, self.log_weight = runner.slope[rows].numpy(), runner.log_weight[rows].numpy()
        self.betas, self.points = runner.betas.numpy(), {int(step): i for i, step in enumerate(runner.points)}
        self.product = torch.zeros(len(self.v), path.W.shape[1])
        self.hidden = torch.zeros(len(self.v), path.W.shape[1])
        self.beta = np.zeros(len(self.v), np.float32)
        self.c = path.c_base.numpy(), path.c_change.numpy()
        if path.precision_base is None or path.precision_change is None:
            self.visible_pass: Callable[..., None] = binary_visible_pass
            parameters: tuple[Tensor, ...] = (path.b_base, path.b_change)
        else:
            self.visible_pass = gaussian_visible_pass
            parameters = (path.b_base, path.b_change, path.precision_base, path.precision_change)
        self.parameters = tuple(value.numpy() for value in parameters)

    def begin(self, drawn: bool) -> None:
        if drawn:
            self.visible_pass(self.v.numpy(), *self.parameters, self.beta, 0, self.keys, self.slope)
        else:
            self.slope[:] = _slope(self.path, self.v).numpy()

    def load(self) -> None:
        """Nothing to do: the block works on the runner's own memory."""

    def advance(self, step: int, until: int) -> None:
        v, product, hidden = self.v, self.product, self.hidden
        v_rows, product_rows, hidden_rows = v.numpy(), product.numpy(), hidden.numpy()
        for now in range(step + 1, until + 1):
            self.log_weight += (self.betas[now] - self.betas[now - 1]) * self.slope
            torch.mm(v, self.path.W, out=product)
            hidden_pass(product_rows, *self.c, self.betas, now, self.keys, hidden_rows, self.log_weight)
            torch.mm(hidden, self.transposed, out=v)
            self.beta.fill(self.betas[now])
            self.visible_pass(v_rows, *self.parameters, self.beta, now, self.keys, self.slope)
            if now in self.points:
                self.trace[:, self.points[now]] = torch.from_numpy(self.log_weight)


class _PlainBlock:
    """All rows of a runner on a device, moved by the plain step, captured as a graph where there is CUDA."""

    def __init__(self, runner: Runner, rows: slice, keys: np.ndarray):
        self.runner, self.path = runner, runner.path
        device = runner.path.W.device
        self.betas = runner.betas.to(device)
        self.keys = torch.from_numpy(keys.view(np.int64)).to(device)
        zeros = torch.zeros(len(keys), dtype=torch.float64, device=device)
        counter = torch.zeros((), dtype=torch.int64, device=device)
        self.chains = PlainChains(runner.v.to(device), zeros, zeros.clone(), counter)
        self.graph: torch.cuda.CUDAGraph | None = None

    def begin(self, drawn: bool) -> None:
        self.load()
        if drawn:
            visible_step(self.path, torch.zeros_like(self.chains.v), self.betas[0], self.keys, self.chains)
        else:
            self.chains.slope.copy_(_slope(self.path, self.chains.v))
        self._save()

    def load(self) -> None:
        self.chains.v.copy_(self.runner.v)
        self.chains.slope.copy_(self.runner.slope)
        self.chains.log_weight.copy_(self.runner.log_weight)

    def advance(self, step: int, until: int) -> None:
        self.chains.step.fill_(step)
        if self.graph is None and self.path.W.device.type == "cuda":
            self.graph = captured_step(self.path, self.betas, self.keys, self.chains)
        points = {int(point): i for i, point in enumerate(self.runner.points)}
        for now in range(step + 1, until + 1):
            if self.graph is not None:
                self.graph.replay()
            else:
                plain_step(self.path, self.betas, self.keys, self.chains)
            if now in points:
                self.runner.trace[:, points[now]] = self.chains.log_weight.cpu()
        self._save()

    def _save(self) -> None:
        self.runner.v.copy_(self.chains.v)
        self.runner.slope.copy_(self.chains.slope)
        self.runner.log_weight.copy_(self.chains.log_weight)


def _slope(path: AnnealingPath, v: Tensor) -> Tensor:
    """The visible part of d log p*_beta(v) / d beta, in float64."""
    v = v.double()
    slope = v @ path.b_change.double()
    if path.precision_change is not None:
        slope = slope - 0.5 * v.square() @ path.precision_change.double()
    return slope
