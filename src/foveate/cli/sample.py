"""`foveate sample`: patches drawn from the patch model."""

import math
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from foveate.cli.options import Common, Count, print_figures, progress, whole
from foveate.errors import BadInput
from foveate.storage.files import write_atomic
from foveate.storage.run import Run

ENLARGED = 3  # pixels of the picture per pixel of a patch, each way
SWEEPS = 20  # Gibbs steps between two looks at whether to stop


def sample(
    run: str,
    /,
    *,
    out: str,
    count: Annotated[int, Parameter(converter=whole, validator=Number(gte=1, lte=100_000))] = 64,
    steps: Count = 1000,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """Draw samples from the patch model and write them as one image.

    Args:
        run: A RUN folder; only its gdbn.safetensors is needed.
        out: PNG file to write.
        count: Number of samples.
        steps: Gibbs steps in the top RBM before the pass down.
    """
    path = Run.open(run, needs=("gdbn.safetensors",)).path / "gdbn.safetensors"
    from foveate.boltzmann.dbn import GaussianDBN
    from foveate.report.pictures import wall
    from foveate.runtime.random import generator

    device = common.torch_device()
    model = GaussianDBN.load(path).to(device)
    side = math.isqrt(model.grbm.W.shape[0] // 3)
    if 3 * side * side != model.grbm.W.shape[0]:
        raise BadInput(f"{path}: D = {model.grbm.W.shape[0]} is not a square colour patch, so it can't be drawn")
    rng = generator(common.seed or 0, "sample", device=device)
    h1 = model.sample_h1(count, rng, 0)
    with progress().phase("sample", total=steps) as tick:
        for done in range(0, steps, SWEEPS):
            tick(done)
            h1 = model.sample_h1(count, rng, min(SWEEPS, steps - done), start=h1)
    pixels = model.to_pixels(model.grbm.visible_mean(h1)).reshape(count, 3, side, side)
    picture = wall(pixels, math.ceil(math.sqrt(count)), scale=ENLARGED)
    write_atomic(out, lambda handle: picture.save(handle, format="PNG"))
    if common.json:
        print_figures({"out": out, "count": count, "steps": steps}, as_json=True)
