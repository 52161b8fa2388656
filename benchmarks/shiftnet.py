"""ShiftNet on a processor: a training step and a forward pass, ours beside torch's own settings and the floor.

Claim: a training step takes at most 1.3 times the best of torch's own settings, bfloat16 by autocast among them where
the processor has it. Measured in turns in one process, medians; the floor is the network's multiplications at the speed
that torch multiplies large matrices with here, in the numbers that the network multiplies in.

    python benchmarks/shiftnet.py [--threads 1]
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from figures import Claim, Figures, parser
from torch import Tensor

from foveate.attention.shiftnet import ShiftNet
from foveate.runtime.devices import keep_large_blocks
from foveate.runtime.precision import look_dtype
from foveate.training.networks import Recipe, init, train_step
from foveate.training.settings import ShiftNetSettings
from foveate.training.shiftnet import pair_loss

BATCH = 128
FORWARD = 2.0 * BATCH * (2352 * 66 * 66 + 1200 * 22 * 22 + 7_929_856 + 4096)  # operations
STEP = FORWARD + 2.0 * BATCH * (2352 * 66 * 66 + 1200 * 22 * 22 + 2 * (7_929_856 + 4096))


def plainly(net: ShiftNet, context: Tensor, v: Tensor) -> Tensor:
    """The table as written: rectify, then pool; torch's default layout."""
    seen = F.max_pool2d(F.relu(net.look(context - context.mean((1, 2, 3), keepdim=True))), 3)
    expected = F.relu(net.expect(v))
    return net.shift(F.relu(net.combine((seen * expected).flatten(1))))


def pooled(net: ShiftNet, context: Tensor, v: Tensor) -> Tensor:
    """Pooled first, in float32."""
    seen = F.relu(F.max_pool2d(net.look(context - context.mean((1, 2, 3), keepdim=True)), 3))
    return net.shift(F.relu(net.combine((seen * F.relu(net.expect(v))).flatten(1))))


def cast(net: ShiftNet, context: Tensor, v: Tensor) -> Tensor:
    """The same, its products in bfloat16 by torch's autocast."""
    with torch.autocast("cpu", torch.bfloat16):
        return pooled(net, context, v).float()


def stepper(net: ShiftNet, forward: Callable[..., Tensor], context: Tensor, v: Tensor) -> Callable[[], None]:
    """One step of torch's own SGD with momentum and clipping."""
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        loss = forward(net, context, v).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()

    return step


def in_turns(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, one after the other in every round."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(rounds + 1):
        for name, call in work.items():
            begun = time.perf_counter()
            call()
            if round_number:
                times[name].append(1000 * (time.perf_counter() - begun))
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--threads", type=int, default=1)
    options = asked.parse_args()
    threads, rounds, figures = options.threads, 1 if options.quick else 7, Figures("shiftnet", options.json)
    torch.set_num_threads(threads)
    keep_large_blocks()
    rng = torch.Generator().manual_seed(0)
    context, v = torch.rand(BATCH, 3, 72, 72, generator=rng), torch.randn(BATCH, 3, 24, 24, generator=rng)
    delta, settings = torch.randn(BATCH, 4, generator=rng), ShiftNetSettings()
    recipe = Recipe.sgd(settings.steps, settings.rate, settings.warm_up, settings.decay)
    net = ShiftNet().channels_last()
    net.reset(rng)
    state = init(net, recipe)
    plain = ShiftNet()
    channels, halved = (ShiftNet().channels_last() for _ in range(2))
    dtype = look_dtype(torch.device("cpu"))
    square = torch.rand(1536, 1536).to(dtype)
    gemm = in_turns({"gemm": lambda: square @ square}, rounds)["gemm"]
    per_millisecond = 2 * 1536**3 / gemm
    step = in_turns(
        {
            "ours": lambda: train_step(state, pair_loss(net(context, v), delta, settings), recipe, "ShiftNet"),
            "torch, as written": stepper(plain, plainly, context, v),
            "torch, channels last, pooled first": stepper(channels, pooled, context, v),
            "the same, autocast to bfloat16": stepper(halved, cast, context, v),
        },
        rounds,
    )
    still = state.average.module
    with torch.inference_mode():
        look = {
            "ours": lambda: still(context, v),
            "torch, as written": lambda: plainly(plain, context, v),
            "torch, channels last, pooled first": lambda: pooled(channels, context, v),
            "the same, autocast to bfloat16": lambda: cast(halved, context, v),
        }
        forward = in_turns(look, rounds)
    numbers = str(dtype).removeprefix("torch.")
    floor = f"multiplications at {per_millisecond / 1e6:.0f} GFLOP/s, {numbers} (floor)"
    best = min((name for name in step if name != "ours"), key=lambda name: step[name])
    for title, times, operations in (("a training step", step, STEP), ("a forward pass", forward, FORWARD)):
        figures.table(
            f"{title} of ShiftNet: batch {BATCH}, {threads} thread(s), medians of {rounds}",
            "ms",
            {floor: operations / per_millisecond, **times},
            ours="ours",
            floor=floor,
            claims=[Claim("ours", "at most", 1.3, best)] if times is step else [],
        )
    figures.close()


if __name__ == "__main__":
    main()
