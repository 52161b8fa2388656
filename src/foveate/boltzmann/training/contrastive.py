"""Contrastive divergence and its persistent kin, as `(state, batch) -> (state, info)`.

The gradient of the log-likelihood is <.>_data - <.>_model; the methods differ in where the model's samples come from:
- `contrastive_divergence` (Hinton 2002): chains start at the batch and take k sweeps;
- `persistent` (Tieleman 2008): chains go on from where the last step left them;
- `fast_persistent` (Tieleman, Hinton 2009): they are driven by slow + fast weights, which learn from the same gradient
  at a larger rate of their own and fade, so that chains leave where they have been; the slow ones alone are learned.

A step reuses the tensors of the state it is given (as JAX's donated arguments): clone what you want to keep. Several
processes take it together (`parallel`): each is given the whole batch and works on its share of rows and chains.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.draws import Numbered
from foveate.boltzmann.machine import Machine
from foveate.boltzmann.training.ascent import CDInfo, Offsets, Samples
from foveate.boltzmann.training.parallel import ALONE, Processes
from foveate.boltzmann.training.settings import Rule
from foveate.boltzmann.units import Visible
from foveate.errors import NotFinite
from foveate.runtime.random import draw_key

LARGEST = 1e4  # A parameter beyond this, times the size of the data where that is above 1, has exploded


class Diverged(NotFinite):
    """Learning left the finite numbers and was stopped.

    `quantity` is the name of the parameter that went first, `step` when it did.
    """

    def __init__(self, quantity: str, step: int, layer: str):
        super().__init__(
            f"learning of {layer} diverged at step {step}: {quantity} went first; the last good weights were kept "
            f"(try a smaller learning rate)"
        )
        self.quantity, self.step = quantity, step


class CDState(NamedTuple):
    """Everything that a step changes; `to_tensors` and `from_tensors` take it to a file and back."""

    machine: Any  # what is learned
    velocity: Any  # its parameters' last change, in a machine of the same kind
    fast: Any | None  # the fast weights likewise, or None until `fast_persistent` is first used
    average: Any  # the averaged parameters likewise
    offsets: Offsets  # what the gradient is centred at
    hidden: Float[Tensor, "chains hidden"]  # the persistent chains, of which this process has its share
    seed: int  # key of all random numbers
    step: int  # steps taken
    n_chains: int  # persistent chains over all processes
    size: float  # root mean square of the data at the start, at least 1


Stepped = tuple[CDState, CDInfo]


def init(machine: Machine, data: Visible, chains: int, seed: int, processes: Processes = ALONE) -> CDState:
    """The state from which learning starts, at some data: chains at its rows, offsets at its means.

    The machine, the first process's, is left as it is; `chains` counts those of all processes.

    Raises:
        BadInput: The machine doesn't take the data.
    """
    data = machine.rows(data)
    learned = machine.like()
    processes.agree(learned.parameters())
    velocity, average = learned.like(0.0), learned.like()
    offsets, size = learned.ascent.offsets(learned, data), max(1.0, float(data.square().mean().sqrt()))
    nothing = data.new_empty(0, machine.n_hidden)
    state = CDState(learned, velocity, None, average, offsets, nothing, seed, 0, chains, size)
    mine = processes.share(chains)  # each begins at the row of its number
    rows = torch.arange(mine.start, mine.stop, device=data.device) % len(data)
    return state._replace(hidden=learned.draw_hidden(data[rows], Numbered(draw_key(seed, -1, 0), mine.start)))


def gather(state: CDState, processes: Processes) -> CDState:
    """The state with every process's chains, as a checkpoint keeps it."""
    return state._replace(hidden=processes.whole(state.hidden, state.n_chains))


def scatter(state: CDState, processes: Processes) -> CDState:
    """The way back: the state with this process's share of the chains."""
    mine = processes.share(state.n_chains)
    return state._replace(hidden=state.hidden[mine].clone())  # aligned as chains are that were drawn: the same bits


_PARTS = {"parameters": "machine", "velocity": "velocity", "fast": "fast", "average": "average"}


def to_tensors(state: CDState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A whole state as named tensors and what JSON holds, for a checkpoint; `from_tensors` is the way back."""
    tensors = {"hidden": state.hidden, **dict(zip(("mu", "offset_h"), state.offsets, strict=False))}
    for part, field in _PARTS.items():
        held = getattr(state, field)
        if held is not None:
            tensors |= {f"{part}.{name}": value for name, value in held.state_dict().items()}
    return tensors, {"seed": state.seed, "step": state.step, "size": state.size}


def from_tensors(machine: Machine, tensors: dict[str, Tensor], meta: dict[str, Any]) -> CDState:
    """The state that `to_tensors` took apart, of a machine of the same kind and sizes."""
    parts: dict[str, Any] = {"fast": None}
    for part, field in _PARTS.items():
        mine = {name: tensors.get(f"{part}.{name}") for name in machine.state_dict()}
        if None not in mine.values():
            parts[field] = machine.like()
            parts[field].load_state_dict(mine)
    offsets, hidden = tuple(tensors[name] for name in ("mu", "offset_h") if name in tensors), tensors["hidden"]
    given = {name: meta[name] for name in ("seed", "step", "size")}
    return CDState(**parts, **given, offsets=offsets, hidden=hidden, n_chains=len(hidden))


def contrastive_divergence(state: CDState, batch: Visible, rule: Rule, processes: Processes = ALONE) -> Stepped:
    """CD-k: the chains start at the batch's own hidden units."""
    mine = processes.share(len(batch))
    rows = batch[mine]
    mean = rows.new_empty(len(rows), state.machine.n_hidden)
    start = state.machine.draw_hidden(rows, Numbered(draw_key(state.seed, state.step, 0), mine.start), mean)
    v, h_mean, h = _sweeps(state.machine, start, rule.sweeps, state, mine.start)
    samples = Samples(rows, mean, v, h_mean, start, h, len(batch), len(batch))
    return _learn(state, samples, state.hidden, rule, processes)


def persistent(state: CDState, batch: Visible, rule: Rule, processes: Processes = ALONE) -> Stepped:
    """PCD: the chains go on from where they are."""
    return _persist(state, state.machine, batch, rule, processes)


def fast_persistent(state: CDState, batch: Visible, rule: Rule, processes: Processes = ALONE) -> Stepped:
    """Fast PCD: as `persistent`, with chains driven by slow + fast weights."""
    fast = state.fast or state.machine.like(0.0)
    pairs = zip(state.machine.named_parameters(), fast.parameters(), strict=True)
    driven = state.machine.holding({name: slow + added for (name, slow), added in pairs})
    return _persist(state._replace(fast=fast), driven, batch, rule, processes)


METHODS: dict[str, Callable[..., Stepped]] = {
    "cd": contrastive_divergence,
    "pcd": persistent,
    "fast_pcd": fast_persistent,
}


def _persist(state: CDState, driving: Machine, batch: Tensor, rule: Rule, processes: Processes) -> Stepped:
    rows = batch[processes.share(len(batch))]
    mean = state.machine.hidden_mean(rows)
    first = processes.share(state.n_chains).start
    v, h_mean, h = _sweeps(driving, state.hidden, rule.sweeps, state, first)
    samples = Samples(rows, mean, v, h_mean, state.hidden, h, len(batch), state.n_chains)
    return _learn(state, samples, h, rule, processes)


def _sweeps(machine: Machine, h: Tensor, count: int, state: CDState, first: int) -> tuple[Tensor, Tensor, Tensor]:
    """`count` Gibbs sweeps of chains numbered from `first`: the last v, the mean and a draw of h given it."""
    v, mean = h, torch.empty_like(h)
    for sweep in range(count):
        down, up = (Numbered(draw_key(state.seed, state.step, 2 * sweep + draw), first) for draw in (1, 2))
        v = machine.draw_visible(h, down)
        h = machine.draw_hidden(v, up, mean if sweep == count - 1 else None)
    return v, mean, h


def _learn(state: CDState, samples: Samples, hidden: Tensor, rule: Rule, processes: Processes) -> Stepped:
    """A step up from samples of (v, E[h | v]) under data and model."""
    offsets, info = state.machine.ascent.learn(state, samples, rule, processes)
    after = state._replace(offsets=offsets, hidden=hidden, step=state.step + 1)
    return after, info._replace(failed=_failed(state, info.change))


def _failed(state: CDState, change: float) -> str:
    """The first parameter that is out of bounds; matrices, which fail last in practice, show in the change."""
    largest = LARGEST * state.size
    for name, value in reversed(list(state.machine.named_parameters())):
        if value.ndim == 1 and not float(value.abs().max()) < largest:
            return name
    return "" if change < largest else "W"
