"""Mean and precision units over whitened pixels: closed sums, samplers, the belief network above, its file."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.draws import Generated
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.log_z.bound import bound_terms
from foveate.boltzmann.log_z.exact import log_z_exact
from foveate.boltzmann.precision import PrecisionRBM
from foveate.boltzmann.training.fit import train_rbm
from foveate.boltzmann.training.settings import Rule
from foveate.errors import BadInput
from foveate.evaluation.bound import evaluate_bound


def machine(seed=0, size=0.6, apart=True):
    """Four directions in two bands and one in none; three mean units, of one direction each unless not `apart`."""
    made = PrecisionRBM(5, 3, torch.tensor([-1, 0, 0, 1, 1]), 2, 2)
    source = torch.Generator().manual_seed(seed)
    for value in made.parameters():
        value.copy_(size * torch.randn(value.shape, generator=source))
    made.precisions.abs_()
    if apart:
        kept = torch.zeros_like(made.W)
        kept[0, :2], kept[3, 2] = made.W[0, :2], made.W[3, 2]
        made.W.copy_(kept)
    made.mean.copy_(torch.randn(5, generator=source))
    made.whiten.copy_(torch.eye(5) + 0.2 * torch.randn(5, 5, generator=source))
    return made


def log_masses(made):
    """log of the integral over v of exp(-E(v, h)), for every state of h."""
    states = made.hidden.states(torch.arange(2**made.n_hidden), made.n_hidden)
    return states, -made.exactly().free_energy_hidden(states)


@pytest.mark.parametrize("size", [0.3, 1.5])
def test_log_z_by_closed_sums_is_that_of_all_states(size):
    for seed in range(3):
        made = machine(seed, size)
        assert made.log_z_closed() == pytest.approx(float(torch.logsumexp(log_masses(made)[1], 0)), abs=1e-9)
        assert log_z_exact(made) == made.log_z_closed()


def test_where_a_unit_touches_two_directions_no_closed_sum_is_claimed():
    made = machine(apart=False)
    assert made.log_z_closed() is None
    assert log_z_exact(made) == pytest.approx(float(torch.logsumexp(log_masses(made)[1], 0)), abs=1e-9)


def test_long_thermometers_are_integrated_and_not_enumerated():
    """Forty units of one direction, beside their Gaussian mixture where only ordered states count."""
    made = PrecisionRBM(1, 40, torch.tensor([-1]), 1, 1)
    teeth = 6.0 * torch.arange(41, dtype=torch.float64)
    made.W.copy_(teeth.diff().float()[None])
    made.c.copy_((-0.5 * (teeth**2).diff()).float())
    assert made.log_z_closed() == pytest.approx(math.log(41) + 0.5 * math.log(2 * math.pi) + math.log(2), abs=1e-6)


def test_without_precision_units_it_is_the_gaussian_machine_but_for_a_constant():
    plain, made = GaussianBernoulliRBM(5, 3), machine(apart=False)
    made.precisions.zero_()
    for name in ("W", "b", "c", "log_sigma"):
        getattr(plain, name).copy_(getattr(made, name))
    v = torch.randn(50, 5, generator=torch.Generator().manual_seed(1))
    x, ours = made.coordinates(v), made.log_mass(v) - log_z_exact(made)
    assert torch.allclose(ours, plain.log_mass(x) - log_z_exact(plain) + made.log_det, atol=1e-5)
    assert torch.allclose(made.hidden_mean(v)[:, :3], plain.hidden_mean(x), atol=1e-6)
    h = torch.eye(7)
    assert torch.allclose(made.visible_mean(h), made.pixels(plain.visible_mean(h[:, :3])), atol=1e-5)


def test_gibbs_chains_have_the_distribution_of_all_states():
    """20,000 chains of 30 sweeps from anywhere: chi-square of the 2^7 states of (h, s) below 4.5 deviations."""
    made, n = machine(), 20000
    states, masses = log_masses(made)
    p, random = torch.softmax(masses, 0), Generated(torch.Generator().manual_seed(0))
    v = torch.zeros(n, 5)
    for _ in range(30):
        h = made.draw_hidden(v, random)
        v = made.draw_visible(h, random)
    counts = torch.bincount((h.double() @ (2.0 ** torch.arange(7)).double()).long(), minlength=len(states))
    often = n * p > 5
    chi = float(((counts - n * p) ** 2 / (n * p))[often].sum())
    assert chi < int(often.sum()) + 4.5 * math.sqrt(2 * int(often.sum()))


def test_v_given_hidden_units_has_the_density_it_says():
    made = machine().double()
    h = made.hidden.states(torch.arange(128), 7)[[3, 40, 90, 127]]
    v = torch.randn(4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    _, precision = made.visible_natural(h)
    for one, row in enumerate(h):
        covariance = made.unwhiten @ torch.diag(1 / precision[one]) @ made.unwhiten.T
        normal = torch.distributions.MultivariateNormal(made.visible_mean(row[None])[0], covariance)
        assert float(made.log_prob_given_hidden(v[one][None], row[None])[0]) == pytest.approx(
            float(normal.log_prob(v[one])), abs=1e-8
        )


def test_it_learns_a_scale_by_contrastive_divergence():
    source = torch.Generator().manual_seed(1)
    wide = torch.where(torch.rand(3000, 1, generator=source) < 0.3, 1.0, 0.3)
    data = wide * torch.randn(3000, 3, generator=source)
    made = PrecisionRBM(3, 1, torch.zeros(3).long(), 1, 2)
    train_rbm(made, data, "pcd", epochs=100, rule=Rule(rate=0.05, rate_log_sigma=0.01, average=0.99), batch_size=500)
    gaussian = -1.5 * (1 + math.log(2 * math.pi) + math.log(float(data.square().mean())))
    reached = float(made.log_mass(data).mean()) - log_z_exact(made)
    assert reached > gaussian + 0.3 and (made.precisions >= 0).all()


def a_model(seed=0):
    first, source = machine(seed), torch.Generator().manual_seed(seed)
    top = BernoulliRBM(first.n_hidden, 4)
    for value in top.parameters():
        value.copy_(0.5 * torch.randn(value.shape, generator=source))
    return GaussianDBN.of(first, top)


def exact_density(model, v):
    states = model.grbm.hidden.states(torch.arange(128), 7).float()
    top = model.rbm.log_mass(states)
    top = top - torch.logsumexp(top, 0)
    return torch.stack([torch.logsumexp(top + model.grbm.log_prob_given_hidden(row[None], states), 0) for row in v])


def test_bounds_of_the_belief_network_lie_below_its_density_and_the_weighted_one_reaches_it():
    model = a_model()
    v = model.grbm.sample_visible(torch.eye(7), torch.Generator().manual_seed(3))
    exact, terms = exact_density(model, v), bound_terms(model, v, range(7), 2000, 2000)
    log_z = log_z_exact(model.rbm)
    assert (terms.variational - log_z < exact + 4 * terms.sampling_variance.sqrt()).all()
    assert float((terms.weighted - log_z - exact).abs().max()) < 0.15


def test_evaluation_brackets_the_top_and_has_the_first_layer_exactly():
    model = a_model()
    v = model.grbm.sample_visible(torch.eye(7).repeat(4, 1), torch.Generator().manual_seed(3))
    found = evaluate_bound(model, v, chains=50, temperatures=200, samples=20, importance_samples=200, grbm=True)
    assert found["log_z_lower"] - 1e-3 <= log_z_exact(model.rbm) <= found["log_z_upper"] + 1e-3
    first = float(model.grbm.log_mass(v).mean()) - model.grbm.log_z_closed()
    assert found["grbm_log_density"] == pytest.approx(first, abs=1e-4)
    assert found["iw_bound"] == pytest.approx(float(exact_density(model, v).mean()), abs=0.1)


def test_its_file_has_the_further_tensors_and_comes_back_the_same(tmp_path):
    model = a_model()
    model.save(tmp_path / "gdbn.safetensors")
    shapes = {name: tuple(value.shape) for name, value in load_file(tmp_path / "gdbn.safetensors").items()}
    further = {
        "whiten.mean": (5,), "whiten.W": (5, 5), "precision.lambda": (2, 2), "precision.c": (2, 2),
        "precision.band": (5,), "grbm.W": (5, 3), "grbm.c": (3,), "rbm.b": (7,),
    }  # fmt: skip
    assert shapes.items() >= further.items() and len(shapes) == 14
    again = GaussianDBN.load(tmp_path / "gdbn.safetensors")
    assert again.grbm.log_z_closed() == model.grbm.log_z_closed()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("whiten.W", None, "no tensor whiten.W"),
        ("precision.c", torch.zeros(2, 3), "K is 2 elsewhere"),
        ("grbm.c", torch.zeros(4), "M is 3 elsewhere"),
        ("rbm.W", torch.zeros(7, 5), "rbm.c has shape"),
        ("precision.band", torch.full((5,), 7.0), "precision.band"),
        ("precision.lambda", torch.full((2, 2), -1.0), "precision.lambda"),
    ],
)
def test_a_file_with_a_wrong_further_tensor_is_refused_in_one_line(tmp_path, name, value, message):
    a_model().save(tmp_path / "good.safetensors")
    tensors = load_file(tmp_path / "good.safetensors")
    del tensors[name]
    if value is not None:
        tensors[name] = value
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(BadInput, match=message) as caught:
        GaussianDBN.load(tmp_path / "bad.safetensors")
    assert "\n" not in str(caught.value)


def test_sizes_that_make_no_sense_are_refused():
    with pytest.raises(BadInput, match="expected 1 or more, and a band each"):
        PrecisionRBM(3, 1, torch.zeros(2).long(), 1, 2)
    with pytest.raises(BadInput, match="expected 1 to 16"):
        PrecisionRBM(3, 1, torch.zeros(3).long(), 1, 17)
    with pytest.raises(BadInput, match="expected as many"):
        GaussianDBN.of(machine(), BernoulliRBM(6, 2))
