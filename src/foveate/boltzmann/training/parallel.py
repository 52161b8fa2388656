"""Several processes that learn one machine together, as `torchrun` starts them: rows and chains dealt out, sums shared.

Every process holds the whole machine and all the data. In a step each takes its share of the batch's rows and of the
chains, and one all-reduce adds up the statistics, so that all take the same step. Rows and chains keep their numbers,
which key their random numbers: how many processes there are changes nothing but rounding.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is."""

    rank: int = 0  # from 0
    size: int = 1  # how many there are; with 1 nothing is sent anywhere

    def share(self, count: int, rank: int | None = None) -> slice:
        """The numbers of `count` rows or chains that are this process's (or another's): a run of neighbours."""
        rank = self.rank if rank is None else rank
        return slice(rank * count // self.size, (rank + 1) * count // self.size)

    def total(self, values: Tensor) -> None:
        """Add up over all processes, in place; every process gets the same bits."""
        if self.size > 1:
            dist.all_reduce(values)

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Take over what the first process holds, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def whole(self, mine: Shaped[Tensor, "mine *rest"], count: int) -> Shaped[Tensor, "count *rest"]:
        """All `count` rows, in the order of their numbers, from everyone's share of them."""
        if self.size == 1:
            return mine
        padded = mine.new_zeros(-(-count // self.size), *mine.shape[1:])  # shares differ by one row at most
        padded[: len(mine)] = mine
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        lengths = [len(range(count)[self.share(count, rank)]) for rank in range(self.size)]
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])


ALONE = Processes()


def join(backend: str | None = None) -> Processes:
    """This process among those that `torchrun` started, by NCCL where there is a GPU; alone if started by hand."""
    if "WORLD_SIZE" not in os.environ:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group(backend or ("nccl" if torch.cuda.is_available() else "gloo"))
    return Processes(dist.get_rank(), dist.get_world_size())
