"""The whole, from annotated scenes to gazes on others, with models too small to be good: do the parts fit?"""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from foveate.attention.attend import AttendSettings, Attention
from foveate.attention.expectation import Trust
from foveate.attention.learn import LearnSettings, learn
from foveate.attention.models import Models
from foveate.attention.mosaics import MosaicSettings
from foveate.attention.posterior import PosteriorSettings
from foveate.attention.ranking import RankingSettings
from foveate.attention.search import SearchSettings
from foveate.attention.shiftnet_training import ShiftNetSettings
from foveate.attention.training import TrainSettings, handed, train
from foveate.attention.verifier import VerifierSettings
from foveate.boltzmann.greedy import GDBNSettings
from foveate.errors import BadInput
from foveate.progress import Quiet
from foveate.report import write_report
from foveate.runs import Run
from foveate.scenes.digits import KNOWN, write_digit_scenes
from foveate.scenes.folder import read_image, read_scenes
from foveate.telling import tell_training
from foveate.telling_learning import tell_learning

SETTINGS = handed(
    TrainSettings(
        held_out=0.25,
        largest=128,
        gdbn=GDBNSettings(n_hidden1=30, n_hidden2=10, epochs1=2, epochs2=2, start_epochs=1, start="small"),
        shiftnet=ShiftNetSettings(steps=4, batch=16, report_every=2),
        ranking=RankingSettings(
            scenes=5,
            mosaics=4,
            starts=20,
            held_out_mosaics=2,
            mosaic=MosaicSettings(long=160, short=120, least=40),
            verifier=VerifierSettings(steps=3),
        ),
        attend=AttendSettings(
            search=SearchSettings(smallest=16.0, ratio=2.0, spacing=2.0, angles=1, steps=1, keep=0.5, settle=1, candidates=6),
            posterior=PosteriorSettings(chains=2, warm_up=4, draws=6, moves=1, n_leapfrog=2),
        ),
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_digit_scenes(folder / "scenes", KNOWN, 14, seed=0)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    with Run.claim(folder / "run") as run:
        run.write_config({"command": "train", "version": "0", "scenes": str(folder / "scenes")})
        models, gallery, split = train(read_scenes(folder / "scenes"), run, SETTINGS, Quiet())
        tell_training(run.story, models, gallery, split, SETTINGS.attend, Quiet())
        run.finish()
    return folder / "run"


def test_a_run_holds_what_it_promises(run):
    for name in ("config.toml", "gdbn.safetensors", "shiftnet.safetensors", "background.safetensors", "metrics.jsonl"):
        assert (run / name).is_file()
    phases = {json.loads(line)["phase"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    assert phases >= {"grbm", "rbm", "shiftnet", "evidence"}


def test_training_again_on_a_finished_run_changes_nothing(folder, run):
    before = (run / "shiftnet.safetensors").read_bytes()
    with Run.claim(run, resume=True) as again:
        models, _, _ = train(read_scenes(folder / "scenes"), again, SETTINGS, Quiet())
    assert (run / "shiftnet.safetensors").read_bytes() == before
    assert torch.equal(models.gdbn.grbm.W, Models.load(run).gdbn.grbm.W)


def test_an_image_gives_the_same_gazes_in_any_company(folder, run):
    attention, scenes = Attention.load(run), read_scenes(folder / "scenes").scenes[:3]
    every = replace(SETTINGS.attend, min_probability=0.0, max_gazes=3)
    images = [read_image(scene.path) for scene in scenes]
    alone = [attention.attend([image], [scene.name], every)[0] for image, scene in zip(images, scenes, strict=True)]
    together = attention.attend(images[::-1], [scene.name for scene in scenes[::-1]], every)[::-1]
    for one, other in zip(alone, together, strict=True):
        assert [found.u.tolist() for found in one] == [found.u.tolist() for found in other]
        assert all(np.isfinite(found.u).all() and 0 <= found.probability <= 1 for found in one)
        assert all(found.score >= after.score for found, after in pairwise(one))
        assert all(len(found.trail) > found.network_steps for found in one)


def test_the_single_start_leaves_a_trail_of_its_steps(folder, run):
    scene = read_scenes(folder / "scenes").scenes[0]
    settings = replace(SETTINGS.attend, starts="one", one_steps=3, min_probability=0.0)
    (found,) = Attention.load(run).attend_one(read_image(scene.path), scene.name, settings)
    assert found.network_steps == 3 and np.allclose(found.trail[0][2:], [scene.width / 2, scene.height / 2])


def test_the_page_of_a_run_is_one_file(run):
    page = write_report(run).read_text()
    assert "<html" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_learning_looks_at_no_annotation_and_ends_with_a_run(folder, run):
    trust = Trust(probability=0.0, centre=np.inf, log_scale=np.inf, angle=np.inf, negligible=0.0, fewest=4)
    still = replace(SETTINGS, attend=replace(SETTINGS.attend, posterior=PosteriorSettings(chains=0)))
    lessons = LearnSettings(rounds=1, shiftnet_steps=2, trust=trust, train=still, tolerance=np.inf)
    results = []
    for name, annotated in (("with", True), ("without", False)):
        scenes = folder / f"scenes-{name}"
        write_digit_scenes(scenes, KNOWN, 10, seed=5)
        if not annotated:
            (scenes / "annotations.json").unlink()
        read = read_scenes(scenes, annotated=False)
        with Run.claim(folder / f"learned-{name}") as learned:
            learned.write_config({"command": "learn", "version": "0"})
            models, gallery, rounds = learn(Models.load(run), read, learned, lessons, Quiet())
            tell_learning(learned.story, Models.load(run), models, gallery, rounds, Quiet())
            learned.finish()
        write_report(folder / f"learned-{name}")
        results.append(models)
    assert torch.equal(results[0].gdbn.grbm.W, results[1].gdbn.grbm.W)
    assert torch.equal(results[0].shiftnet.combine.weight, results[1].shiftnet.combine.weight)
    assert not torch.equal(results[0].gdbn.grbm.W, Models.load(run).gdbn.grbm.W)


def test_scenes_in_which_nothing_can_be_trusted_end_learning_in_one_line(folder, run):
    nothing = Trust(probability=1.1, share=0.0)
    read = read_scenes(folder / "scenes", annotated=False)
    with pytest.raises(BadInput, match="seem to hold the object"), Run.claim(folder / "never") as learned:
        learn(Models.load(run), read, learned, LearnSettings(trust=nothing, train=SETTINGS), Quiet())


def test_too_few_annotated_scenes_are_refused(folder, tmp_path):
    with pytest.raises(BadInput, match="scenes with an annotated object"), Run.claim(tmp_path / "run") as run:
        train(read_scenes(folder / "scenes", select=slice(0, 3)), run, SETTINGS, Quiet())
