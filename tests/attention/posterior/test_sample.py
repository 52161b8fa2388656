"""The conditionals of v and h1, their alternation with moves of u, and what a posterior of gazes must do."""

import math
from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from pictures import blob_image

from foveate.attention.found import NOT_MOVING
from foveate.attention.posterior.conditionals import PatchConditionals
from foveate.attention.posterior.sample import _Sampler, sample
from foveate.attention.posterior.summary import Posterior
from foveate.attention.posterior.target import NormalDensity, gaze_targets, glimpse_log_density
from foveate.attention.settings import GazePrior, PosteriorSettings
from foveate.boltzmann.dbn import PatchScale
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.errors import BadInput
from foveate.runtime.random import generator
from foveate.scenes.gaze import angle, angle_difference, from_scale_angle, scale
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

SIZE = 8
QUICK = PosteriorSettings(chains=4, warm_up=30, draws=40)


def machine(n_visible: int, n_hidden: int, seed: int = 0, spread: float = 0.3) -> GaussianBernoulliRBM:
    random = generator(seed, "machine")
    grbm = GaussianBernoulliRBM(n_visible, n_hidden)
    grbm.W.copy_(0.4 * torch.randn(grbm.W.shape, generator=random))
    grbm.b.copy_(0.3 * torch.randn(grbm.b.shape, generator=random))
    grbm.c.copy_(0.5 * torch.randn(grbm.c.shape, generator=random))
    grbm.log_sigma.copy_(torch.log(spread * (0.5 + torch.rand(grbm.b.shape, generator=random))))
    return grbm


def conditionals_of(grbm: GaussianBernoulliRBM) -> PatchConditionals:
    return PatchConditionals(grbm, PatchScale(torch.tensor([0.5, 0.45, 0.55]), torch.tensor([0.2, 0.25, 0.3])))


def template(pyramids: Pyramids, gaze: torch.Tensor, sigma: float = 0.3) -> PatchConditionals:
    """A patch model that knows just what this gaze sees: W = 0, b = x(u)."""
    grbm = GaussianBernoulliRBM(3 * SIZE * SIZE, 2)
    grbm.log_sigma.fill_(math.log(sigma))
    model = PatchConditionals(grbm, PatchScale(torch.full((3,), 0.5), torch.full((3,), 0.2)))
    grbm.b.copy_(model.scale.standardise(glimpses(pyramids, np.zeros(1, np.int64), gaze[None], SIZE))[0])
    return model


def gaze(s: float, degrees: float, x: float, y: float) -> torch.Tensor:
    return from_scale_angle(*torch.tensor([s, math.radians(degrees), x, y], dtype=torch.float64))


def test_conditionals_are_those_of_the_rbm_and_of_the_noise_on_its_patch():
    """v given h1 and the glimpse is the product of N(v; mu, sigma^2) and N(x; v, sigma^2): moments of 50,000 draws."""
    grbm = machine(12, 5)
    patch = conditionals_of(grbm)
    n, random = 50_000, generator(1)
    h = torch.bernoulli(torch.full((1, 5), 0.5), generator=random)
    x, v = torch.randn(1, 12, generator=random), torch.randn(1, 12, generator=random)
    keys = torch.arange(n) * 7919
    drawn = patch.sample_visible(keys, 3, h.expand(n, -1), x.expand(n, -1))
    variance = 1 / (1 / grbm.sigma**2 + 1 / grbm.sigma**2)
    mean = variance * (grbm.visible_mean(h) + x) / grbm.sigma**2
    assert ((drawn.mean(0) - mean[0]).abs() < 5 * torch.sqrt(variance / n)).all()
    assert ((drawn.var(0) / variance - 1).abs() < 5 * math.sqrt(2 / n)).all()
    correlation = torch.corrcoef(drawn.T) - torch.eye(12)
    assert correlation.abs().max() < 5 / math.sqrt(n)

    on = patch.sample_hidden(keys, 3, v.expand(n, -1)).mean(0)
    probability = grbm.hidden_mean(v)[0]
    assert ((on - probability).abs() < 5 * torch.sqrt(probability * (1 - probability) / n) + 1e-9).all()


def run(
    pyramids: Pyramids,
    gazes: torch.Tensor,
    patch: PatchConditionals,
    settings: PosteriorSettings,
    index=None,
    names=None,
) -> Posterior:
    index = np.zeros(len(gazes), np.int64) if index is None else np.array(index)
    return sample(pyramids, index, gazes, names or [f"gaze {i}" for i in range(len(gazes))], patch, settings, seed=5)


def turning(found: Posterior) -> float:
    """Standard deviation of the angle, degrees."""
    return math.degrees(float(found.spread[0, 1]))


@pytest.mark.parametrize("target", ["paper", "marginal"])
def test_draws_are_keyed_on_names_and_do_not_depend_on_company_or_order(target: str):
    """Among as many, as `refine` samples them: products of another shape differ in their last bits."""
    pyramids = Pyramids.from_images([blob_image(i) for i in range(3)])
    patch = conditionals_of(machine(3 * SIZE * SIZE, 20))
    gazes = torch.stack([gaze(25, 10 * i, 60 + 5 * i, 80) for i in range(5)])
    images, names = [0, 1, 2, 0, 1], ["a", "b", "c", "d", "e"]
    settings = PosteriorSettings(chains=3, warm_up=22, draws=5, target=target)
    together = run(pyramids, gazes, patch, settings, images, names)
    for some in ([4, 3, 2, 1, 0], [1, 1, 4, 4, 1], [2] * 5):
        found = run(pyramids, gazes[some], patch, settings, [images[i] for i in some], [names[i] for i in some])
        assert torch.equal(found.draws, together.draws[some])
    other = run(pyramids, gazes, patch, settings, images, ["another name", *names[1:]])
    assert not torch.equal(other.draws[0], together.draws[0]) and torch.equal(other.draws[1:], together.draws[1:])


@pytest.mark.parametrize("target", ["paper", "marginal"])
def test_chains_from_around_find_the_gaze_and_agree(target: str):
    pyramids = Pyramids.from_images([blob_image(0)])
    truth = gaze(26, 20, 75, 85)
    settings = replace(QUICK, target=target, warm_up=60, draws=150 if target == "paper" else 60)
    found = run(pyramids, truth[None], template(pyramids, truth), settings)
    assert NOT_MOVING not in found.flags[0] and found.rhat.max() < 1.15
    assert found.acceptance.min() > 0.5 and (found.divergences == 0).all()
    away = found.mean[0] - truth
    # The template is what the truth sees, so the mode is the truth; the mean of a curved posterior is near it.
    assert (away.abs() < 1.5 * found.std[0]).all()
    turn = torch.rad2deg(angle_difference(angle(found.mean[0]), angle(truth)))
    assert abs(float(turn)) < 1.5 * turning(found)


def test_spread_grows_as_the_square_root_of_the_temperature_and_as_sigma():
    pyramids = Pyramids.from_images([blob_image(0)])
    truth = gaze(26, 20, 75, 85)
    cold = run(pyramids, truth[None], template(pyramids, truth, 0.1), QUICK)
    warm = run(pyramids, truth[None], template(pyramids, truth, 0.1), replace(QUICK, temperature=9.0))
    wide = run(pyramids, truth[None], template(pyramids, truth, 0.3), QUICK)
    # 160 draws, worth about 100: the standard error of a standard deviation is 7 %, of a ratio 10 %.
    assert (warm.std / cold.std).mean() == pytest.approx(3, rel=0.25)
    assert (wide.std / cold.std).mean() == pytest.approx(3, rel=0.25)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_turned_by_a_right_angle_gives_the_gaze_turned_by_it(turns: int):
    """A quarter clockwise, (x, y) of a picture of side 160 comes to (160 - y, x), and angles grow by 90 degrees."""
    plain = blob_image(3)
    upright, turned = Pyramids.from_images([plain]), Pyramids.from_images([np.rot90(plain, -turns)])
    truth = gaze(26, 140, 75, 85)
    s, degrees, x, y = 26.0, 140.0, 75.0, 85.0
    for _ in range(turns):
        degrees, x, y = degrees + 90, 160 - y, x
    patch = template(upright, truth, 0.2)
    found = run(turned, gaze(s, degrees, x, y)[None], patch, QUICK)
    before = run(upright, truth[None], patch, QUICK)
    turn = torch.rad2deg(angle_difference(angle(found.mean[0]), angle(before.mean[0])))
    error = (float(turn) - 90 * turns + 180) % 360 - 180
    assert abs(error) < 0.5 * turning(before)
    assert -180 < float(torch.rad2deg(angle(found.mean[0]))) <= 180
    assert turning(found) == pytest.approx(turning(before), rel=0.3)


def test_an_object_upside_down_has_a_narrow_angle_across_the_cut():
    pyramids = Pyramids.from_images([blob_image(4)])
    truth = gaze(26, 179.9, 75, 85)
    found = run(pyramids, truth[None], template(pyramids, truth, 0.1), QUICK)
    turn = torch.rad2deg(angle(found.draws[0]))
    assert (turn > 170).any() and (turn < -170).any()
    assert turning(found) < 5 and found.rhat[0, 1] < 1.2
    assert abs(abs(float(torch.rad2deg(angle(found.mean[0])))) - 180) < 2


ODD_STARTS = {
    "tiny": (1e-6, 0.0, 80.0, 80.0),
    "no size": (0.0, 0.0, 80.0, 80.0),
    "huge": (1e6, 0.0, 80.0, 80.0),
    "outside": (20.0, 0.0, -4000.0, 80.0),
    "not a number": (math.nan, 0.0, 80.0, 80.0),
}


def test_odd_starts_harm_nobody_and_nothing_else_in_the_batch():
    pyramids = Pyramids.from_images([blob_image(0)])
    good = gaze(26, 20, 75, 85)
    gazes = torch.stack([good, *(torch.tensor(u, dtype=torch.float64) for u in ODD_STARTS.values())])
    names = ["good", *ODD_STARTS]
    settings = PosteriorSettings(chains=2, warm_up=22, draws=10)
    patch = template(pyramids, good)
    found = run(pyramids, gazes, patch, settings, names=names)
    tame = run(pyramids, good.expand(len(names), 4), patch, settings, names=names)
    assert torch.equal(found.draws[0], tame.draws[0])
    for row, name in enumerate(names[1:], start=1):
        finite = torch.isfinite(found.draws[row]).all()
        stuck = NOT_MOVING in found.flags[row]
        assert finite or stuck, name
        assert torch.isnan(found.std[row]).all() == stuck, name
    inside = found.draws[[1, 3, 4]]
    assert (inside[..., 2:] >= 0).all() and (inside[..., 2:] <= 160).all()
    assert (scale(inside) >= 1 - 1e-9).all() and (scale(inside) <= 160 + 1e-9).all()


def test_a_picture_of_one_colour_gives_back_the_prior():
    """Nothing to see: 150 gazes of 4 chains draw from the prior, a log-normal scale and a normal angle.

    Bounds are 5 standard errors of 600 independent chains.
    """
    grey = Pyramids.from_images([np.full((100, 100, 3), 128, np.uint8)])
    patch = conditionals_of(machine(3 * SIZE * SIZE, 4))
    prior = GazePrior(log_scale=(math.log(20), 0.25), angle=(1.0, 0.4), scale_range=(1.0, 1000.0))
    settings = PosteriorSettings(chains=4, warm_up=24, draws=6, moves=3, prior=prior)
    found = run(grey, gaze(20, 57.3, 50, 50).expand(150, 4), patch, settings)
    last = found.draws[:, :, -1].flatten(0, 1)
    n = len(last)
    log_s, turn = torch.log(scale(last)), angle(last)
    for values, mean, std in ((log_s, math.log(20), 0.25), (turn, 1.0, 0.4)):
        assert abs(float(values.mean()) - mean) < 5 * std / math.sqrt(n)
        assert abs(float(values.var()) / std**2 - 1) < 5 * math.sqrt(2 / n)
    for centre in last[:, 2:].T:
        assert abs(float(centre.mean()) - 50) < 5 * 100 / math.sqrt(12 * n)


def test_the_collapsed_density_pulls_through_the_glimpse_with_its_exact_gradient():
    pyramids = Pyramids.from_images([blob_image(0)])
    gazes = torch.stack([gaze(26, 20, 75, 85), gaze(33, 80, 60, 70), gaze(12, -50, 100, 90)])
    model = template(pyramids, gazes[0])
    targets = gaze_targets(pyramids, np.zeros(3, np.int64), gazes, SIZE)

    def density(seen: torch.Tensor) -> torch.Tensor:
        return -model.machine.free_energy(model.scale.standardise(seen))

    value, gradient = glimpse_log_density(targets, gazes, density)
    h = 1e-3
    for d in range(4):
        shift = h * torch.eye(4, dtype=torch.float64)[d]
        up, down = (glimpse_log_density(targets, gazes + sign * shift, density)[0] for sign in (1, -1))
        assert torch.allclose(gradient[:, d], (up - down) / (2 * h), rtol=0.02, atol=0.02 * float(gradient.abs().max()))
    none = 2 * math.log(2)  # of the two hidden units, which are on or off whatever is seen
    assert abs(float(value[0]) - none) < 1e-5 and value[1] < none - 1


@pytest.mark.parametrize("target", ["paper", "marginal"])
def test_a_diagonal_density_in_pixels_is_that_of_the_standardised_patch(target):
    pyramids, patch = Pyramids.from_images([blob_image(0)]), conditionals_of(machine(3 * SIZE * SIZE, 5))
    settings = replace(QUICK, target=target)
    sampler = _Sampler(pyramids, np.zeros(1, np.int64), gaze(26, 20, 75, 85)[None], ["a"], patch, settings, 0, None)
    chains, seen = sampler.start(), torch.rand(4, 3, SIZE, SIZE, generator=generator(2))
    density, share = sampler._density(chains), 1.0 if target == "paper" else 0.5
    centre = chains.visible if target == "paper" else patch.machine.visible_mean(chains.hidden)
    misfit = patch.misfit(patch.scale.standardise(seen), centre, patch.precision(chains.hidden))
    assert patch.diagonal and isinstance(density, NormalDensity)
    torch.testing.assert_close(density(seen).double(), -0.5 * share * misfit, rtol=1e-4, atol=0)


def test_where_nothing_is_hidden_the_collapsed_posterior_at_twice_the_temperature_is_the_marginal_one():
    """W = 0: x ~ N(b, sigma^2) of the one, N(b, 2 sigma^2) of the other."""
    pyramids = Pyramids.from_images([blob_image(0)])
    truth = gaze(26, 20, 75, 85)
    model, quick = template(pyramids, truth), replace(QUICK, warm_up=24, draws=25)
    summed_out = run(pyramids, truth[None], model, replace(quick, target="collapsed", temperature=2.0))
    given = run(pyramids, truth[None], model, quick)
    # The same random numbers and nearly the same arithmetic: chains part only by rounding, where they part at all.
    assert torch.allclose(summed_out.std, given.std, rtol=0.3)
    assert ((summed_out.mean - given.mean).abs() < 0.5 * given.std).all()


@pytest.mark.parametrize(
    "wrong", [{"target": "papers"}, {"temperature": 0.0}, {"temperature": math.nan}, {"draws": 0}, {"n_leapfrog": 0}]
)
def test_settings_that_mean_nothing_are_refused_by_name(wrong: dict):
    with pytest.raises((BadInput, TypeCheckError), match=next(iter(wrong))):
        PosteriorSettings(**wrong)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_draws_do_not_depend_on_the_number_of_threads():
    pyramids = Pyramids.from_images([blob_image(0)])
    patch = conditionals_of(machine(3 * SIZE * SIZE, 20))
    gazes, settings = torch.stack([gaze(25, 10 * i, 60 + 5 * i, 80) for i in range(5)]), replace(QUICK, draws=5)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = run(pyramids, gazes, patch, settings)
        numba.set_num_threads(2)
        assert torch.equal(run(pyramids, gazes, patch, settings).draws, one.draws)
    finally:
        numba.set_num_threads(before)


def test_without_evidence_from_the_patch_the_chains_draw_the_prior_around_the_gaze():
    """T so large that the patch says nothing: means, deviations and correlations of the normal prior."""
    pyramids = Pyramids.from_images([blob_image(0)])
    patch, spread = conditionals_of(machine(3 * SIZE * SIZE, 20)), torch.tensor([0.1, 0.2, 0.05, 0.08]).double()
    settings = PosteriorSettings(
        chains=16, warm_up=40, draws=250, moves=1, n_leapfrog=6, temperature=1e9, target="collapsed"
    )
    gazes = torch.stack([gaze(20, 170, 80, 70), gaze(12, -20, 60, 90)])
    found = sample(
        pyramids, np.zeros(2, np.int64), gazes, ["a", "b"], patch, settings, seed=1, around=spread.expand(2, 4)
    )
    for k, u in enumerate(gazes):
        draws = found.draws[k].flatten(0, 1)
        q = torch.stack(
            (
                torch.log(scale(draws) / scale(u)),
                angle_difference(angle(draws), angle(u)),
                (draws[:, 2] - u[2]) / scale(u),
                (draws[:, 3] - u[3]) / scale(u),
            ),
            1,
        )
        effective = float(found.ess[k].min())
        assert effective > 300
        assert (q.mean(0).abs() / spread < 5 / math.sqrt(effective)).all()
        assert ((q.std(0) / spread - 1).abs() < 5 / math.sqrt(effective)).all()
        assert (torch.corrcoef(q.T) - torch.eye(4)).abs().max() < 5 / math.sqrt(effective)
    assert all(not flags for flags in found.flags)


def test_the_patch_model_draws_gazes_from_where_the_network_left_them_to_where_the_object_is():
    pyramids = Pyramids.from_images([blob_image(3)])
    true = gaze(20, 20, 80, 80)
    left = gaze(21.5, 23, 81.5, 79)
    settings = PosteriorSettings(chains=8, warm_up=30, draws=60, moves=1, target="collapsed")
    around = torch.full((1, 4), 0.08, dtype=torch.float64)
    index = np.zeros(1, np.int64)
    found = sample(pyramids, index, left[None], ["a"], template(pyramids, true), settings, seed=0, around=around)
    before, after = (left - true).abs(), (found.mean[0] - true).abs()
    assert (after < 0.35 * before + 0.02).all()
    assert found.visible.shape == (1, 8, 3 * SIZE * SIZE) and found.hidden.shape == (1, 8, 2)


def test_a_prior_around_the_gaze_needs_the_collapsed_density():
    pyramids, settings = Pyramids.from_images([blob_image(0)]), PosteriorSettings(target="marginal")
    with pytest.raises(BadInput, match="'marginal'"):
        sample(
            pyramids, np.zeros(1, np.int64), gaze(20, 0, 80, 80)[None], ["a"], conditionals_of(machine(192, 4)),
            settings, around=torch.ones(1, 4, dtype=torch.float64)
        )  # fmt: skip
