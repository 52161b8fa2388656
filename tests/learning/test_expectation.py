"""Claims about the expectation step."""

import numpy as np
import torch

from foveate.attention.calibration import Calibration
from foveate.attention.evidence import Background, Evidence
from foveate.attention.models import Models
from foveate.attention.posterior.law import Law
from foveate.attention.shiftnet import ShiftNet
from foveate.boltzmann.dbn import GaussianDBN
from foveate.learning import reselection
from foveate.learning.expectation import Attended, Places, judge
from foveate.learning.pseudo_labels import LearningScenes
from foveate.learning.reselection import parts, reselect, reselected
from foveate.learning.rounds import RoundRun
from foveate.learning.settings import Trust
from foveate.runtime.progress import Quiet
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids, Store
from foveate.storage.run import Run
from foveate.training.gallery import Gallery, hold_out
from foveate.training.labels import Objects
from foveate.training.settings import TrainSettings

D = 3 * 24 * 24


def blobs(seed: int) -> np.ndarray:
    """One picture, cropped by a few pixels, so that an object stands elsewhere in each scene."""
    rng, whole = np.random.default_rng(7), np.full((150, 170, 3), 0.5)
    y, x = np.mgrid[0:150, 0:170] + 0.5
    for _ in range(60):
        centre, width = rng.uniform(0, 160, 2), rng.uniform(5, 14)
        bump = np.exp(-0.5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / width**2)
        whole += 0.3 * bump[..., None] * rng.uniform(-1, 1, 3)
    return whole.clip(0, 1)[seed : seed + 140, 2 * seed : 2 * seed + 140]


CALIBRATION = Calibration(0.0, 1.0, 1.0, 0.0, positives=5, negatives=5)


def scenes(count: int, store: Store | None = None) -> Gallery:
    none = Objects(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, dtype=torch.float64))
    names = [f"{k}.png" for k in range(count)]
    return Gallery(Pyramids.from_images([blobs(k) for k in range(count)], store), names, none, [], [])


def knowing(gallery: Gallery, u: torch.Tensor) -> GaussianDBN:
    """A model that knows just what is to be seen at a gaze in the first scene."""
    gdbn = GaussianDBN(D, 2, 2)
    gdbn.patch.mean.fill_(0.5)
    gdbn.patch.std.fill_(0.2)
    seen = glimpses(gallery.pyramids, torch.zeros(1, dtype=torch.int64), u)
    gdbn.grbm.b.data.copy_(((seen - 0.5) / 0.2).flatten())
    gdbn.grbm.log_sigma.data.fill_(-1.0)
    return gdbn


def looking() -> Models:
    gdbn = GaussianDBN(D, 2, 2)
    gdbn.patch.mean.fill_(0.5)
    gdbn.patch.std.fill_(0.2)
    flat, law = Background.normal(torch.zeros(D), torch.eye(D)), Law.constant(np.full(3, 0.1))
    return Models(gdbn, ShiftNet(), Evidence(flat, 0.0, None, CALIBRATION, 100.0, law))


def test_a_new_patch_model_chooses_among_the_places_of_each_scene():
    """A model that knows just what is to be seen at the object: it outweighs a score that was misled, to a degree.

    The score prefers another place by one nat in scenes 0 and 1, by a thousand in 2; in 3 nothing was found.
    """
    true = torch.tensor([[22.0, 4.0, 75.0 - 2 * k, 70.0 - k] for k in range(4)], dtype=torch.float64)
    elsewhere = torch.tensor([[22.0, 4.0, 45.0 - 2 * k, 40.0 - k] for k in range(4)], dtype=torch.float64)
    gallery, models, calibration = scenes(4), looking(), CALIBRATION
    gdbn = knowing(gallery, true[:1])
    gazes = torch.stack((true[:3], elsewhere[:3]), 1).reshape(-1, 4)
    places = Places(torch.tensor([0, 0, 1, 1, 2, 2]), gazes, torch.tensor([0.0, 1, 0, 1, 0, 1000]).double())
    u = torch.cat((elsewhere[:3], torch.full((1, 4), torch.nan, dtype=torch.float64)))
    one, three = torch.ones(4), torch.zeros(4, 3, dtype=torch.float64)
    attended = Attended(u, one, one, three, ["", "", "", "nothing found"], places)
    again = reselect(models, [gdbn], torch.zeros(4, dtype=torch.int64), gallery, attended)
    chosen, odds = again.u, torch.tensor([0.0, 0.0, 1000.0, 1.0])
    assert torch.equal(again.score, odds), "the scores of the places chosen; what was not found keeps its own"
    expected = torch.from_numpy(calibration.probability(odds.numpy())).float()
    assert torch.allclose(again.probability[:3], expected[:3]) and again.probability[3] == 1
    assert torch.equal(chosen[:2], true[:2]) and torch.equal(chosen[2], elsewhere[2])
    assert torch.isnan(chosen[3]).all() and torch.equal(attended.u[:3], elsewhere[:3])


def test_each_scene_is_weighed_by_the_model_of_its_part():
    """Two models, each of what is to be seen at one of two places: a scene's part decides which of them it chooses."""
    first = torch.tensor([[22.0, 4.0, 75.0 - 2 * k, 70.0 - k] for k in range(2)], dtype=torch.float64)
    second = torch.tensor([[22.0, 4.0, 45.0 - 2 * k, 40.0 - k] for k in range(2)], dtype=torch.float64)
    gallery, models = scenes(2), looking()
    gdbns = [knowing(gallery, first[:1]), knowing(gallery, second[:1])]
    places = Places(torch.tensor([0, 0, 1, 1]), torch.stack((first, second), 1).reshape(-1, 4), torch.zeros(4).double())
    attended = Attended(first, torch.ones(2), torch.ones(2), torch.zeros(2, 3).double(), ["", ""], places)
    for part in ([0, 0], [1, 1], [0, 1], [1, 0]):
        chosen = reselect(models, gdbns, torch.tensor(part), gallery, attended).u
        assert torch.equal(chosen, torch.stack([(first, second)[which][k] for k, which in enumerate(part)]))


def test_scenes_are_parted_in_two_by_their_names_alone():
    names = [f"{k}.png" for k in range(41)]
    part = parts(names, range(41), 8, 3)
    assert sorted(torch.bincount(part).tolist()) == [20, 21]
    shuffled = [7 * k % 41 for k in range(41)]
    assert parts([names[k] for k in shuffled], range(41), 8, 3).tolist() == part[shuffled].tolist()
    assert parts(names, range(41), 8, 4).tolist() != part.tolist(), "another seed, another parting"


def test_scenes_are_not_parted_where_a_part_would_hardly_teach():
    names = [f"{k}.png" for k in range(41)]
    part = parts(names, range(41), 8, 3)
    few = torch.nonzero(part == 0)[:8, 0].tolist() + torch.nonzero(part == 1)[:7, 0].tolist()
    assert not parts(names, few, 8, 3).any() and torch.equal(parts(names, few, 7, 3), part)


def test_the_model_that_weighs_a_scene_has_not_been_trained_on_it(tmp_path, monkeypatch):
    """What each part's model is trained on is noted; where there is one part only, it is trained on all that teach."""
    seen = []

    def noted(data, *others):
        seen.append({data.gallery.names[k] for k in data.fit + data.held_out})
        return knowing(data.gallery, data.objects.gaze[:1])

    monkeypatch.setattr(reselection, "patch_model", noted)
    gallery, teaches = scenes(6), [0, 1, 2, 4, 5]
    u = torch.tensor([[22.0, 4.0, 75.0 - 2 * k, 70.0 - k] for k in range(6)], dtype=torch.float64)
    unlikely = torch.cat((torch.zeros(6), torch.full((6,), -1e9))).double()
    places = Places(torch.arange(6).repeat(2), torch.cat((u, u + 5)), unlikely)
    attended = Attended(u, torch.ones(6), torch.ones(6), torch.zeros(6, 3).double(), [""] * 6, places)
    with Run.claim(tmp_path / "run") as run:
        folder, settings = RoundRun.begin(run, 1), TrainSettings()
    teaching, part = {gallery.names[k] for k in teaches}, parts(gallery.names, teaches, 1, 0)
    for fewest, expected in (
        (1, [{name for name, its in zip(gallery.names, part, strict=True) if its != p} & teaching for p in (0, 1)]),
        (4, [teaching]),
    ):
        seen.clear()
        sources = LearningScenes(gallery, None, torch.full((4,), 0.1, dtype=torch.float64))
        again = reselected(looking(), sources, attended, teaches, folder, settings, fewest, Quiet())
        assert seen == expected and torch.equal(again.u, u)

    seen.clear()
    single = attended._replace(places=Places(torch.arange(6), u, torch.zeros(6).double()))
    again = reselected(looking(), sources, single, teaches, folder, settings, 1, Quiet())
    assert again is single and not seen, "one place in each scene: no choice, no model"


def test_what_is_learned_from_are_new_scenes_as_found_and_old_ones_as_annotated():
    """Each trains or is held out, none does both; only of the new ones it is said that their gazes may be off."""
    u = torch.tensor([[22.0, 4.0, 75.0 - k, 70.0] for k in range(6)], dtype=torch.float64)
    new = scenes(6)
    old = scenes(5, new.pyramids.store)._replace(
        names=[f"old{k}.png" for k in range(5)], objects=Objects(torch.arange(1, 5), u[:4] + 3)
    )
    spread = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    data = LearningScenes(new, old, spread).pseudo_labelled(u, [0, 2, 5], TrainSettings(held_out=0.3))
    expected = {0: u[0], 2: u[2], 5: u[5], **{6 + k: u[k - 1] + 3 for k in range(1, 5)}}
    assert sorted(data.fit + data.held_out) == sorted(expected) and data.held_out
    assert all(torch.equal(data.gallery.of(k)[0], gaze) for k, gaze in expected.items())
    assert sorted(data.objects.image.tolist()) == sorted(data.fit)
    assert torch.equal(data.unsure, torch.stack([spread] * 6 + [0 * spread] * 5))


def test_without_old_scenes_the_new_ones_are_all_that_is_learned_from():
    u = torch.full((6, 4), 22.0, dtype=torch.float64)
    data = LearningScenes(scenes(6), None, torch.ones(4).double()).pseudo_labelled(u, [1, 3, 4], TrainSettings())
    assert data.gallery.names == scenes(6).names and sorted(data.fit + data.held_out) == [1, 3, 4]
    assert torch.equal(data.unsure, torch.ones(6, 4).double())


def test_what_the_run_held_out_stays_held_out_whoever_teaches_beside_it():
    """Of 40 old scenes those that training with the run's seed held out, and no other; half of them are annotated."""
    names = [f"old{k}.png" for k in range(40)]
    annotated = Objects(torch.arange(0, 40, 2), torch.full((20, 4), 22.0, dtype=torch.float64))
    new, settings = scenes(9), TrainSettings(seed=5, held_out=0.2)
    pyramids = Pyramids.from_images([blobs(0)] * 40, new.pyramids.store)
    old = Gallery(pyramids, names, annotated, [torch.zeros(0, 4).double()] * 40, [])
    u, expected = torch.full((9, 4), 22.0, dtype=torch.float64), {k for k in hold_out(names, 0.2, 3)[1] if k % 2 == 0}
    sources = LearningScenes(new, old, torch.ones(4).double(), old_seed=3)
    for teaches in ([0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 3, 8]):
        data = sources.pseudo_labelled(u, teaches, settings)
        assert {k - 9 for k in data.held_out if k >= 9} == expected and expected
        assert {k - 9 for k in data.fit if k >= 9} == set(range(0, 40, 2)) - expected


def test_new_scenes_held_out_in_one_round_train_in_no_other_and_are_two_at_least_but_half_at_most():
    new = scenes(9)._replace(names=[f"{k}.jpg" for k in range(9)])
    sources, u = LearningScenes(new, None, torch.ones(4).double()), torch.full((9, 4), 22.0, dtype=torch.float64)
    settings = TrainSettings(held_out=0.34)
    apart = set(hold_out(new.names, 0.34, 0)[1])
    without = [k for k in range(9) if k not in apart]
    assert len(apart) == 3

    def split(teaches):
        parted = sources.pseudo_labelled(u, teaches, settings)
        assert sorted(parted.fit + parted.held_out) == sorted(teaches)
        return parted

    for teaches in (list(range(9)), [k for k in range(9) if k != min(apart)]):
        assert set(split(teaches).held_out) == apart & set(teaches)
    for teaches in (without, [*without, min(apart)]):
        held_out = split(teaches).held_out
        assert len(held_out) == 2 and apart & set(teaches) <= set(held_out)
    assert len(split(sorted(apart)).held_out) == 1 and len(split([*apart, without[0]]).held_out) == 2


def test_in_the_first_round_the_most_probable_share_teaches_where_too_few_are_as_probable_as_asked():
    """Of eight scenes none is as probable as asked: the best quarter teaches."""
    probability = torch.tensor([0.2, 0.01, 0.05, 0.1, 0.19, 0.02, 0.0, 0.03])
    none = Places(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4).double(), torch.zeros(0).double())
    attended = Attended(
        torch.full((8, 4), 22.0).double(), probability, probability, torch.zeros(8, 3).double(), [""] * 8, none
    )
    first, later = (judge(attended, Trust(), number) for number in (True, False))
    assert first.teaches == [0, 4] and later.teaches == []
    assert later.reasons == ["probability too low"] * 8


def test_nothing_annotated_is_left_where_nobody_is_to_say_anything():
    box = torch.tensor([[1.0, 2.0, 30.0, 40.0]], dtype=torch.float64)
    told = scenes(2)._replace(objects=Objects(torch.tensor([1]), box), ignore=[box, box])
    bare = told.without_objects()
    assert not len(bare.objects.image) and [len(each) for each in bare.ignore] == [0, 0]
