"""The figures that an evaluation prints, from what its shards have kept."""

import math
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from foveate.boltzmann.log_z.ais import BLOCK
from foveate.boltzmann.log_z.bound import BoundTerms
from foveate.boltzmann.log_z.bracket import Bracket
from foveate.boltzmann.log_z.weights import estimate
from foveate.evaluation.bound_state import EvaluationState
from foveate.runtime.progress import Progress
from foveate.storage.files import strict


def figures_of(states: list[EvaluationState], progress: Progress) -> dict[str, Any]:
    """Everything that is printed, from the states of all shards; doubts are said too."""
    contexts = [_set(state, "context")[1] for state in states]
    context, terms, bracket = contexts[0], _gathered_terms(states), _gathered_bracket(states)
    variational, weighted, log_z = terms.variational, terms.weighted, bracket.forward.log_z
    figures: dict[str, Any] = {
        "n": context["n"], "dim": context["dim"], "bound": float(variational.mean()) - log_z,
        "bound_stderr": _stderr(variational, terms.sampling_variance), "iw_bound": float(weighted.mean()) - log_z,
        "pixel_offset": context["pixel_offset"], "log_z": log_z, "log_z_lower": bracket.lower,
        "log_z_upper": bracket.upper, "log_z_stderr": bracket.forward.stderr, "ess": bracket.forward.ess,
        "chains": context["chains"], "temperatures": context["temperatures"],
        "seconds": sum(each["seconds"] for each in contexts), "log_z_reverse": bracket.reverse.log_z,
        "bound_sampling_stderr": float(terms.sampling_variance.sum().sqrt() / len(variational)),
        "iw_stderr": _stderr(weighted, None), "importance_samples": context["importance_samples"]
    }  # fmt: skip
    if bracket.exact is not None:
        figures["log_z_exact"] = bracket.exact
    doubts = [*context["warnings"], *bracket.doubts]
    if states[0].done("grbm"):
        meta = _set(states[0], "grbm")[1]
        figures["grbm_log_density"] = meta["density"]
        figures |= {f"grbm_log_z_{name}": meta[name] for name in ("lower", "upper", "stderr")}
        figures["grbm_ess"] = meta["ess"]
        doubts += [f"first layer: {doubt}" for doubt in meta["doubts"]]
    if states[0].done("baselines"):
        measured, ours = _set(states[0], "baselines")[0], weighted - log_z
        figures["baselines"] = {name: float(nats.mean()) for name, nats in measured.items()}
        figures["baselines_stderr"] = {name: _stderr(nats, None) for name, nats in measured.items()}
        above = {name: ours - nats for name, nats in measured.items() if len(ours) == context["n"]}  # not of one shard
        figures["baselines_diff"] = {name: [float(gain.mean()), _stderr(gain, None)] for name, gain in above.items()}
    for line in doubts:
        progress.say(f"warning: {line}")
    return strict(figures | {"warnings": doubts})


def _gathered_terms(states: list[EvaluationState]) -> BoundTerms:
    """The patches' terms of all shards, put back in order: it matters to the last bit of a mean."""
    parts = [_set(state, "patches")[0]["terms"] for state in states]
    whole = torch.zeros((sum(map(len, parts)), 3), dtype=torch.float64)
    for first, part in enumerate(parts):
        whole[first :: len(parts)] = part
    return BoundTerms(*whole.T)


def _gathered_bracket(states: list[EvaluationState]) -> Bracket:
    """log Z's bracket from the chains of all shards, in the order of their ids."""
    empty = torch.zeros(0, dtype=torch.float64)
    found = [state.load("bracket") or ({"forward": empty, "reverse": empty}, {}) for state in states]
    said = next((meta for _, meta in found if meta), {"exact": None, "doubts": []})
    forward, reverse = (_interleaved([tensors[end] for tensors, _ in found]) for end in ("forward", "reverse"))
    return Bracket(estimate(forward), estimate(reverse, reverse=True), said["exact"], said["doubts"])


def _interleaved(parts: list[Tensor]) -> Tensor:
    """Blocks of chains dealt out to shards, back in their order."""
    turns = zip_longest(*(part.split(BLOCK) for part in parts), fillvalue=torch.zeros(0, dtype=torch.float64))
    return torch.cat([block for turn in turns for block in turn])


def _stderr(values: Tensor, sampling_variance: Tensor | None) -> float:
    """Of the mean over patches: their spread holds the sampling's too; a single patch has the sampling's alone."""
    if len(values) > 1:
        return float(values.std() / math.sqrt(len(values)))
    return float(sampling_variance.sqrt()) if sampling_variance is not None and len(values) else math.nan


def _set(state: EvaluationState, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return state.load(name) or ({}, {})
