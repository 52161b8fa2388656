"""Processes that learn one machine together: the weights of one process, chains that keep their numbers."""

import subprocess
import sys

import pytest
import torch

from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.training.contrastive import METHODS, gather, init, persistent, scatter
from foveate.boltzmann.training.fit import train_rbm
from foveate.boltzmann.training.parallel import ALONE, Processes, join
from foveate.boltzmann.training.settings import Rule
from foveate.storage.files import load_tensors

PROGRAM = '''
"""Trains one machine of each kind by each method, under torchrun or alone; the first process writes the weights."""
import sys
import torch
from foveate.boltzmann.training.settings import Rule
from foveate.boltzmann.training.contrastive import from_tensors, to_tensors
from foveate.boltzmann.training.fit import fit
from foveate.boltzmann.training.settings import Plan
from foveate.boltzmann.training.parallel import join
from foveate.boltzmann.bernoulli import BernoulliRBM
from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.storage.files import save_tensors

processes = join("gloo")
source = torch.Generator().manual_seed(0)
binary = (torch.rand(101, 6, generator=source) < 0.4).float()
real = torch.randn(101, 6, generator=source) * torch.tensor([0.5, 1, 1, 1, 1, 2])
rule = Rule(rate=0.05, rate_log_sigma=0.02, fast_rate=0.05, momentum=0.5)
found = {}
for kind, data in ((BernoulliRBM, binary), (GaussianBernoulliRBM, real)):
    for method in ("cd", "pcd", "fast_pcd"):
        kept = []
        for resumed in (False, True):
            machine = kind(6, 5)
            machine.W.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(processes.rank))
            plan = Plan(rule, method, 3, batch_size=30, chains=13)
            if resumed:
                state, epochs = kept[1]
                found[f"{kind.__name__} {method} chains"] = state.hidden
                fit(machine, data, plan, 5, resume=kept[1], processes=processes)
                name = f"{kind.__name__} {method} resumed"
            else:
                def keep(state, epochs):
                    tensors, meta = to_tensors(state)
                    kept.append((from_tensors(machine, {n: v.clone() for n, v in tensors.items()}, meta), epochs))

                fit(machine, data, plan, 5, after_epoch=keep, processes=processes)
                name = f"{kind.__name__} {method}"
            found |= {f"{name} {part}": value for part, value in machine.state_dict().items()}
save_tensors(f"{sys.argv[1]}/{processes.rank}-of-{processes.size}.safetensors", found)
'''


@pytest.fixture(scope="module")
def learned(tmp_path_factory, environment):
    """What every process of one, and of two, has at the end."""
    folder = tmp_path_factory.mktemp("torchrun")
    (folder / "program.py").write_text(PROGRAM)
    run = [str(folder / "program.py"), str(folder)]
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for words in (run, [*two, *run]):
        done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
    return [load_tensors(folder / f"{name}.safetensors") for name in ("0-of-1", "0-of-2", "1-of-2")]


def test_two_processes_learn_the_weights_of_one_to_rounding(learned):
    alone, first, second = learned
    assert alone.keys() == first.keys() == second.keys() and len(alone) > 30
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), f"{name}: the processes differ"
        assert torch.allclose(value, first[name], atol=2e-6), f"{name}: {float((value - first[name]).abs().max())}"


def test_a_whole_state_that_two_processes_kept_is_gone_on_with_to_the_same_bits(learned):
    for tensors in learned:
        resumed = [name for name in tensors if " resumed " in name]
        assert resumed
        for name in resumed:
            assert torch.equal(tensors[name], tensors[name.replace(" resumed ", " ")]), name


def test_shares_are_all_rows_once_in_order():
    for size in (1, 2, 3, 7):
        for count in (0, 1, 5, 13, 128):
            shares = [list(range(count))[Processes(rank, size).share(count)] for rank in range(size)]
            assert [row for share in shares for row in share] == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


class Half(Processes):
    """One of two processes, whose sums are handed to a list instead of being sent."""

    def total(self, values):
        self.__dict__.setdefault("sent", []).append(values.clone())


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianBernoulliRBM])
def test_one_sum_a_step_holds_all_that_two_halves_need(kind, method):
    source = torch.Generator().manual_seed(3)
    machine, data = kind(4, 3), torch.rand(11, 4, generator=source).round()
    machine.W.data.normal_(generator=source)
    sent = []
    for processes in (Half(0, 2), Half(1, 2), Half(0, 1)):
        state = init(machine, data, 5, 0, Processes(0, 1))
        METHODS[method](scatter(state, processes), data, Rule(), processes)
        (flat,) = processes.sent
        sent.append(flat)
    assert torch.allclose(sent[0] + sent[1], sent[2], atol=1e-6) and not torch.allclose(sent[0], sent[1])


def test_one_process_alone_gathers_and_scatters_nothing():
    state = init(BernoulliRBM(4, 3), torch.zeros(3, 4), 5, 0)
    assert gather(state, ALONE).hidden is state.hidden and torch.equal(scatter(state, ALONE).hidden, state.hidden)
    assert join() == ALONE


def test_the_number_of_processes_may_exceed_that_of_chains():
    state = scatter(init(BernoulliRBM(4, 3), torch.zeros(3, 4), 1, 0), Half(0, 4))
    assert len(state.hidden) == 0
    state, info = persistent(state, torch.zeros(3, 4), Rule(), Half(0, 4))
    assert info.failed == ""


def test_learning_alone_is_the_default():
    data = (torch.rand(50, 4, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    ends = [train_rbm(BernoulliRBM(4, 3), data, epochs=2, **more).b for more in ({}, {"processes": ALONE})]
    assert torch.equal(*ends)
