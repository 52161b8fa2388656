"""The figures of `foveate evaluate bound`: complete, right, the same however the work was split or stopped."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.log_z import bracket
from foveate.errors import BadInput
from foveate.evaluation.bound import checked_patches, evaluate_bound, merge_bounds, pixel_offset
from foveate.evaluation.bound_state import EvaluationState
from foveate.runtime.progress import Progress

KEYS = (
    "n dim bound bound_stderr iw_bound pixel_offset log_z log_z_lower log_z_upper log_z_stderr ess chains "
    "temperatures seconds"
).split()
QUICK = {"chains": 60, "temperatures": 300, "samples": 20, "importance_samples": 50}
LONG = QUICK | {"temperatures": 2000}
FORM = {"chains": 4, "temperatures": 20, "samples": 3, "importance_samples": 3}  # where figures don't matter
SWEEPS, ENOUGH = 200, 2000  # of parallel tempering, at least; what is right of two modes


@pytest.fixture(scope="module", autouse=True)
def _short_tempering():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bracket, "MIN_SWEEPS", SWEEPS)
        yield


def make(visible=6, hidden1=24, hidden2=22, w2=0.4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    gdbn = GaussianDBN(visible, hidden1, hidden2)
    for parameter, size in ((gdbn.grbm.W, 0.3), (gdbn.grbm.c, 0.5), (gdbn.rbm.W, w2), (gdbn.rbm.b, 0.5)):
        parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    gdbn.patch.std.copy_(torch.tensor([0.2, 0.25, 0.5]))
    return gdbn


def patches_of(gdbn, n=9, seed=1):
    return torch.randn((n, gdbn.grbm.n_visible), generator=torch.Generator().manual_seed(seed))


def without_time(figures):
    return {name: value for name, value in figures.items() if name not in ("seconds", "shard")}


def test_every_figure_is_there_and_they_fit_together():
    gdbn = make()
    v = patches_of(gdbn)
    figures = evaluate_bound(gdbn, v, **QUICK, baselines=patches_of(gdbn, 40, 2), grbm=True)
    assert set(KEYS) <= figures.keys()
    assert (figures["n"], figures["dim"], figures["chains"], figures["temperatures"]) == (9, 6, 60, 300)
    assert figures["bound"] - 0.5 < figures["iw_bound"]
    assert figures["log_z_lower"] <= figures["log_z"] and figures["log_z_lower"] <= figures["log_z_upper"]
    assert 0 < figures["ess"] <= 60
    names = {"diagonal", "factor_analysis", "ppca", "ledoit_wolf", "held_out", "student_t", "mixture"}
    assert set(figures["baselines"]) == set(figures["baselines_stderr"]) == set(figures["baselines_diff"]) == names
    for name, (above, stderr) in figures["baselines_diff"].items():
        assert above == pytest.approx(figures["iw_bound"] - figures["baselines"][name], abs=1e-6)
        assert 0 < stderr < figures["baselines_stderr"][name] + figures["iw_stderr"]
    assert figures["grbm_log_density"] < 0
    assert "log_z_exact" not in figures


@pytest.mark.parametrize("hidden1", [4, 21])
def test_the_first_layer_s_own_density_is_right_where_patches_show_one_of_two_modes(hidden1, monkeypatch):
    """16 sigma apart: annealed from the patches' moments alone it was 18 nats too high, all chains agreeing."""
    monkeypatch.setattr(bracket, "MIN_SWEEPS", ENOUGH)
    gdbn = make(hidden1=hidden1, hidden2=3, w2=0.0)
    grbm = gdbn.grbm
    grbm.W.mul_(0.1)
    grbm.W[:, 0] = 8 / 6**0.5
    grbm.log_sigma.fill_(float(np.log(0.5)))
    grbm.c.zero_()
    grbm.c[0] = -2 * float(grbm.W[:, 0].square().sum())
    v = grbm.sample_visible(torch.zeros(40, hidden1), torch.Generator().manual_seed(2))
    figures = evaluate_bound(gdbn, v, **QUICK | {"temperatures": 1000}, grbm=True)
    exact = grbm.exactly()
    states = (torch.arange(2**hidden1)[:, None] >> torch.arange(hidden1)) & 1
    masses = [-exact.free_energy_hidden(some.double()) for some in states.split(1 << 16)]
    log_z = float(torch.logsumexp(torch.cat(masses), 0))
    density = float(-exact.free_energy(v.double()).mean()) - log_z
    lower, upper = figures["grbm_log_z_lower"], figures["grbm_log_z_upper"]
    assert lower - 0.02 < log_z < upper + 0.02 and upper - lower < 0.3
    error = 0.0 if hidden1 == 4 else upper - lower  # summed exactly, or between the ends
    assert abs(figures["grbm_log_density"] - density) < error + 1e-6
    assert not any("first layer" in warning for warning in figures["warnings"])


def test_an_enumerable_second_layer_is_reported_beside_the_estimates():
    gdbn = make(hidden1=5, hidden2=4)
    figures = evaluate_bound(gdbn, patches_of(gdbn), **QUICK)
    assert abs(figures["log_z"] - figures["log_z_exact"]) < 4 * figures["log_z_stderr"] + 1e-4
    assert figures["log_z_lower"] - 1e-4 <= figures["log_z_exact"] <= figures["log_z_upper"] + 1e-4
    assert figures["warnings"] == []


def test_pixel_offset_is_the_log_of_the_scales_of_all_pixels():
    gdbn = make()
    assert pixel_offset(gdbn) == pytest.approx(-2 * np.log(0.2 * 0.25 * 0.5), rel=1e-6)
    assert pixel_offset(GaussianDBN(6, 2, 2)) == 0


def test_one_patch_and_one_chain_have_no_error_bar_but_a_figure():
    gdbn = make()
    figures = evaluate_bound(gdbn, patches_of(gdbn, 1), **(QUICK | {"chains": 1, "samples": 1}))
    assert figures["log_z_stderr"] is None and figures["bound_stderr"] is None
    assert isinstance(figures["bound"], float)


@pytest.mark.parametrize("parts", [3])
def test_shards_merge_to_the_figures_of_one_run_to_the_last_bit(tmp_path, parts):
    gdbn = make()
    v = patches_of(gdbn)
    others = patches_of(gdbn, 40, 2)
    whole = evaluate_bound(gdbn, v, **QUICK, grbm=True, baselines=others)
    files = [tmp_path / f"{part}.safetensors" for part in range(1, parts + 1)]
    for part, file in enumerate(files, start=1):
        shard = evaluate_bound(gdbn, v, **QUICK, grbm=True, baselines=others, shard=(part, parts), state_file=file)
        assert shard["shard"] == [part, parts]
    merged = merge_bounds(files[::-1])
    assert without_time(merged) == without_time(whole)


def test_merging_refuses_what_doesnt_belong_together(tmp_path):
    gdbn = make()
    v = patches_of(gdbn)
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    evaluate_bound(gdbn, v, **FORM, shard=(1, 2), state_file=first)
    evaluate_bound(gdbn, v, **FORM, shard=(2, 2), state_file=second)
    evaluate_bound(gdbn, v, **FORM, shard=(2, 2), state_file=other, seed=1)
    with pytest.raises(BadInput, match="expected each of 1 to 2 once"):
        merge_bounds([first])
    with pytest.raises(BadInput, match="expected each of 1 to 2 once"):
        merge_bounds([first, second, second])
    with pytest.raises(BadInput, match="seed differs"):
        merge_bounds([first, other])
    with pytest.raises(BadInput, match="no state files"):
        merge_bounds([])
    gdbn.save(tmp_path / "model")
    with pytest.raises(BadInput, match="not the state of an evaluation"):
        merge_bounds([tmp_path / "model"])


def test_a_state_file_is_neither_overwritten_nor_mistaken_for_another(tmp_path):
    gdbn = make()
    v, file = patches_of(gdbn), tmp_path / "state"
    done = evaluate_bound(gdbn, v, **FORM, state_file=file)
    with pytest.raises(BadInput, match="exists"):
        evaluate_bound(gdbn, v, **FORM, state_file=file)
    with pytest.raises(BadInput, match="content differs"):
        evaluate_bound(gdbn, v + 0.1, **FORM, state_file=file, resume=True)
    with pytest.raises(BadInput, match="temperatures differs"):
        evaluate_bound(gdbn, v, **(FORM | {"temperatures": 21}), state_file=file, resume=True)
    assert without_time(evaluate_bound(gdbn, v, **FORM, state_file=file, resume=True)) == without_time(done)


RUN = f"""
import sys, torch
import foveate.boltzmann.log_z.bracket as bracket
from foveate.boltzmann.dbn import GaussianDBN
from foveate.evaluation.bound import evaluate_bound
torch.set_num_threads(1)
bracket.KEEP_EVERY, bracket.MIN_SWEEPS = 0.0, {SWEEPS}
gdbn, v = GaussianDBN.load(sys.argv[1]), torch.load(sys.argv[2])
evaluate_bound(gdbn, v, **{LONG}, state_file=sys.argv[3])
"""


@pytest.mark.parametrize("phase", ["forward", "samples"])
def test_after_sigkill_the_evaluation_goes_on_to_the_same_bits(tmp_path, environment, phase, whole_run):
    gdbn, v, whole = whole_run
    state = tmp_path / "state"
    gdbn.save(tmp_path / "model")
    torch.save(v, tmp_path / "v")
    command = [sys.executable, "-c", RUN, tmp_path / "model", tmp_path / "v", state]
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not _half_way(state, phase):
        assert time.monotonic() < deadline and child.poll() is None, child.stderr.read().decode()
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    left = EvaluationState.open(state)
    assert left.load(phase) is not None and not left.done("context")
    resumed = evaluate_bound(gdbn, v, **LONG, state_file=state, resume=True)
    assert without_time(resumed) == without_time(whole)
    kept = EvaluationState.open(state).load("bracket")[0]
    assert len(kept["forward"]) == 60


@pytest.fixture(scope="module")
def whole_run():
    gdbn = make(hidden1=22, hidden2=21)
    v = patches_of(gdbn)
    return gdbn, v, evaluate_bound(gdbn, v, **LONG)


def _half_way(state, phase):
    """Whether the phase has begun and kept something."""
    try:
        return EvaluationState.open(state).load(phase) is not None
    except (BadInput, RuntimeError):
        return False  # not there yet, or replaced by a newer one while it was read


def test_stopping_leaves_a_state_from_which_it_goes_on(tmp_path):
    gdbn, file = make(), tmp_path / "state"
    v = patches_of(gdbn)

    class Stopped(Progress):
        """Asks to stop in the middle of a phase."""

        phases = 0

        def show(self, tick):
            if tick.name == "reverse annealing":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_bound(gdbn, v, **QUICK, state_file=file, progress=Stopped())
    assert EvaluationState.open(file).done("samples")
    resumed = evaluate_bound(gdbn, v, **QUICK, state_file=file, resume=True)
    assert without_time(resumed) == without_time(evaluate_bound(gdbn, v, **QUICK))


# Patches as they come.


def test_patches_of_any_float_type_shape_and_order_are_the_same_patches():
    plain = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    square = plain.reshape(4, 3, 2, 2)
    for form in (plain.numpy(), square.numpy(), np.asfortranarray(plain.numpy()), plain.double(), square):
        assert torch.equal(checked_patches(form, 12), plain)


@pytest.mark.parametrize(
    ("patches", "says"),
    [
        (np.zeros((4, 12), np.uint8), "uint8"),
        (np.zeros((4, 12), np.int64), "int64"),
        (np.zeros((0, 12), np.float32), r"\[0, 12\]"),
        (np.zeros((4, 11), np.float32), r"\[4, 11\], expected \[N, 12\]"),
        (np.zeros(12, np.float32), r"shape \[12\]"),
        (np.array([[0.0] * 12, [np.nan] * 12]), "row 1 has values that are not finite"),
        (np.full((2, 12), np.inf), "row 0"),
    ],
)
def test_patches_that_cant_be_are_named(patches, says):
    with pytest.raises(BadInput, match=says):
        checked_patches(patches, 12)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"chains": 0}, "chains = 0"),
        ({"temperatures": 0}, "temperatures = 0"),
        ({"samples": 0}, "samples = 0"),
        ({"schedule": "cosine"}, "cosine"),
        ({"shard": (3, 2)}, "shard 3/2"),
        ({"shard": (0, 2)}, "shard 0/2"),
    ],
)
def test_settings_that_cant_be_are_named(wrong, says):
    gdbn = make()
    with pytest.raises(BadInput, match=says):
        evaluate_bound(gdbn, patches_of(gdbn), **(QUICK | wrong))


def test_patches_on_another_scale_are_told_of_with_their_figures():
    gdbn = make()

    class Heard(Progress):
        def __init__(self):
            self.lines = []

        def say(self, text):
            self.lines.append(text)

    heard = Heard()
    figures = evaluate_bound(gdbn, 127 + 60 * patches_of(gdbn), **FORM, progress=heard)
    assert any("mean 1" in line and "standard deviation" in line for line in figures["warnings"])
    assert any(line.startswith("warning: the patches have mean") for line in heard.lines)


def test_a_saturated_first_layer_is_told_of():
    gdbn = make()
    gdbn.grbm.c.fill_(40.0)
    assert any("saturated" in line for line in evaluate_bound(gdbn, patches_of(gdbn), **FORM)["warnings"])


def test_coarse_products_allowed_by_the_caller_change_nothing():
    gdbn = make(hidden1=5, hidden2=4)
    v = patches_of(gdbn)
    exact = evaluate_bound(gdbn, v, **QUICK)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert without_time(evaluate_bound(gdbn, v, **QUICK)) == without_time(exact)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
