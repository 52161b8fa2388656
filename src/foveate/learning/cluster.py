"""The expectation step of `learn` in batches, for `attention.cluster.over_ray` or any other engine of that kind."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from foveate.attention.cluster import Batch, Function, attention_of, names_of
from foveate.attention.settings import AttendSettings
from foveate.errors import FoveateError
from foveate.learning.expectation import Attended, Places, attend_scenes
from foveate.runtime.progress import Quiet
from foveate.scenes.folder import Scene
from foveate.storage.files import to_json
from foveate.training.gallery import load_gallery


def expect_batch(
    batch: Batch, run: str, settings: AttendSettings, largest: int, device: str = "cpu"
) -> dict[str, np.ndarray]:
    """The expectation step of `learn` for a batch of scenes: the best gaze of each and its posterior.

    Args:
        batch: "image", the scene's name, which keys its random numbers, and "path".
        run: A RUN folder.
        settings: How.
        largest: Longest side at which scenes are kept, pixels: `TrainSettings.largest`.
        device: Where to compute.

    Returns:
        "image" as given, and "line", strict JSON: image, u, score, probability, spread, doubt, and the places where
        gazes came to rest (gaze, score); or image and error.
    """
    models = attention_of(run, device).models
    lines = []
    for name, path in names_of(batch):
        try:
            gallery = load_gallery([Scene(name, path, 1, 1)], Quiet(), largest, fewest=1)
        except FoveateError as error:
            lines.append(to_json({"image": name, "error": str(error)}))
            continue
        found = attend_scenes(models, gallery, settings, Quiet(), "attending")
        values = {field: value[0] for field, value in found._asdict().items() if field != "places"}
        values["places"] = {"gaze": found.places.gaze.tolist(), "score": found.places.score.tolist()}
        lines.append(to_json({"image": name, **values}))
    return {"image": batch["image"], "line": np.array(lines, dtype=object)}


def expecting(run: str, settings: AttendSettings, largest: int, device: str = "cpu") -> Function:
    """`expect_batch` with all but the batch given."""
    return partial(expect_batch, run=os.path.abspath(run), settings=settings, largest=largest, device=device)


def attended(lines: Sequence[Mapping[str, Any]]) -> Attended:
    """The lines of `expect_batch`, in the order of the scenes and without errors, as `learn` takes them."""

    def column(name: str, missing: float, kind: torch.dtype) -> torch.Tensor:
        return torch.tensor(_filled([line[name] for line in lines], missing), dtype=kind)

    counts = torch.tensor([len(line["places"]["score"]) for line in lines], dtype=torch.int64)
    gazes, scores = ([x for line in lines for x in line["places"][name]] for name in ("gaze", "score"))
    places = Places(
        torch.repeat_interleave(torch.arange(len(lines)), counts),
        torch.tensor(gazes, dtype=torch.float64).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float64),
    )

    return Attended(
        u=column("u", float("nan"), torch.float64).reshape(-1, 4),
        score=column("score", -float("inf"), torch.float32),
        probability=column("probability", float("nan"), torch.float32),
        spread=column("spread", float("nan"), torch.float64).reshape(-1, 3),
        doubt=[line["doubt"] for line in lines],
        places=places,
    )


def _filled(values: list[Any], missing: float) -> list[Any]:
    """Nested lists of numbers with what JSON has no word for put back."""
    return [
        _filled(value, missing) if isinstance(value, list) else missing if value is None else value for value in values
    ]
