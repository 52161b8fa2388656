"""Covered objects: which pixels show the object, exactly as the models have it, in lines and in Python."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import multivariate_t
from untrained import write_untrained

from foveate import load
from foveate.attention import occlusion
from foveate.attention.evidence import Background
from foveate.attention.occlusion import Occlusion
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.precision import PrecisionRBM
from foveate.cli import main as cli

D = 3 * 24 * 24


def pattern(seed):
    """A smooth patch of deviation 1."""
    rng = torch.Generator().manual_seed(seed)
    shown = torch.nn.functional.interpolate(torch.randn(1, 3, 6, 6, generator=rng), size=(24, 24), mode="bicubic")
    return (shown / shown.std()).flatten()


@pytest.fixture(scope="module")
def models():
    """An object that always looks the same but for noise, and a background of which anything may be."""
    gdbn = GaussianDBN(D, 4, 3)
    gdbn.grbm.b.copy_(pattern(0))
    gdbn.grbm.log_sigma.fill_(np.log(0.4))
    return gdbn, Background.normal(torch.zeros(D), torch.eye(D))


def covered(share, count=12):
    """The object with noise, a rectangle of another pattern over a share of it; and where it is to be seen."""
    rng = np.random.default_rng(0)
    seen = pattern(0) + 0.4 * torch.randn(count, D, generator=torch.Generator().manual_seed(1))
    seen, truth = seen.view(count, 3, 24, 24), torch.ones(count, 24, 24, dtype=torch.bool)
    for k in range(count if share else 0):
        w = int(rng.integers(12, 21))
        h = round(share * 24 * 24 / w)
        x, y = rng.integers(0, 25 - w), rng.integers(0, 25 - h)
        seen[k, :, y : y + h, x : x + w] = pattern(100 + k).view(3, 24, 24)[:, :h, :w]
        truth[k, y : y + h, x : x + w] = False
    return seen.flatten(1), truth


def test_the_mask_covers_what_a_rectangle_of_another_picture_covers(models):
    seen, truth = covered(0.4)
    mask = Occlusion.of(*models).visible(seen) > 0.5
    overlap = (mask & truth).sum((1, 2)) / (mask | truth).sum((1, 2))
    assert float(overlap.mean()) > 0.8 and float(overlap.min()) > 0.65
    assert float(Occlusion.of(*models).visible(covered(0.0)[0]).mean()) > 0.97


def test_the_probability_of_each_pixel_is_the_sum_over_all_covers():
    rng = np.random.default_rng(2)
    machines = []
    for _ in range(2):
        machine = PrecisionRBM(D, 1, torch.zeros(D, dtype=torch.int64), 1, 1)
        machine.mean.copy_(torch.from_numpy(0.1 * rng.normal(size=D)))
        machine.whiten.copy_(torch.eye(D) + torch.from_numpy(0.3 * rng.normal(size=(D, D)) / D**0.5))
        machines.append(machine)
    ours = Occlusion.of_moments(*(machine.moments() for machine in machines))
    v = torch.from_numpy(rng.normal(size=(1, D))).float()

    def cells(values):
        return values.reshape(-1, 3, 8, 3, 8, 3).mean((3, 5)).reshape(len(values), -1)

    x = cells(v.double().numpy())[0]
    known = []
    for machine in machines:
        mean, covariance = (part.numpy() for part in machine.moments())
        small = cells(cells(covariance).T.copy()) + occlusion.FLOOR * np.eye(192)
        known.append((cells(mean[None])[0], small))

    def nats(which, some):
        if not some.any():
            return 0.0
        mean, covariance = known[which]
        t = multivariate_t(mean[some], covariance[np.ix_(some, some)], occlusion.HEAVY)
        return t.logpdf(x[some])

    places = [inside.numpy() for shape in ours.shapes for inside in shape.inside]
    scores, masks = [nats(0, np.ones(192, bool)) / occlusion.TEMPER + np.log(0.5)], [np.zeros(64, bool)]
    for inside in places:
        there = np.tile(inside, 3)
        scores.append((nats(0, ~there) + nats(1, there)) / occlusion.TEMPER + np.log(0.5 / len(places)))
        masks.append(inside)
    weight = np.exp(np.array(scores) - max(scores))
    expected = 1 - (weight / weight.sum()) @ np.array(masks)
    found = ours.visible(v)[0].numpy().reshape(8, 3, 8, 3)[:, 1, :, 1].ravel()
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_line_says_the_visible_share_where_it_is_asked_for(tmp_path):
    run = write_untrained(tmp_path / "run", 6, 4)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    settings = "--set attend.min_probability=0 --set posterior.chains=0 --max-gazes 3".split()
    for name, more in (("plain", []), ("asked", ["--visible"])):
        arguments = ["attend", str(run), str(tmp_path / "a.png"), "--out", str(tmp_path / f"{name}.jsonl"), *more]
        assert cli.run([*arguments, *settings]) == 0
    plain, asked = (json.loads((tmp_path / f"{name}.jsonl").read_text()) for name in ("plain", "asked"))
    assert plain["gazes"] and not any("visible" in gaze for gaze in plain["gazes"])
    shares = [gaze.pop("visible") for gaze in asked["gazes"]]
    assert asked["gazes"] == plain["gazes"] and all(0 <= share <= 1 for share in shares)
    attention = load(run)
    founds = attention.attend(
        tmp_path / "a.png", replace(attention.settings, visible=True), min_probability=0.0, max_gazes=3,
        posterior={"chains": 0}, progress=False,
    )  # fmt: skip
    assert [round(found.visible, 3) for found in founds] == shares
    assert founds[0].explained.shape == (24, 24) and "visible" in founds[0]._repr_html_()
