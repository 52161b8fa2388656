"""Claims about how contexts are changed."""

import torch

from foveate.runtime.random import uniform_array
from foveate.training.appearance import recolour
from foveate.training.settings import AppearanceSettings

PLAIN = AppearanceSettings(coarse=0.0, grey=0.0, gain=0.0, tint=0.0, bias=0.0)


def test_light_changes_contrast_tint_brightness_and_noise_by_its_formula():
    """y = (x - mean) gain + mean + bias + noise (U - 1/2), of counted numbers U, as on a device."""
    how, x = AppearanceSettings(coarse=0.0, grey=0.0), torch.rand(6, 3, 12, 12)
    rng = torch.Generator().manual_seed(5)
    torch.rand(3, 6, generator=rng)
    gain = how.gain * torch.randn(6, 1, 1, 1, generator=rng) + how.tint * torch.randn(6, 3, 1, 1, generator=rng)
    bias = how.bias * torch.randn(6, 1, 1, 1, generator=rng)
    noise = 12**0.5 * how.noise * torch.rand(6, 1, 1, 1, generator=rng)
    low, high = torch.randint(2**32, (2,), generator=rng).tolist()
    mean = x.mean((1, 2, 3), keepdim=True)
    expected = (x - mean) * gain.exp() + mean + bias + noise * (uniform_array((6, 3, 12, 12), (low, high)) - 0.5)
    torch.testing.assert_close(recolour(x.clone(), how, torch.Generator().manual_seed(5)), expected)


def test_noise_alone_leaves_means_and_differs_from_pixel_to_pixel_and_context_to_context():
    x = torch.full((200, 3, 24, 24), 0.5)
    added = recolour(x.clone(), PLAIN, torch.Generator().manual_seed(0)) - x
    sizes = added.std((1, 2, 3))
    assert abs(float(added.mean())) < 1e-3 and float(sizes.max()) <= PLAIN.noise * 1.05 and float(sizes.std()) > 0
    rows = added.flatten(1)[sizes > sizes.median()]
    alike = torch.corrcoef(rows) - torch.eye(len(rows))
    assert float(alike.abs().max()) < 0.15, "of 1,728 numbers each"
