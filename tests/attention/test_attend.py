"""From starts to gazes: what `attend` does with what a strategy gives it, and what it says while it is at work."""

from dataclasses import replace
from typing import get_args

import numpy as np
import torch
from untrained import write_untrained

from foveate.attention.attend import attend, search
from foveate.attention.evidence import MEASURED
from foveate.attention.models import Models
from foveate.attention.posterior.law import FEATURES, Law
from foveate.attention.posterior.refine import TOGETHER, Resting, refine
from foveate.attention.proposals import Answers
from foveate.attention.settings import AttendSettings, PosteriorSettings, SearchSettings, StartStrategy
from foveate.attention.starts import STRATEGIES, Starts
from foveate.runtime.progress import Quiet
from foveate.scenes.pyramid import Pyramids


class Ends(Quiet):
    """Remembers how far each phase was when it ended."""

    def __init__(self):
        self.found = {}

    def close(self, tick):
        self.found[tick.name] = (tick.done, tick.total)


def test_every_phase_ends_with_all_of_its_steps_done(tmp_path):
    write_untrained(tmp_path / "run", 6, 4)
    settings = AttendSettings(
        max_gazes=2, min_probability=0.0, sample_above=0.0, search=SearchSettings(most=3),
        posterior=PosteriorSettings(chains=2, warm_up=2, draws=4),
    )  # fmt: skip
    pictures = [torch.rand(40, 50, 3, generator=torch.Generator().manual_seed(k)).numpy() for k in range(3)]
    ends = Ends()
    models, pyramids = Models.load(tmp_path / "run"), Pyramids.from_images(pictures)
    found = attend(models, pyramids, {0: "a", 1: "b", 2: "c"}, settings, ends, "attending", 2)
    sampled = sum(each.posterior is not None for one in found for each in one.founds)
    assert ends.found == {"attending": (3, 3), "attending: posterior": (sampled, sampled)} and sampled >= 3


def test_every_name_of_starts_has_a_strategy():
    assert STRATEGIES.keys() == set(get_args(StartStrategy))


def test_a_strategy_says_where_gazes_set_out_and_attention_leads_them_on(tmp_path, monkeypatch):
    """Two proposals, one of them outside the image: the other takes its steps, is weighed, ranked and refined."""
    write_untrained(tmp_path / "run", 6, 4)
    at = torch.tensor([[8.0, 0.0, 20.0, 20.0], [8.0, 0.0, 20.0, -90.0]], dtype=torch.float64)
    answers = Answers(at, torch.tensor([7.0, 2.0]))
    monkeypatch.setitem(STRATEGIES, "one", lambda models, pyramids, settings: Starts(at[None], answers, 0))
    picture = torch.rand(40, 50, 3, generator=torch.Generator().manual_seed(0)).numpy()
    posterior = PosteriorSettings(chains=2, warm_up=2, draws=4)
    settings = AttendSettings(starts="one", min_probability=0.0, posterior=posterior)
    models, pyramids = Models.load(tmp_path / "run"), Pyramids.from_images([picture])
    candidates = search(models, pyramids, settings)
    assert candidates.trails.shape == (1, 1, 4) and torch.equal(candidates.trails[0, 0], at[0])
    assert candidates.measured[0, MEASURED.index("proposal")] == 7.0
    ((founds, others, places, scores, _),) = attend(models, pyramids, {0: "a"}, settings)
    assert torch.equal(places, candidates.trails[-1]) and len(scores) == len(founds) + len(others) == 1
    assert founds[0].network_steps == 0 and np.array_equal(founds[0].rest, places[0])
    assert founds[0].posterior is not None


def test_gazes_sampled_together_are_the_same_in_any_company(tmp_path):
    write_untrained(tmp_path / "run", 6, 4)
    models = Models.load(tmp_path / "run")
    evidence = models.trained_evidence
    law = Law(np.zeros(FEATURES), np.ones(FEATURES), np.full((FEATURES, 3), 0.3), np.full(3, np.log(0.05)))
    models = replace(models, evidence=replace(evidence, law=law))
    pictures = [torch.rand(40, 50, 3, generator=torch.Generator().manual_seed(k)).numpy() for k in range(5)]
    pyramids, how = Pyramids.from_images(pictures), PosteriorSettings(chains=8, warm_up=2, draws=4, target="collapsed")
    gazes = torch.tensor([[8.0, 1.0, 20.0 + k, 20.0] for k in range(5)], dtype=torch.float64)

    def refined(some):
        resting = Resting(some, gazes[some], [f"gaze {k}" for k in some])
        return list(refine(models, pyramids, resting, how, seed=1, together=TOGETHER))

    every = refined([0, 1, 2, 3, 4])
    for some in ([3], [4, 0], [2, 1, 0, 4, 3]):
        for k, one in zip(some, refined(some), strict=True):
            assert np.array_equal(one.draws, every[k].draws) and np.array_equal(one.u, every[k].u)


def test_chains_run_where_weights_cannot_be_believed_unless_they_are_not_wanted(tmp_path):
    write_untrained(tmp_path / "run", 6, 4)
    models = Models.load(tmp_path / "run")
    law = Law(np.zeros(FEATURES), np.ones(FEATURES), np.zeros((FEATURES, 3)), np.full(3, np.log(0.3)))
    picture = torch.rand(60, 60, 3, generator=torch.Generator().manual_seed(0)).numpy()
    how = PosteriorSettings(chains=4, warm_up=2, draws=4, target="collapsed")
    resting = Resting([0], torch.tensor([[8.0, 1.0, 30.0, 30.0]], dtype=torch.float64), ["one"])

    def refined(temper, chains):
        evidence = replace(models.trained_evidence, law=law, temper=temper)
        (one,) = refine(
            replace(models, evidence=evidence), Pyramids.from_images([picture]), resting, how, 1, chains=chains
        )
        return one

    sharp, weighed = refined(1e-4, True), refined(1e-4, False)
    assert sharp.weight is None and sharp.draws.shape[:2] == (4, 4) and sharp.pareto_k == weighed.pareto_k > 0.5
    assert weighed.weight is not None and len(weighed.weight) == weighed.draws.shape[1]
    assert np.array_equal(refined(1e6, True).draws, refined(1e6, False).draws), "weights that can be are"
