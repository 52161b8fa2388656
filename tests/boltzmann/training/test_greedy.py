"""Greedy training from beginning to end: reproducible, resumable, guarded, and worth its nats."""

import itertools
import json
from dataclasses import replace
from functools import cache

import pytest
import torch

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.log_z.exact import log_z_exact
from foveate.boltzmann.training.contrastive import Diverged
from foveate.boltzmann.training.fit import fit, put, train_rbm
from foveate.boltzmann.training.greedy import train_gdbn
from foveate.boltzmann.training.settings import FIRST, SECOND, GDBNSettings, Plan, Rule
from foveate.errors import BadInput, FoveateError, Interrupted
from foveate.runtime.progress import Quiet
from foveate.storage.checkpoints import Checkpoints
from foveate.storage.run import Run


def small(epochs1: int = 3, epochs2: int = 4, save_every: int = 1, start: str = "combs") -> GDBNSettings:
    first = replace(FIRST, epochs=epochs1, batch_size=50, chains=20)
    second = replace(SECOND, epochs=epochs2, batch_size=50, chains=20)
    return GDBNSettings(
        n_hidden1=10, n_hidden2=12, start_epochs=2, first=first, second=second, save_every=save_every,
        look_temperatures=25, start=start, bands=2, gates=2,
    )  # fmt: skip


SMALL = small()


def patches(epoch: int) -> torch.Tensor:
    """Two sources, one squashed, mixed into six numbers, with a little noise; fresh ones each epoch."""
    source = torch.Generator().manual_seed(epoch)
    z = torch.randn(400, 2, generator=source) * torch.tensor([2.0, 1.0])
    z[:, 1] += 0.3 * z[:, 0].square()
    mixing = torch.randn(2, 6, generator=torch.Generator().manual_seed(99))
    return z @ mixing + 0.3 * torch.randn(400, 6, generator=source)


VALIDATION = patches(1000)


def same(a: GaussianDBN, b: GaussianDBN) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def bound(model: GaussianDBN, v: torch.Tensor) -> float:
    """The exact mean log p(v), every h1 summed."""
    hs = torch.tensor(list(itertools.product((0.0, 1.0), repeat=model.grbm.n_hidden)))
    top = -model.rbm.free_energy(hs).double()
    top -= torch.logsumexp(top, 0)
    total = torch.stack([
        torch.logsumexp(top + model.grbm.log_prob_given_hidden(row.expand(len(hs), -1), hs).double(), 0) for row in v
    ])  # fmt: skip
    return float(total.mean())


@cache
def uninterrupted(start: str) -> GaussianDBN:
    """One trained without a stop."""
    return train_gdbn(patches, VALIDATION, small(start=start), seed=3)


class StopAt(Quiet):
    """Raises `Interrupted` at one tick of the phases of a name, where it comes the n-th time."""

    def __init__(self, name: str, done: int, time: int = 1):
        self.where, self.left = (name, done), time

    def show(self, tick) -> None:
        if (tick.name, tick.done) == self.where:
            self.left -= 1
            if not self.left:
                raise Interrupted


def test_the_same_seed_gives_the_same_model_and_another_does_not():
    first, second = (train_gdbn(patches, VALIDATION, SMALL, seed=1) for _ in range(2))
    assert same(first, second)
    assert not same(first, train_gdbn(patches, VALIDATION, SMALL, seed=2))


@pytest.mark.parametrize(
    "where",
    [
        ("first layer", 9),
        ("second layer", 1),
        ("second layer", 18),
        ("held-out bound", 25, 1),
        ("held-out bound", 25, 4),
    ],
)
@pytest.mark.parametrize("start", ["combs", "bands"])
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_same_bits(tmp_path, where, start):
    settings, whole = small(start=start), uninterrupted(start)
    with pytest.raises(Interrupted):
        train_gdbn(patches, VALIDATION, settings, 3, progress=StopAt(*where), checkpoints=Checkpoints(tmp_path))
    assert same(whole, train_gdbn(patches, VALIDATION, settings, 3, checkpoints=Checkpoints(tmp_path)))


def test_a_run_that_is_done_is_read_back_and_not_trained_again(tmp_path):
    whole = train_gdbn(patches, VALIDATION, SMALL, 3, checkpoints=Checkpoints(tmp_path))
    records = []
    again = train_gdbn(patches, VALIDATION, SMALL, 3, checkpoints=Checkpoints(tmp_path), log=records.append)
    assert same(whole, again) and records == []


def test_the_model_is_a_better_density_than_a_diagonal_gaussian_and_than_the_full_one():
    """Exact log density of held-out rows (all 2^10 states of h1): 2.5 nats above the diagonal Gaussian."""
    model = train_gdbn(patches, VALIDATION, small(epochs1=0), seed=4)
    data = patches(0)
    diagonal = torch.distributions.Normal(data.mean(0), data.std(0)).log_prob(VALIDATION).sum(1).mean()
    assert bound(model, VALIDATION[:200]) > float(diagonal) + 2.5


def test_every_epoch_is_recorded_with_figures_of_health():
    records = []
    train_gdbn(patches, VALIDATION, SMALL, 5, log=records.append)
    expected = [("grbm", epoch) for epoch in range(4)] + [("rbm", epoch) for epoch in range(5)]
    assert [(record["phase"], record["epoch"]) for record in records] == expected
    assert {"always_on", "always_off", "free_energy_gap", "sigma_at_floor"} <= records[0].keys()


def test_mean_and_std_of_the_patches_are_kept_in_the_model():
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    model = train_gdbn(patches, VALIDATION, small(epochs1=0, epochs2=0), 0, mean=mean, std=std)
    assert torch.equal(model.patch.mean, mean) and torch.equal(model.patch.std, std)


def test_a_rate_that_explodes_stops_with_the_last_good_weights_and_says_what_went_first():
    machine = GaussianBernoulliRBM(6, 4)
    machine.W.data.normal_(generator=torch.Generator().manual_seed(0))
    start = {name: value.clone() for name, value in machine.state_dict().items()}
    with pytest.raises(Diverged, match=r"went first") as caught:
        train_rbm(machine, patches(0), "cd", epochs=20, seed=0, rule=Rule(rate=1e5, rate_log_sigma=1.0))
    assert isinstance(caught.value, FoveateError) and caught.value.quantity in ("b", "c", "W", "log_sigma")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, start[name]) for name, value in machine.named_parameters())


def test_not_a_number_in_the_weights_is_found_at_the_next_step():
    machine = BernoulliRBM(6, 4)
    machine.c.data[2] = float("nan")
    with pytest.raises(Diverged) as caught:
        fit(machine, (patches(0) > 0).float(), Plan(Rule(), "pcd", 1), seed=0)
    assert caught.value.quantity in ("b", "c") and caught.value.step == 1  # a step carries it from c to b


def test_twenty_seeds_of_twenty_end_finite():
    for seed in range(20):
        model = train_gdbn(patches, VALIDATION, small(epochs1=1, epochs2=1), seed)
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_a_resumed_run_has_the_records_of_an_uninterrupted_one(tmp_path):
    settings = small(epochs2=6, save_every=2)
    logs = []
    for name, stop in (("whole", None), ("stopped", ("second layer", 26))):
        with Run.claim(tmp_path / name) as run:
            run.write_config({})
            if stop is not None:
                with pytest.raises(Interrupted):
                    train_gdbn(patches, VALIDATION, settings, 0, StopAt(*stop), run.checkpoints, run.log)
        with Run.claim(tmp_path / name, resume=True) as run:
            train_gdbn(patches, VALIDATION, settings, 0, None, run.checkpoints, run.log)
        logs.append([json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()])
    assert [r["epoch"] for r in logs[0] if r["phase"] == "rbm"] == [0, 1, 2, 3, 4, 5, 6]
    assert logs[0] == logs[1] and sum("held_out_gain" in record for record in logs[0]) == 8


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"start_epochs": 0}, {"look_temperatures": 0}):
        with pytest.raises(BadInput, match=r"(start_epochs|look_temperatures): "):
            GDBNSettings(**wrong)
    with pytest.raises(BadInput, match=r"start: .*, got 'best'"):
        GDBNSettings(start="best")
    with pytest.raises(BadInput, match=r"method: .*, got 'sgd'"):
        Plan(Rule(), "sgd")
    with pytest.raises(BadInput, match=r"batch_size: .*, got 0"):
        Plan(Rule(), batch_size=0)


def test_put_copies_and_does_not_share():
    machine, values = BernoulliRBM(2, 2), BernoulliRBM(2, 2)
    values.W.fill_(1.0)
    put(machine, values)
    values.W.zero_()
    assert bool((machine.W == 1).all())


@pytest.mark.parametrize(("decay", "kept"), [(5.0, "start"), (0.0, "end")])
def test_a_first_layer_is_kept_where_it_explains_held_out_patches_best(tmp_path, decay, kept):
    """From small weights learning helps; what combs know is lost where weights decay too fast."""
    settings = small(epochs1=8, epochs2=0, start="small" if kept == "end" else "combs")
    first = replace(settings.first, rule=replace(settings.first.rule, rate=0.01, weight_decay=decay))
    settings = replace(settings, first=first, look_temperatures=100)
    begun = train_gdbn(patches, VALIDATION, replace(settings, first=replace(settings.first, epochs=0)), 0)
    with Run.claim(tmp_path / "run") as run:
        ended = train_gdbn(patches, VALIDATION, settings, 0, None, run.checkpoints, run.log)
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    gains = [line["held_out_gain"] for line in lines if line["phase"] == "grbm" and "held_out_gain" in line]
    assert len(gains) == 6 and gains.index(max(gains)) == (0 if kept == "start" else 5)
    assert torch.equal(ended.grbm.W, begun.grbm.W) == (kept == "start")
    exact = -ended.grbm.free_energy(VALIDATION).double().mean() - log_z_exact(ended.grbm)
    assert max(gains) == pytest.approx(float(exact), abs=0.5)
