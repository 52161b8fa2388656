"""Which epoch of a layer is kept: the one that explains what it was never trained on best.

Of the variational bound of a deep belief network,

    E_q[log p(v | h1)] + H(q) + E_q[log p*(h1)] - log Z,

the second layer decides about the last two terms alone; the first layer by itself has the density log p*(v) - log Z. In
both, p* and Z are a machine's own and what it sees is held out: draws of h1, or patches. log Z is in closed form or
estimated by a short annealing with the same random numbers each time, at the start and at some epochs. The epoch of the
highest estimate is kept, which may be the start. (So short an annealing tells apart what differs by tens of nats, not
by a few; it is low on average, more so the worse a machine mixes.)
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.bracket import forward_log_z
from foveate.boltzmann.machine import Machine
from foveate.runtime.progress import Progress

PREFIX = "best."
CHAINS = 50  # a whole block of them


def held_out_gain(
    machine: Machine, data: Float[Tensor, "n visible"], temperatures: int, seed: int, progress: Progress | None = None
) -> float:
    """E[log p*(data)] - log Z, nats."""
    if (log_z := machine.log_z_closed()) is None:
        how = (CHAINS, temperatures, "linear", seed, "selection", progress, "held-out bound")
        log_z = forward_log_z(machine, data, *how).log_z
    return float(-machine.free_energy(data).double().mean() - log_z)


class Selection:
    """The best of the epochs that were looked at.

    Args:
        data: Held-out data of the machine.
        epochs: How many there will be.
        looks: How many are looked at, the last among them, beside the start; 0 keeps the last without a look.
        temperatures, seed, progress: Of each annealing.
        kept: A checkpoint's tensors and meta to go on from.
    """

    def __init__(
        self,
        data: Float[Tensor, "n visible"],
        epochs: int,
        looks: int,
        temperatures: int,
        seed: int,
        kept: tuple[Mapping[str, Tensor], Mapping[str, Any]] | None = None,
        progress: Progress | None = None,
    ):
        self._data, self._how = data, (temperatures, seed, progress)
        self._at = {round(epochs * look / looks) for look in range(looks + 1)} if looks and epochs else set()
        self.gain = -float("inf")
        self._best: dict[str, Tensor] = {}
        if kept is not None and "gain" in kept[1]:
            self.gain = float(kept[1]["gain"])
            self._best = {n.removeprefix(PREFIX): t for n, t in kept[0].items() if n.startswith(PREFIX)}

    def look(self, machine: Machine, epoch: int) -> dict[str, float]:
        """Figures for the log where this epoch is looked at, else none; the machine is remembered if it is the best."""
        if epoch not in self._at:
            return {}
        gain = held_out_gain(machine, self._data, *self._how)
        if gain > self.gain:
            self.gain, self._best = gain, {name: t.detach().clone() for name, t in machine.state_dict().items()}
        return {"held_out_gain": gain}

    def state(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Tensors and meta for a checkpoint."""
        best = {PREFIX + name: tensor for name, tensor in self._best.items()}
        return best, {"gain": self.gain} if best else {}

    def keep(self, machine: Machine) -> None:
        """Put the best into the machine, if any was looked at."""
        if self._best:
            machine.load_state_dict(self._best)
