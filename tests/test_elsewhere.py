"""What a GPU is for, on a device that is not the CPU: everything computes there, and computes the same."""

from dataclasses import replace

import pytest
import torch
from elsewhere import ELSEWHERE, capturing, elsewhere
from tiny import SETTINGS, lessons, presets
from untrained import write_untrained

from foveate.attention.attend import Attention
from foveate.attention.models import Models
from foveate.attention.settings import AttendSettings, PosteriorSettings
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.estimators import BernoulliRBMEstimator
from foveate.boltzmann.log_z.ais import AISState, _Captured
from foveate.boltzmann.log_z.bound import bound_terms
from foveate.boltzmann.log_z.schedules import linear
from foveate.demo.digits import KNOWN, write_digit_scenes
from foveate.evaluation.bound import evaluate_bound
from foveate.learning.learn import learn
from foveate.report.stories import save_learning_story, save_training_story
from foveate.runtime.progress import Quiet
from foveate.runtime.random import generator
from foveate.scenes.folder import read_image, read_scenes
from foveate.scenes.listing import scan
from foveate.storage.run import Run
from foveate.training.train import train

# Each step of an annealing is slow where a device pretends.
FEWER = replace(
    SETTINGS,
    gdbn=replace(
        SETTINGS.gdbn,
        look_temperatures=8,
        first=replace(SETTINGS.gdbn.first, epochs=1),
        second=replace(SETTINGS.gdbn.second, epochs=1),
    ),
    ranking=replace(SETTINGS.ranking, log_z_temperatures=8),
)
PATCHES = torch.randn(7, 12, generator=generator(0, "v"))


def small_model() -> GaussianDBN:
    gdbn = GaussianDBN(12, 8, 5)
    for value in gdbn.parameters():
        value.data.normal_(0, 0.3, generator=generator(0, "w"))
    return gdbn


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere") / "scenes"
    write_digit_scenes(folder, KNOWN, 9, seed=0)
    return folder


def test_the_device_that_pretends_refuses_what_a_gpu_refuses():
    with elsewhere():
        there, here = torch.arange(3.0).to(ELSEWHERE), torch.ones(3)
        for combine in (there.__add__, there.add_, there.__matmul__):
            with pytest.raises(RuntimeError, match="same device"):
                combine(here)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert there.device == ELSEWHERE and (there + 1).cpu().tolist() == [1, 2, 3] and float(there.sum()) == 3


def test_a_step_of_annealing_looks_at_no_value_so_that_it_can_be_captured():
    gdbn = small_model()
    generate = generator(0, "v")
    for path in (gdbn.rbm.path(torch.rand(9, 8, generator=generate)), gdbn.grbm.path(PATCHES)):
        with elsewhere() as there:
            path, betas = path.to(there), linear(5)
            block = _Captured(path, betas, torch.arange(4))
            block.put(AISState(torch.zeros(4, path.shape[0]).to(there), *torch.zeros(2, 4).double().to(there), 0))
            with capturing():
                block.step()
                block.step()
            assert int(block.state.step) == 2 and torch.isfinite(block.state.log_weight.cpu()).all()


def test_models_are_trained_there_and_go_on_there_and_learn_there_and_are_told(device, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr("foveate.learning.check.ANNEALING", 8)
    monkeypatch.setattr("foveate.boltzmann.log_z.schedules.PILOT_STEPS", 50)
    read = read_scenes(scenes)
    with presets(), Run.claim(tmp_path / "there") as run:
        train(read, run, FEWER, Quiet(), device)
        for name in ("evidence", "shiftnet trained", "fine trained", "fine"):
            run.checkpoints.path(name).unlink()
        models, data = train(read, run, FEWER, Quiet(), device)
        places = [models.device, models.shiftnet.shift.weight.device, models.periphery.head.weight.device]
        assert {place.type for place in places} == {device.type}
        save_training_story(run.story, models, data, FEWER.attend, Quiet())
        run.finish()
    still = replace(FEWER, attend=replace(FEWER.attend, posterior=PosteriorSettings(chains=0)))
    with presets(), Run.claim(tmp_path / "learned") as run:
        better, gallery, rounds = learn(
            models, read_scenes(scenes, annotated=False), run, lessons(train=still), Quiet(), None
        )
        assert len(rounds) == 1 and not rounds[0].undone and better.device.type == device.type
        save_learning_story(run.story, models, better, gallery, rounds, Quiet())
        run.finish()
    again = Models.load(tmp_path / "learned")
    assert torch.equal(again.gdbn.grbm.W, better.gdbn.grbm.W.cpu())


def test_attention_finds_there_what_it_finds_on_the_cpu(device, scenes, tmp_path):
    run = write_untrained(tmp_path / "run", 60, 20)
    image = read_image(scan(scenes).images[0][1])
    settings = AttendSettings(search=SETTINGS.attend.search, posterior=SETTINGS.attend.posterior)
    here, there = (Attention.load(run, str(where)).attend([image], settings=settings)[0] for where in ("cpu", device))
    assert len(here) == len(there) > 0
    for one, other in zip(here, there, strict=True):
        assert torch.allclose(torch.from_numpy(one.u), torch.from_numpy(other.u), rtol=1e-3, atol=0.05)
        assert abs(one.probability - other.probability) < 1e-3


def test_densities_are_the_same_there(device, monkeypatch):
    monkeypatch.setattr("foveate.boltzmann.log_z.schedules.PILOT_STEPS", 100)
    gdbn, patches = small_model(), PATCHES
    here = bound_terms(gdbn, patches, range(7), 5, 20)
    figures = evaluate_bound(gdbn, patches, chains=10, temperatures=50, importance_samples=10, grbm=True)
    drawn = gdbn.sample(4, generator(0, "s"), 5)
    gdbn.to(device)
    for one, other in zip(here, bound_terms(gdbn, patches, range(7), 5, 20), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-4)
    again = evaluate_bound(gdbn, patches, chains=10, temperatures=50, importance_samples=10, grbm=True)
    for name in ("iw_bound", "log_z", "grbm_log_density"):
        assert abs(again[name] - figures[name]) < 0.01, name
    assert torch.allclose(gdbn.sample(4, generator(0, "s"), 5).cpu(), drawn, atol=1e-4)


def test_an_estimator_learns_there_what_it_learns_here(device):
    data = (torch.rand(40, 9, generator=generator(0, "data")) < 0.3).float().numpy()
    here, there = (
        BernoulliRBMEstimator(n_components=4, n_iter=3, batch_size=10, random_state=0, device=str(where)).fit(data)
        for where in ("cpu", device)
    )
    assert abs(here.score_samples(data) - there.score_samples(data)).max() < 0.05
