"""From what a gaze sees to the canonical image v that the patch model makes of it.

Given the glimpse x and the first hidden layer, v | h1, u, I ~ N((mu(h1) + x) / 2, sigma^2 / 2) with mu(h1) = b + W h1
(Tang, Srivastava & Salakhutdinov 2014). The network that moves the gaze is shown the mean of it, with h1 at its mean
given v = x:

    v = (mu(E[h1 | x]) + x) / 2.

Far from the object mu is what the model can make of the clutter; near it, the object itself.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN
from foveate.runtime.precision import look_dtype
from foveate.scenes.glimpse import PATCH_SIZE


def canonical_image(gdbn: GaussianDBN) -> Callable[[Float[Tensor, "n 3 24 24"]], Float[Tensor, "n 3 24 24"]]:
    """The function from glimpses in [0, 1] to v; its weights are folded once, in the type of a look's products.

    E[h1 | x] = sigmoid(c + W^T (x / sigma^2)).
    """
    grbm = gdbn.grbm
    dtype = look_dtype(grbm.W.device)
    up = (grbm.W / torch.exp(2 * grbm.log_sigma)[:, None]).to(dtype).contiguous()
    down = grbm.W.T.to(dtype).contiguous()
    b, c = grbm.b.to(dtype), grbm.c.to(dtype)

    def canonical(glimpse: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n 3 24 24"]:
        x = gdbn.standardise(glimpse)
        hidden = torch.sigmoid(torch.addmm(c, x.to(dtype), up))
        v = (torch.addmm(b, hidden, down).float() + x) / 2
        return v.view(-1, 3, PATCH_SIZE, PATCH_SIZE)

    return canonical
